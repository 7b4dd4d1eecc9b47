"""What each step of the outbox costs: microseconds of CPU per delivery, in large groups and call by call.

python bench/stages.py [sqlite|postgresql] … [--projects 1000]

One thread and no requests: publish, claim, prepare and record alone. On PostgreSQL the server's part is not counted.
--projects: groups of 100 calls of one project, compared with the same number of calls of as many projects.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.hub import VAULT, context_of, databases, populate, report

from pbxhub.calls.stages import CallReport
from pbxhub.delivery.context import utc_now
from pbxhub.delivery.outbox import Batch, Finished, claim, publish, record
from pbxhub.delivery.prepare import prepare
from pbxhub.sending.exchange import Answer
from pbxhub.services import collect_seldom
from pbxhub.store.session import Database

WEBHOOKS = 4
ANSWER = Answer(
    "ok", "", 204, (("Server", "bench"),), dns_us=0, connect_us=0, tls_us=0, first_byte_us=900, total_us=1000,
    peer="127.0.0.1:80",
)  # fmt: skip
T = TypeVar("T")


class Steps:
    """CPU seconds by step."""

    def __init__(self, database: Database, pbx_ids: Sequence[int]) -> None:
        self.spent: dict[str, float] = {}
        self._context = context_of(database)
        self._pbx_ids = cycle(pbx_ids)

    def timed(self, step: str, run: Callable[[], T]) -> T:
        began = time.process_time()
        result = run()
        self.spent[step] = self.spent.get(step, 0.0) + time.process_time() - began
        return result

    def publish(self, calls: list[str]) -> None:
        reports: dict[int, list[CallReport]] = {}
        for call in calls:
            reports.setdefault(next(self._pbx_ids), []).append(report(call))
        self.timed("publish", lambda: publish(self._context, reports, utc_now()))

    def send(self, limit: int) -> int:
        """Claims, prepares and records one batch. Returns how many there were."""
        batch = self.timed("claim", lambda: self._claim(limit))
        self.timed("prepare", lambda: [prepare(VAULT, one, utc_now()) for one in batch.claimed])
        ended = [Finished(one, ANSWER, (("webhook-id", str(one.id)),), utc_now()) for one in batch.claimed]
        self.timed("record", lambda: self._record(ended))
        return len(ended)

    def _claim(self, limit: int) -> Batch:
        with self._context.database.write() as session:
            return claim(self._context, session, limit, utc_now())

    def _record(self, ended: list[Finished]) -> None:
        with self._context.database.write() as session:
            record(self._context, session, ended, utc_now())


def spent(kind: str, calls: int, group: int, projects: int = 1) -> dict[str, float]:
    """Microseconds for each delivery, by step. Each project has had a call before."""
    with databases(kind) as database:
        steps = Steps(database, [populate(database, ["http://127.0.0.1:9/"] * WEBHOOKS) for _ in range(projects)])
        warm = -(-projects // group) * group
        for first in range(0, warm + calls, group):
            if first == warm:
                steps.spent.clear()
            steps.publish([f"stages.{first + number}" for number in range(group)])
            waiting = group * WEBHOOKS
            while waiting > 0:
                waiting -= steps.send(100)
    return {step: seconds / (calls * WEBHOOKS) * 1e6 for step, seconds in steps.spent.items()}


def measure(kind: str, calls: int, group: int) -> None:
    steps = spent(kind, calls, group)
    figures = "  ".join(f"{step} {each:.0f}" for step, each in steps.items())
    total = sum(steps.values())
    print(f"{kind}, groups of {group * WEBHOOKS:4d}: {figures}  together {total:.0f} us CPU per delivery", flush=True)


def compare(kind: str, projects: int) -> None:
    one, many = spent(kind, 2000, 100), spent(kind, 2000, 100, projects)
    figures = "  ".join(f"{step} {many[step] / one[step]:.2f}" for step in one)
    total = sum(many.values()) / sum(one.values())
    print(f"{kind}, {projects} projects: {figures}  together {total:.2f} x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("kinds", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--projects", type=int)
    given = parser.parse_args()
    collect_seldom()
    for kind in given.kinds:
        if given.projects:
            compare(kind, given.projects)
        else:
            measure(kind, 2500, 250)
            measure(kind, 500, 1)


if __name__ == "__main__":
    main()
