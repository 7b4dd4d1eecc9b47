"""What a claim of this process saw, so that the next one need not read its indexes from their beginnings.

As long as anybody's transaction is open, such as that of a nightly pg_dump, PostgreSQL may not remove the old versions
of deliveries that were sent meanwhile. All of them are at the beginnings of the indexes of a claim.

LastLook, what is due: 1. a look at everything reads more than DEAD old versions and remembers the queues that it found;
2. each claim reads the due times from OVERLAP before the last look on, and adds what it finds; it reads each queue from
its first delivery on; 3. after REST times as long as the look took, and MOST at most, everything is looked at again. So
these looks cost a fraction of the time, and what became due with an earlier time (a commit that took longer than
OVERLAP, a host whose clock is behind) waits that long at most. Without such a transaction every look is at everything.

OldestLease, what is in flight: claims are numbered under their lock, and the number is the beginning of their tokens.
So whatever is in flight has a token from the oldest that the last claim saw on. No limit depends on a clock here.

On SQLite nothing of this is used. tests/test_work_beside_an_open_transaction.py
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import event
from sqlalchemy.orm import Session

DEAD = 1000  # old versions: reading them takes a millisecond
OVERLAP = timedelta(seconds=1)
REST = 40
MOST = 60.0  # seconds
_NO_TOKEN = UUID(int=0)
_NEVER = datetime.max.replace(tzinfo=UTC)
Queue = tuple[int, int]
"""A lane and a webhook."""


class OldestLease:
    """From which token on a claim has to count."""

    def __init__(self) -> None:
        self._token, self._server, self._counted_on = _NO_TOKEN, "", _NEVER

    def known(self, now: datetime) -> dict[str, Any]:
        """Whatever is in flight has this token or a greater one, if this is still the server. After a jump of the clock
        back, leases that were over may be in force again: then nothing is known."""
        token = self._token if self._counted_on <= now else _NO_TOKEN
        return {"oldest_token": token, "server": self._server}

    def counted(self, session: Session, oldest: UUID, server: str, now: datetime) -> None:
        """This transaction, which has ended no lease, has counted what is in flight. That is known after its commit: a
        server that is killed may give a number again if no commit has followed it. So may another server, which was a
        standby: server says which one it is. Numbers that are given again have other bytes after the number."""

        def remember(_session: Session) -> None:
            self._token, self._server, self._counted_on = UUID(int=oldest.int >> 64 << 64), server, now

        event.listen(session, "after_commit", remember, once=True)


class LastLook:
    """Used under the lock of the claims, but for what follows a commit. No queues are known unless the last look at
    everything was dear."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: dict[Queue, datetime] = {}
        self._waiting: dict[Queue, list[UUID]] = {}  # all that was seen of these queues since the last look
        self._looked_on: datetime | None = None
        self._until = 0.0  # by the clock that nobody sets
        self._until_on = self._next_due = _NEVER

    @property
    def first(self) -> Mapping[Queue, datetime]:
        """No delivery of a queue is due before that time."""
        return dict(self._first)

    def since(self, now: datetime) -> datetime | None:
        """From which due time on a claim has to look for more; None if it has to look at everything."""
        if self._looked_on is None or self._clock() >= self._until or not self._looked_on <= now < self._until_on:
            return None
        return self._looked_on - OVERLAP

    def next_look(self, now: datetime) -> datetime:
        """When to look again at the latest, although nothing is known to be due then."""
        times = (self._next_due, self._until_on, now + OVERLAP)
        return min(moment for moment in times if moment > now)

    def clear(self) -> None:
        self._saw({}, None)

    def begin(self, first: Mapping[Queue, datetime], next_due: datetime | None, now: datetime, took: float) -> None:
        """Remembers a look at everything that took so many seconds. next_due: the first time after now."""
        rest = min(took * REST, MOST)
        self._saw(first, now)
        self._until, self._until_on = self._clock() + rest, now + timedelta(seconds=rest)
        self._next_due = next_due or _NEVER

    def add(self, first: Mapping[Queue, datetime], now: datetime) -> None:
        """What a look since the last one has found: all queues that are still known, and new ones."""
        self._saw(first, now)

    def _saw(self, first: Mapping[Queue, datetime], now: datetime | None) -> None:
        self._first, self._looked_on, self._waiting = dict(first), now, {}

    def read(self, lane: int, webhook_ids: Iterable[int], rows: Iterable[Any], most: int) -> None:
        """rows: the first deliveries of these webhooks, of each `most` at most, in the order of their times."""
        if not self._first:
            return
        for webhook_id in webhook_ids:
            self._first.pop((lane, webhook_id), None)
        waiting: dict[Queue, list[UUID]] = {}
        for row in rows:
            self._first.setdefault((lane, row.webhook_id), row.due_at)
            waiting.setdefault((lane, row.webhook_id), []).append(row.id)
        self._waiting |= {queue: ids for queue, ids in waiting.items() if len(ids) < most}

    def claimed(self, session: Session, ids: Collection[UUID]) -> None:
        """These are claimed in this transaction. Queues of which nothing is left are unknown after its commit."""
        empty = [queue for queue, waiting in self._waiting.items() if all(one in ids for one in waiting)]
        if empty:
            looked_on = self._looked_on
            event.listen(session, "after_commit", lambda _session: self._leave_out(empty, looked_on), once=True)

    def _leave_out(self, queues: Iterable[Queue], looked_on: datetime | None) -> None:
        """Not if another claim has looked since, which may have found more of them: 1. this commit is done, but its
        answer is late; 2. another thread looks, finds a new delivery of the queue and may not take it; 3. the answer is
        here."""
        if self._looked_on is looked_on:  # the very look, not only one at the same time
            for queue in queues:
                self._first.pop(queue, None)
