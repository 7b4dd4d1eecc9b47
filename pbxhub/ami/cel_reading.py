"""Reads one PBX's CEL while Asterisk writes it, each row once, and groups the rows into calls."""

import asyncio
from contextlib import suppress

import structlog

from pbxhub.ami.cel_file import CelSource, CelUnreadableError
from pbxhub.calls.cel_calls import BEFORE_ALL, CelCall, CelCalls, Place, reports_of, reports_so_far
from pbxhub.calls.resync import Loss
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker

log = structlog.get_logger(__name__)
_OVERLAP = 5.0  # seconds before the last row of the previous file: calls that began earlier are finished
_BUSY = 5.0  # seconds that Asterisk may lock the file before the hub says so


class CelReading:
    """Without a source there are no rows.

    trouble: why it cannot be read; "" while it can. calls: those of which a row was read, until they are dropped.
    place, newest: of the last row, its time by Asterisk's clock. since: calls that began earlier are finished.
    touched: when a new row was last found; failing: since when CEL cannot be read, 0 while it can; by the hub's clock.
    """

    def __init__(self, source: CelSource | None, cursor: Place) -> None:
        self.trouble = ""
        self.calls = CelCalls()
        self.place = cursor
        self.newest = self.touched = self.failing = 0.0
        self.since = 0.0 if cursor.in_a_file else cursor.time - _OVERLAP
        self.source = source
        self._name = source.name if source else ""
        self._reading = asyncio.Lock()  # a listener that closes reads while another reading may go on

    @property
    def cursor(self) -> Place:
        """Where to continue after a restart: a call without a row after it is finished."""
        return self.calls.before or self.place

    async def begin(self, now: float) -> None:
        """Finds where to start in CEL that was never read, if it can be read now. Call it before connecting."""
        if self.source:
            with suppress(CelUnreadableError):  # read_on() tries again, and says so
                async with self._reading:
                    await self._find_start(self.source, now)

    async def _find_start(self, source: CelSource, now: float) -> None:
        """Rows older than the hub's first look are not published."""
        if not self.place.number:
            newest = await asyncio.to_thread(source.last_place)
            self.place = newest or Place(BEFORE_ALL, f"{now:.6f}")

    async def read_on(self, now: float) -> bool:
        """Reads the next rows, each once, however many read at a time. True when there may be more."""
        if self.source is None:
            return False
        async with self._reading:
            return await self._read_rows(self.source, now)

    async def _read_rows(self, source: CelSource, now: float) -> bool:
        try:
            await self._find_start(source, now)
            rows = await asyncio.to_thread(source.rows_after, self.place)
            if rows is None:
                self._begin_file()
                rows = await asyncio.to_thread(source.rows_after, self.place) or []
        except CelUnreadableError as error:
            self.failing = self.failing or now
            if not error.busy or now - self.failing > _BUSY:
                self.trouble = str(error)
            return False
        self.trouble, self.failing = "", 0.0
        for place, row in rows:
            self.calls.add(self.place, row, now)
            self.place, self.newest, self.touched = place, row.time, now
        return bool(rows)

    def _begin_file(self) -> None:
        """Starts at the first row: the file was replaced by another, or its rows were deleted."""
        log.info("CEL file replaced or emptied; reading it from the start", source=self._name, read=self.place.number)
        self.since = max(self.since, self.place.time - _OVERLAP)
        self.place = Place(BEFORE_ALL, self.place.mark.partition(" ")[0])
        self.calls.begin_file(self.place)

    def reports(
        self, call: CelCall, tracker: Tracker, end: float | None = None, reason: Loss = "lost_while_disconnected"
    ) -> list[CallReport]:
        """The reports of the whole call, or without an end those of its rows so far. tracker: a new one."""
        try:
            if end is None:
                return reports_so_far(call, tracker)
            return reports_of(call, tracker, end, reason)
        except Exception:  # one call that cannot be read must not stop the listener
            log.exception("CEL rows of a call cannot be read; skipping the call", source=self._name, row=call.first)
            return []

    def close(self) -> None:
        """Nothing is read from now on."""
        if self.source:
            self.source.close()
