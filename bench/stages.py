"""What each step of the outbox costs: microseconds of CPU per delivery, in large groups and call by call.

python bench/stages.py [sqlite|postgresql] …

One thread and no requests: publish, claim, prepare and record alone. On PostgreSQL the server's part is not counted.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rig.hub import VAULT, context_of, databases, populate, report

from pbxhub.delivery.context import utc_now
from pbxhub.delivery.outbox import Batch, Finished, claim, publish, record
from pbxhub.delivery.prepare import prepare
from pbxhub.sending.exchange import Answer
from pbxhub.store.session import Database

WEBHOOKS = 4
ANSWER = Answer(
    "ok", "", 204, (("Server", "bench"),), dns_us=0, connect_us=0, tls_us=0, first_byte_us=900, total_us=1000,
    peer="127.0.0.1:80",
)  # fmt: skip
T = TypeVar("T")


class Steps:
    """CPU seconds by step."""

    def __init__(self, database: Database, pbx_id: int) -> None:
        self.spent: dict[str, float] = {}
        self._context = context_of(database)
        self._pbx_id = pbx_id

    def timed(self, step: str, run: Callable[[], T]) -> T:
        began = time.process_time()
        result = run()
        self.spent[step] = self.spent.get(step, 0.0) + time.process_time() - began
        return result

    def publish(self, calls: list[str]) -> None:
        reports = [report(call) for call in calls]
        self.timed("publish", lambda: publish(self._context, {self._pbx_id: reports}, utc_now()))

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


def measure(kind: str, calls: int, group: int) -> None:
    with databases(kind) as database:
        steps = Steps(database, populate(database, ["http://127.0.0.1:9/"] * WEBHOOKS))
        sent = 0
        for first in range(0, calls, group):
            steps.publish([f"stages.{first + number}" for number in range(group)])
            waiting = group * WEBHOOKS
            while waiting > 0:
                waiting -= steps.send(100)
            sent += group * WEBHOOKS
    figures = "  ".join(f"{step} {seconds / sent * 1e6:.0f}" for step, seconds in steps.spent.items())
    total = sum(steps.spent.values()) / sent * 1e6
    print(f"{kind}, groups of {group * WEBHOOKS:4d}: {figures}  together {total:.0f} us CPU per delivery", flush=True)


def main(kinds: list[str]) -> None:
    for kind in kinds:
        measure(kind, 2500, 250)
        measure(kind, 500, 1)


if __name__ == "__main__":
    main(sys.argv[1:] or ["sqlite", "postgresql"])
