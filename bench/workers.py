"""How the rate grows with the number of processes that send, while neither the database nor a processor is the limit.

python bench/workers.py [--workers 1,2,4] [--places 6] [--seconds 8]

Each `pbxhub work` has so few places (--places requests in flight), and each receiver takes so long (200 ms), that its
most is known: 30 requests a second. One `pbxhub listen` that sends nothing itself hears 10 PBXs, whose calls are played
at 1.5 times what all workers together can send. Linear is the rate of the first row for each worker.
"""

import argparse
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from line import Figure, Subject, measure
from rig.pbxs import pbxs
from rig.receiver import receiver
from rig.scripts import STAGES

from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.hub.postgres import postgres_server

_WAIT = 0.2  # seconds until a receiver answers


def rate_of(workers: int, places: int, seconds: float) -> Figure:
    most = int(workers * places / _WAIT)
    settings = {"PBXHUB_WORKERS": str(places), "PBXHUB_LISTEN_SENDS": "no"}
    with ExitStack() as stack:
        url = stack.enter_context(receiver(_WAIT))
        played = stack.enter_context(pbxs(10))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(postgres_server(durable=True))
        commands = ("listen", *["work"] * workers, "web")
        hub = stack.enter_context(Hub(folder, database, settings, commands)).start()
        for stage in STAGES.values():
            request = {"headers": [{"name": "moment", "value": "<<call_id>> <<event>>"}]}
            hub.webhook(f"incoming.{stage}", f"{url}/hook", request=request, limits={"in_flight": 100})
        for address in played.addresses:
            hub.listen_to(address)
        subject = Subject(f"{workers} work", lambda: hub.pids)
        measure(subject, played, url, 40, 2)  # warms up
        return measure(subject, played, url, int(1.5 * most), seconds, timeout=60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=lambda text: [int(one) for one in text.split(",")], default=[1, 2, 4])
    parser.add_argument("--places", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=8.0)
    asked = parser.parse_args()
    first = 0.0
    for workers in asked.workers:
        figure = rate_of(workers, asked.places, asked.seconds)
        first = first or figure.rate / workers
        print(f"{workers} work: {figure.rate:5.0f}/s, {figure.rate / workers / first:.2f} of linear", flush=True)


if __name__ == "__main__":
    main()
