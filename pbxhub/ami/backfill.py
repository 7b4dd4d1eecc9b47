"""Every call that Asterisk wrote down is told: by its events, or from its CEL rows when any of them may be missing.

CEL is followed all the time, each row read once. A call is dropped when all its channels were heard live from
beginning to end; any other is told from its rows as soon as it is over: stages that are known already have the same
keys and are written once. A busy Asterisk writes its rows seconds after its events; a killed one never writes its last.

The cursor stands before the first row of every call that is not done. So whenever the hub is killed, the next one
finds in the rows after the cursor every call that may not be in the database, whole; a call of which it finds only a
part was done.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from pbxhub.ami.cel_file import BEFORE_ALL, CelUnreadableError, last_row, rows_after
from pbxhub.ami.hearing import Hearing
from pbxhub.ami.resync import Reason, Stock
from pbxhub.calls.cel_calls import CelCall, CelCalls, tell
from pbxhub.calls.messages import Message
from pbxhub.calls.stages import CallReport

log = structlog.get_logger(__name__)
_NEVER = 0  # the cursor of a file not seen yet
_QUIET = 5.0  # seconds without a new row after which everything is written
_LATEST = 60.0  # seconds after which no row is awaited any more
_LIVE_FIRST = 10.0  # seconds that the events of a call may come later than its rows


@dataclass(frozen=True, slots=True)
class _Gone:
    """The end of a call that was only concluded, at a stock at `since`, from its channels being gone."""

    report: CallReport
    since: float


class Backfill:
    """One PBX's CEL, and what is heard live beside it. Without a path it does nothing.

    trouble: why the file cannot be read; empty while it can. cursor: to go on from after a restart.
    """

    def __init__(self, path: str, cursor: int, incoming_contexts: Collection[str]) -> None:
        self.trouble = ""
        self._path = path
        self._read = cursor
        self._incoming_contexts = incoming_contexts
        self._hearing = Hearing()
        self._calls = CelCalls()
        self._stock: Stock | None = None
        self._gone: dict[str, _Gone] = {}
        self._newest = 0.0  # Asterisk's time of the newest row
        self._touched = 0.0  # when a row was found last
        self._failing = 0.0  # since when the file could not be read

    @property
    def cursor(self) -> int:
        """Every call without a row after it is done."""
        first = self._calls.first
        return self._read if first is None else (first - 1 or BEFORE_ALL)

    def hear(self, message: Message) -> None:
        """An event whose reports have been given out."""
        if self._path:
            self._hearing.hear(message)

    def take_stock(self, stock: Stock, reports: Sequence[CallReport]) -> Iterator[CallReport]:
        """The reports of the tracker at a stock, without those of calls that were found gone: CEL may know their true
        end, so look() gives them out when it does not."""
        self._hearing.take_stock(stock.channels)
        self._stock = stock
        for report in reports:
            if self._path and report.ended_on is not None:
                self._gone[report.linkedid] = _Gone(report, stock.taken_on.timestamp())
            else:
                yield report

    async def look(self, now: datetime) -> AsyncIterator[CallReport]:
        """What the rows written meanwhile have to tell; call it every second while events come live."""
        if not self._path:
            return
        moment = now.timestamp()
        while await self._read_on(moment):
            for call in self._calls:
                if call.over:
                    for report in self._tell(call, moment):
                        yield report
        if not self._failing:
            for call in self._calls:
                for report in self._tell(call, moment):
                    yield report
        for report in self._let_go(moment):
            yield report

    async def _read_on(self, now: float) -> bool:
        """Reads the next rows; whether there may be more."""
        try:
            if self._read == _NEVER:  # the past of a file at first sight is not the hub's business
                self._read = await asyncio.to_thread(last_row, self._path)
            rows = await asyncio.to_thread(rows_after, self._path, self._read)
            if not rows and await asyncio.to_thread(last_row, self._path) < self._read:
                self._read, self._calls = _NEVER, CelCalls()  # the file was begun anew
        except CelUnreadableError as error:
            self._failing = self._failing or now
            if not error.busy or now - self._failing > _QUIET:
                self.trouble = str(error)
            return False
        self.trouble, self._failing = "", 0.0
        for number, row in rows:
            self._calls.add(number, row, now)
            self._read, self._newest, self._touched = number, row.time, now
        return bool(rows)

    def _tell(self, call: CelCall, now: float) -> Iterator[CallReport]:
        if self._hearing.heard_whole(call.channels):
            self._calls.drop(call)
            return
        end = self._end_of(call, now)
        if end is not None:
            self._calls.drop(call)
            for report in self._reports(call, *end):
                self._gone.pop(report.linkedid, None)
                yield report

    def _reports(self, call: CelCall, end: float, reason: Reason) -> list[CallReport]:
        try:
            return tell(call, self._incoming_contexts, end, reason)
        except Exception:  # one odd call must not stop the line
            log.exception("the CEL rows of a call could not be followed", path=self._path, first=call.first)
            return []

    def _end_of(self, call: CelCall, now: float) -> tuple[float, Reason] | None:
        """When and why what is still open of a call ended; None while the call is not to be told yet."""
        stock, silent = self._stock, now - call.touched
        if stock is None:
            return None
        before = call.began <= stock.taken_on.timestamp()
        lives = not self._hearing.live.isdisjoint(call.channels)
        if call.over:
            return (call.last, "lost_while_disconnected") if silent >= _LIVE_FIRST or (before and not lives) else None
        if lives:
            return None
        if stock.started_on is not None and call.last < stock.started_on.timestamp():
            return stock.started_on.timestamp(), "pbx_restarted"
        return (call.last, "lost_while_disconnected") if silent >= _LATEST else None

    def _let_go(self, now: float) -> Iterator[CallReport]:
        """Ends that were concluded and that CEL does not know: its rows have been read up to the stock."""
        for linkedid, gone in list(self._gone.items()):
            quiet = not self._failing and now - max(self._touched, gone.since) >= _QUIET
            if self._newest > gone.since or quiet or now - gone.since >= _LATEST:
                del self._gone[linkedid]
                yield gone.report
