"""Every call that Asterisk wrote down is told: by its events, or from its CEL rows when any of them may be missing.

CEL is followed all the time, each row read once. A call is dropped when all its channels were heard live from
beginning to end; any other is told from its rows as soon as it is over: stages that are known already have the same
keys and are written once. A busy Asterisk writes its rows seconds after its events; a killed one never writes its last.

The cursor stands before the first row of every call that is not done. So whenever the hub is killed, the next one
finds in the rows after the cursor every call that may not be in the database, whole; a call of which it finds only a
part was done. A file that was rotated or emptied is read from its beginning.

A call that lived through a gap may have been answered in it: before its end is told, its rows are waited for, two
seconds at most, and what they tell of goes first.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from pbxhub.ami.cel_file import CelUnreadableError, last_place, rows_after
from pbxhub.ami.hearing import Hearing
from pbxhub.ami.resync import Reason, Stock
from pbxhub.calls.ami_events import Message
from pbxhub.calls.cel_calls import BEFORE_ALL, CelCall, CelCalls, Place, tell, tell_so_far
from pbxhub.calls.stages import CallReport

log = structlog.get_logger(__name__)
_SURELY = 5.0  # seconds before the last row read of another file: what began earlier was done
_QUIET = 5.0  # seconds without a new row after which everything is written
_LATEST = 60.0  # seconds after which no row is awaited any more
_LIVE_FIRST = 10.0  # seconds that the events of a call may come later than its rows
_ROWS_FIRST = 2.0  # seconds that the end of a call that lived through a gap waits for its rows


@dataclass(frozen=True, slots=True)
class _Gone:
    """The end of a call that was only concluded, at a stock at `since`, from its channels being gone."""

    report: CallReport
    since: float


@dataclass(slots=True)
class _Ended:
    """The end of a conversation that was heard at `since`, `at` by Asterisk's clock, and what was heard of the call
    after it."""

    reports: list[CallReport]
    since: float
    at: float


class Backfill:
    """One PBX's CEL, and what is heard live beside it. Without a path it does nothing.

    trouble: why the file cannot be read; empty while it can. cursor: to go on from after a restart.
    """

    def __init__(self, path: str, cursor: Place, incoming_contexts: Collection[str]) -> None:
        self.trouble = ""
        self._path = path
        self._read = cursor
        self._incoming_contexts = incoming_contexts
        self._hearing = Hearing()
        self._calls = CelCalls()
        self._stock: Stock | None = None
        self._gone: dict[str, _Gone] = {}
        self._interrupted: frozenset[str] = frozenset()  # linkedids of the calls that lived at the last stock
        self._ended: dict[str, _Ended] = {}
        self._since = 0.0 if cursor.in_a_file else cursor.time - _SURELY  # a call that began before it is done
        self._newest = 0.0  # Asterisk's time of the newest row
        self._touched = 0.0  # when a row was found last
        self._failing = 0.0  # since when the file could not be read

    @property
    def cursor(self) -> Place:
        """Every call without a row after it is done."""
        return self._calls.before or self._read

    @property
    def waits(self) -> bool:
        """Whether the end of a call is held back."""
        return bool(self._ended)

    def hear(self, message: Message, reports: Sequence[CallReport], now: datetime) -> Iterator[CallReport]:
        """The reports of an event, without those that wait for CEL: look() gives them out."""
        for report in reports:
            ended = self._ended.get(report.linkedid)
            if ended is not None:
                ended.reports.append(report)
            elif self._path and not self._failing and _ends(report) and report.linkedid in self._interrupted:
                self._ended[report.linkedid] = _Ended([report], now.timestamp(), report.stages[-1].time.timestamp())
            else:
                yield report
        if self._path:
            self._hearing.hear(message)

    def let_out(self) -> Iterator[CallReport]:
        """The ends that are held back: nobody looks any more."""
        while self._ended:
            yield from self._ended.pop(next(iter(self._ended))).reports

    def take_stock(self, stock: Stock, reports: Sequence[CallReport]) -> Iterator[CallReport]:
        """The reports of the tracker at a stock, without those of calls that were found gone: CEL may know their true
        end, so look() gives them out when it does not."""
        self._hearing.take_stock(stock.channels)
        self._stock = stock
        self._interrupted = frozenset(status.channel.linkedid for status in stock.channels)
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
            for report in self._let_ends_out(moment):
                yield report
            for call in self._calls:
                if call.over:
                    for report in self._tell(call, moment):
                        yield report
        for report in self._let_ends_out(moment):
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
            if not self._read.number:  # the past of a file at first sight is not the hub's business
                newest = await asyncio.to_thread(last_place, self._path)
                self._read = newest or Place(BEFORE_ALL, f"{now:.6f}")
            rows = await asyncio.to_thread(rows_after, self._path, self._read)
            if rows is None:
                self._begin_file()
                rows = await asyncio.to_thread(rows_after, self._path, self._read) or []
        except CelUnreadableError as error:
            self._failing = self._failing or now
            if not error.busy or now - self._failing > _QUIET:
                self.trouble = str(error)
            return False
        self.trouble, self._failing = "", 0.0
        for place, row in rows:
            self._calls.add(self._read, row, now)
            self._read, self._newest, self._touched = place, row.time, now
        return bool(rows)

    def _begin_file(self) -> None:
        """Another file has taken the place of the one that was read, or its rows were taken out."""
        log.info("the CEL file was begun anew", path=self._path, read=self._read.number)
        self._since = max(self._since, self._read.time - _SURELY)
        self._read = Place(BEFORE_ALL, self._read.mark.partition(" ")[0])
        self._calls.begin_file(self._read)

    def _let_ends_out(self, now: float) -> Iterator[CallReport]:
        """The ends of calls whose rows up to it were read, or waited for long enough; what the rows tell goes first."""
        for linkedid, ended in list(self._ended.items()):
            call = self._calls.of(linkedid)
            read = self._newest >= ended.at if call is None or not call.over else True
            if self._failing or read or now - ended.since >= _ROWS_FIRST:
                del self._ended[linkedid]
                told = [] if call is None else self._reports(call)
                yield from (before for report in told for before in _before_its_end(report))
                yield from (_corrected(report, told) for report in ended.reports)

    def _tell(self, call: CelCall, now: float) -> Iterator[CallReport]:
        if self._hearing.heard_whole(call.channels) or call.began < self._since:
            self._calls.drop(call)
            return
        if not self._ended.keys().isdisjoint(call.keys):
            return
        end = self._end_of(call, now)
        if end is not None:
            self._calls.drop(call)
            for report in self._reports(call, *end):
                self._gone.pop(report.linkedid, None)
                yield report

    def _reports(
        self, call: CelCall, end: float | None = None, reason: Reason = "lost_while_disconnected"
    ) -> list[CallReport]:
        """Of the whole call, or without an end of what was read of it so far."""
        try:
            if end is None:
                return tell_so_far(call, self._incoming_contexts)
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


_OF_AN_ANSWER = (
    "disposition", "is_answered", "is_missed", "billsec", "answer_time", "ring_time", "waittime", "extension", "legs",
)  # fmt: skip


def _ends(report: CallReport) -> bool:
    return any(stage.name.endswith(".after") for stage in report.stages)


def _before_its_end(report: CallReport) -> Iterator[CallReport]:
    """The report of what came before the end; none when there is nothing."""
    stages = tuple(stage for stage in report.stages if stage.name.endswith((".before", ".forward", ".pickup")))
    if stages:
        yield replace(report, stages=stages, ended_on=None, disposition="")


def _corrected(heard: CallReport, by_cel: Sequence[CallReport]) -> CallReport:
    """The end that was heard, with the answer that only CEL knows of."""
    known = next((report for report in by_cel if _ends(report) and report.linkedid == heard.linkedid), None)
    if known is None or known.answered_on is None or heard.answered_on is not None:
        return heard
    answer = {name: known.values[name] for name in _OF_AN_ANSWER if name in known.values}
    return replace(
        heard,
        answered_on=known.answered_on,
        disposition=known.disposition,
        extension=known.extension,
        values={**heard.values, **answer},
        stages=tuple(replace(stage, values={**stage.values, **answer}) for stage in heard.stages),
    )
