"""Writes stages to the database: in order, in groups; keeps them in memory while the database is unavailable."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.calls.stages import CallReport
from pbxhub.store.database_errors import is_away

Publish = Callable[[int, Sequence[CallReport]], object]
Work = Callable[[], None]

GROUP = 200  # reports in one transaction
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0
log = structlog.get_logger(__name__)


class Publisher:
    """Writes one PBX's stages. room: stages it holds until it is full."""

    def __init__(self, pbx_id: int, publish: Publish, room: int) -> None:
        self.stages = 0
        self.away = False  # whether the last write failed
        self._pbx_id = pbx_id
        self._publish = publish
        self._room = room
        self._waiting: deque[CallReport | Work] = deque()
        self._filled = asyncio.Event()
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

    async def run(self) -> None:
        """Writes until cancelled. An item leaves the queue only after it is in the database."""
        pause = _FIRST_PAUSE
        while True:
            await self._filled.wait()
            try:
                written = await asyncio.to_thread(self._write_first)
            except SQLAlchemyError as error:
                self._tell_away(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
                continue
            pause, self.away = _FIRST_PAUSE, False
            self._drop(written)

    def unwritten(self) -> list[CallReport]:
        """The queued reports, oldest first. The first ones may be in the middle of being written."""
        return [item for item in self._waiting if isinstance(item, CallReport)]

    def _drop(self, count: int) -> None:
        for _ in range(count):
            self.stages -= _weight(self._waiting.popleft())
        if not self._waiting:
            self._filled.clear()
            self.full.clear()
            self.empty.set()

    def _write_first(self) -> int:
        """Writes the oldest reports or does the oldest work; returns how many items are done. Runs in a thread."""
        first = self._waiting[0]
        if not isinstance(first, CallReport):
            self._work_off(first)
            return 1
        group: list[CallReport] = []
        for index in range(min(GROUP, len(self._waiting))):
            item = self._waiting[index]
            if not isinstance(item, CallReport):
                break
            group.append(item)
        self.publish_group(group)
        return len(group)

    def _work_off(self, work: Work) -> None:
        try:
            work()
        except Exception as error:
            if is_away(error):
                raise
            log.exception("database write failed; skipping it", pbx=self._pbx_id)

    def publish_group(self, group: Sequence[CallReport]) -> None:
        """Writes up to GROUP reports. Raises the database's error while it is unavailable. A report that it rejects is
        logged and skipped."""
        try:
            self._publish(self._pbx_id, group)
        except Exception as error:  # one report that the database rejects must not delay all others
            if is_away(error):
                raise
            if len(group) > 1:
                for report in group:
                    self.publish_group([report])
                return
            log.exception("the database rejected a call; skipping it", pbx=self._pbx_id, linkedid=group[0].linkedid)

    def _tell_away(self, error: Exception) -> None:
        if not self.away:
            log.warning(
                "database unavailable; keeping stages in memory", pbx=self._pbx_id, stages=self.stages, error=str(error)
            )
        self.away = True


def _weight(item: CallReport | Work) -> int:
    return max(1, len(item.stages)) if isinstance(item, CallReport) else 1
