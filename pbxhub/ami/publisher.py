"""Writes stages to the database: in order, in groups; keeps them in memory while the database is unavailable.

Every PBX has a queue of its own. One publisher for the whole process writes what is in all of them: ten PBXs with one
call each cost one transaction, and one commit, as a single PBX with ten calls does.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.calls.stages import CallReport
from pbxhub.store.database_errors import is_away
from pbxhub.store.listeners import LeaseTokens

Publish = Callable[[Mapping[int, Sequence[CallReport]], LeaseTokens], object]
"""Writes reports by PBX in one transaction, with the leases under which they were heard."""
Work = Callable[[], None]

GROUP = 200  # reports in one transaction
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
log = structlog.get_logger(__name__)


class StageQueue:
    """What one PBX reported and is not in the database yet. room: stages it holds until it is full.

    token: of the lease under which it was heard; None where nobody else listens.
    """

    def __init__(self, pbx_id: int, room: int, filled: asyncio.Event, token: int | None) -> None:
        """filled: set whenever something is put here."""
        self.pbx_id = pbx_id
        self.token = token
        self.stages = 0
        self.away = False  # whether the last write failed
        self._room = room
        self._waiting: deque[CallReport | Work] = deque()
        self._filled = filled
        self.full = asyncio.Event()  # set when there is no room, cleared once everything is written
        self.empty = asyncio.Event()
        self.empty.set()

    def put(self, item: CallReport | Work) -> None:
        """Queues a report, or other database work to do after everything queued before it."""
        self._waiting.append(item)
        self.stages += _weight(item)
        self._filled.set()
        self.empty.clear()
        if self.stages >= self._room:
            self.full.set()

    def unwritten(self) -> list[CallReport]:
        """The queued reports, oldest first. The first ones may be in the middle of being written."""
        return [item for item in self._waiting if isinstance(item, CallReport)]

    def first(self, most: int) -> Work | list[CallReport] | None:
        """What is to be done first: work, or up to so many reports before the next work; None when it is empty."""
        if not self._waiting:
            return None
        if not isinstance(self._waiting[0], CallReport):
            return self._waiting[0]
        group: list[CallReport] = []
        for item in islice(self._waiting, most):
            if not isinstance(item, CallReport):
                break
            group.append(item)
        return group

    def drop(self, count: int) -> None:
        """The first items are done."""
        for _ in range(count):
            self.stages -= _weight(self._waiting.popleft())
        if not self._waiting:
            self.full.clear()
            self.empty.set()


class Publisher:
    """Writes the queues of all PBXs of this process until it is cancelled."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._queues: dict[int, StageQueue] = {}
        self._filled = asyncio.Event()

    def open_queue(self, pbx_id: int, room: int, token: int | None = None) -> StageQueue:
        """The queue of a PBX that is listened to from now on."""
        queue = self._queues[pbx_id] = StageQueue(pbx_id, room, self._filled, token)
        return queue

    @property
    def waiting(self) -> int:
        """Stages of all PBXs that are not in the database yet."""
        return sum(queue.stages for queue in tuple(self._queues.values()))

    def close_queue(self, queue: StageQueue) -> None:
        """Writes nothing more of it."""
        if self._queues.get(queue.pbx_id) is queue:
            del self._queues[queue.pbx_id]

    async def run(self) -> None:
        """An item leaves its queue only after it is in the database."""
        pause = _FIRST_PAUSE
        while True:
            await self._filled.wait()
            self._filled.clear()
            try:
                while await self._write_once(tuple(self._queues.values())):  # a PBX may have been added meanwhile
                    pause = _FIRST_PAUSE
            except SQLAlchemyError as error:
                self._say_away(tuple(self._queues.values()), error)
            except Exception:  # nobody else writes what is in the queues
                log.exception("unexpected error in the publisher; continuing")
            else:
                continue
            self._filled.set()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _write_once(self, queues: Sequence[StageQueue]) -> bool:
        """Writes one group over all queues, and does the work that is first in any; False when all are empty."""
        share = max(1, GROUP // max(1, sum(not queue.empty.is_set() for queue in queues)))
        first = {queue: found for queue in queues if (found := queue.first(share)) is not None}
        reports = {queue: found for queue, found in first.items() if isinstance(found, list)}
        if reports:
            tokens = {queue.pbx_id: queue.token for queue in reports if queue.token is not None}
            await asyncio.to_thread(self.write, {queue.pbx_id: group for queue, group in reports.items()}, tokens)
            self._done({queue: len(group) for queue, group in reports.items()})
        for queue, work in first.items():
            if not isinstance(work, list):
                await asyncio.to_thread(_do, work, queue.pbx_id)
                self._done({queue: 1})
        return bool(first)

    def _done(self, written: Mapping[StageQueue, int]) -> None:
        for queue, count in written.items():
            queue.away = False
            queue.drop(count)

    def write(self, reports: Mapping[int, Sequence[CallReport]], tokens: LeaseTokens) -> None:
        """Writes reports by PBX. Raises the database's error while it is unavailable.

        A report that the database rejects is logged and skipped: the group is written in halves until it is found, so
        that it delays no other.
        """
        try:
            self._publish(reports, {pbx_id: token for pbx_id, token in tokens.items() if pbx_id in reports})
        except Exception as error:
            if is_away(error):
                raise
            halves = _halves(reports)
            if not halves:
                [(pbx_id, [report])] = reports.items()
                log.exception("the database rejected a call; skipping it", pbx=pbx_id, linkedid=report.linkedid)
            for half in halves:
                self.write(half, tokens)

    def _say_away(self, queues: Sequence[StageQueue], error: SQLAlchemyError) -> None:
        waiting = [queue for queue in queues if not queue.empty.is_set()]
        if not any(queue.away for queue in waiting):
            log.warning(
                "database unavailable; keeping stages in memory", stages=sum(queue.stages for queue in waiting),
                error=str(error),
            )  # fmt: skip
        for queue in waiting:
            queue.away = True


def _halves(reports: Mapping[int, Sequence[CallReport]]) -> list[Mapping[int, Sequence[CallReport]]]:
    """The same reports in two parts, PBX by PBX as long as there are several; nothing when there is only one."""
    pbx_ids = list(reports)
    if len(pbx_ids) > 1:
        middle = len(pbx_ids) // 2
        return [{pbx_id: reports[pbx_id] for pbx_id in half} for half in (pbx_ids[:middle], pbx_ids[middle:])]
    [(pbx_id, group)] = reports.items()
    middle = len(group) // 2
    return [{pbx_id: group[:middle]}, {pbx_id: group[middle:]}] if middle else []


def _do(work: Work, pbx_id: int) -> None:
    try:
        work()
    except Exception as error:
        if is_away(error):
            raise
        log.exception("database write failed; skipping it", pbx=pbx_id)


def _weight(item: CallReport | Work) -> int:
    return max(1, len(item.stages)) if isinstance(item, CallReport) else 1
