"""One look every two seconds for all background jobs of a process: those with no work need not ask by themselves. It
is skipped while nothing has changed; notices and tokens become due by time alone, so SQLite is asked every 15 s then.
PostgreSQL is asked every 5 s: it does not tell which deliveries wait for an answer."""

import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import ColumnElement, select

from pbxhub.delivery.caller_persons import some_unnamed
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.resend import some_running
from pbxhub.delivery.outbox.wait_for_answer import some_waiting
from pbxhub.delivery.renewals import some_due_tokens
from pbxhub.delivery.wakeup import ChangeWatch
from pbxhub.notices.send_notices import some_due_notices

_UNTOLD = 4.5  # seconds from one look to the next, where nothing tells of a change
_LASTS = 1.5  # seconds: it looks at every second turn, for all threads together
_ASKED: Mapping[str, Callable[[datetime], ColumnElement[bool]]] = {
    "resends": lambda _now: some_running(),
    "notices": some_due_notices,
    "persons": lambda _now: some_unnamed(),
    "tokens": some_due_tokens,
    "answers": lambda _now: some_waiting(),
}


class DueWork:
    """is_due() may be called from any thread."""

    def __init__(self, context: DeliveryContext) -> None:
        self._database = context.database
        self._turn = threading.Lock()
        self._changes = ChangeWatch(context.database, context.wakeups, _UNTOLD)
        self._looked_at = -_LASTS  # monotonic
        self._found: frozenset[str] = frozenset()

    def is_due(self, job: str, now: datetime) -> bool:
        """Whether a job has work. A job that keeps its own time is told yes. Raises database errors."""
        if job not in _ASKED:
            return True
        with self._turn:
            if time.monotonic() - self._looked_at > _LASTS:
                if self._changes.is_due():
                    self._found = self._look(now)
                    self._changes.done()
                self._looked_at = time.monotonic()
            return job in self._found

    def close(self) -> None:
        """It may be asked afterwards as well; then it looks every time."""
        self._changes.close()

    def _look(self, now: datetime) -> frozenset[str]:
        asked = select(*(some(now).label(job) for job, some in _ASKED.items()))
        with self._database.read() as session:
            return frozenset(job for job, due in session.execute(asked).one()._mapping.items() if due)
