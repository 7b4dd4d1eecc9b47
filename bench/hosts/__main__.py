"""High availability, tried: four hosts in network namespaces, faults drawn from a printed seed, everything counted.

python bench/hosts [failovers] [takeovers] [handovers] [twins] [delays] [--seed N] [--failovers 20] [--takeovers 5]
                   [--rate 5] [--faults server,power,cable] [--through url|haproxy] [--keep]

Needs root and Debian's packages (`make hosts` installs them). etcd, Patroni and HAProxy run with the files of
deploy/high-availability; hosts, addresses and links are in a network of their own and vanish with it. Ends with an
error when an acknowledged stage is lost, or a stage arrives under two webhook-ids.
"""

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

BENCH = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(BENCH.parent), str(BENCH)]

from hosts.network import enter_own_network, lay_out  # noqa: E402
from hosts.scenarios import FAULTS, SCENARIOS, Asked  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", default=list(SCENARIOS))
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--failovers", type=int, default=20)
    parser.add_argument("--takeovers", type=int, default=5)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--faults", type=lambda text: text.split(","), default=list(FAULTS))
    parser.add_argument("--keep", action="store_true", help="the folder with the logs")
    parser.add_argument("--through", choices=("url", "haproxy"), default="url")
    given = parser.parse_args()
    enter_own_network()
    lay_out()
    failed = []
    for name in given.scenarios:
        print(f"== {name}, seed {given.seed}, through {given.through}", flush=True)
        folder = Path(tempfile.mkdtemp(prefix="pbxhub-hosts-"))
        try:
            chance = random.Random(given.seed)
            asked = Asked(folder, chance, given.rate, given.faults, given.failovers, given.takeovers, given.through)
            failed += [] if SCENARIOS[name](asked) else [name]
        finally:
            if not given.keep:
                shutil.rmtree(folder, ignore_errors=True)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
