"""Runs as long as wanted, from a printed seed; what fails is shown as its shortest run. `make chaos` calls it."""

import argparse
import secrets
import sys

from tests.support.simulation.planted_bugs import BUGS
from tests.support.simulation.runs import STEPS, Run, run, shorten


def _report(failed: Run, bug: str) -> None:
    again = f"python -m tests.support.simulation --seed {failed.seed} --steps {STEPS}" + (
        f' --bug "{bug}"' if bug else ""
    )
    print(f"\n{failed.broken}\nThe same again: {again}\nMaking it shorter …", flush=True)
    shortest = shorten(failed, bug)
    print(f"{len(shortest.taken)} steps, and {shortest.broken}:\n  " + "\n  ".join(shortest.steps))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.support.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000_000))
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--bug", choices=list(BUGS), default="", help="one that is planted, which must be found")
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.steps} steps in runs of {STEPS}", flush=True)
    for number in range(-(-given.steps // STEPS)):
        done = run(given.seed + number, bug=given.bug)
        if done.broken:
            _report(done, given.bug)
            return 1
        if number % 20 == 19:
            print(f"{(number + 1) * STEPS} steps", flush=True)
    print("no rule was broken")
    return 0


if __name__ == "__main__":
    sys.exit(main())
