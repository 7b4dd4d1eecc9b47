"""Publishes every call that Asterisk recorded: from its events, or from its CEL rows when events may be missing.

CEL is read all the time, each row once. When every channel of a call was followed live from start to end, its rows
are dropped. Any other call is published from its rows once it is over; a stage that is in the database already has the
same key and is not written again. A busy Asterisk writes its rows seconds after its events; one that is killed never
writes the last rows.

The cursor stands before the first row of every unfinished call. If the hub is killed, its successor therefore finds
all rows of every call that may be missing from the database. A call whose first rows are before the cursor was
finished. A file that was rotated or emptied is read from its beginning.

A call that was in progress during a gap may have been answered or sent on in it. Its end is therefore held for up to
two seconds, until its rows are read, and the stages found in them are published first. This goes on while the
connection is lost again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import structlog

from pbxhub.ami.cel_file import CelUnreadableError
from pbxhub.ami.cel_table import CelSource
from pbxhub.ami.channel_list import ChannelList
from pbxhub.calls.ami_events import Hangup, Message, Newchannel, Status
from pbxhub.calls.cel_calls import BEFORE_ALL, CelCall, CelCalls, Place, reports_of, reports_so_far
from pbxhub.calls.dispositions import OF_THE_DIALPLAN
from pbxhub.calls.resync import Loss
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker

_MOST_FOLLOWED = 50_000  # channels remembered after their end; a CEL row comes seconds later
log = structlog.get_logger(__name__)
_OVERLAP = 5.0  # seconds before the last row of the previous file: calls that began earlier are finished
_QUIET = 5.0  # seconds without a new row after which Asterisk has written everything
_LATEST = 60.0  # seconds to wait for a row at most
_LIVE_FIRST = 10.0  # seconds that the events of a call may arrive after its rows
_ROWS_FIRST = 2.0  # seconds to hold the end of a call that was in progress during a gap, for its rows to arrive


@dataclass(frozen=True, slots=True)
class _InferredEnd:
    """The end of a call whose channels were missing from the channel list read at `since`; no hangup was received."""

    report: CallReport
    since: float


@dataclass(slots=True)
class _HeldEnd:
    """The end of a conversation, received at `since`, `at` by Asterisk's clock, and what followed it in the call."""

    reports: list[CallReport]
    since: float
    at: float

    @property
    def over(self) -> bool:
        """Whether the call has ended with it; otherwise the caller may still give a mark."""
        return any(report.ended_on is not None for report in self.reports)


class _FollowedChannels:
    """Which channels the events showed from start to end. live: uniqueids of the channels in existence now."""

    def __init__(self) -> None:
        self.live: set[str] = set()
        self._begun: set[str] = set()  # whose start was received since the last resync
        self._whole: dict[str, None] = {}

    def feed(self, message: Message) -> None:
        """An event that the tracker has processed."""
        if isinstance(message, Newchannel):
            self.live.add(message.channel.uniqueid)
            self._begun.add(message.channel.uniqueid)
        elif isinstance(message, Hangup):
            self.live.discard(message.uniqueid)
            if message.uniqueid in self._begun:
                self._begun.remove(message.uniqueid)
                self._whole[message.uniqueid] = None
                if len(self._whole) > _MOST_FOLLOWED:
                    del self._whole[next(iter(self._whole))]

    def resync(self, channels: Iterable[Status]) -> None:
        """Events may have been missed, so none of the channels that exist now was followed without a gap."""
        self.live = {status.channel.uniqueid for status in channels}
        self._begun.clear()

    def throughout(self, uniqueids: Iterable[str]) -> bool:
        """Whether each of these channels was followed from its start to its end without a gap."""
        return all(uniqueid in self._whole for uniqueid in uniqueids)


class Backfill:
    """Compares one PBX's CEL with its live events. Without a source it does nothing.

    trouble: why it cannot be read; "" while it can. cursor: where to continue after a restart.
    """

    def __init__(self, source: CelSource | None, cursor: Place, new_tracker: Callable[[], Tracker]) -> None:
        self.trouble = ""
        self._source = source
        self._name = source.name if source else ""
        self._read = cursor
        self._new_tracker = new_tracker
        self._followed = _FollowedChannels()
        self._calls = CelCalls()
        self._last_list: ChannelList | None = None
        self._inferred: dict[str, _InferredEnd] = {}
        self._in_a_gap = True  # nothing is known yet of what happened since the last connection
        self._interrupted: frozenset[str] = frozenset()  # linkedids and channels of the calls at the last resync
        self._held: dict[str, _HeldEnd] = {}
        self._since = 0.0 if cursor.in_a_file else cursor.time - _OVERLAP  # calls that began earlier are finished
        self._newest = 0.0  # the newest row, by Asterisk's clock
        self._touched = 0.0  # when a new row was last found
        self._failing = 0.0  # since when the file cannot be read; 0 while it can
        self._reading = asyncio.Lock()  # a listener that closes calls poll_held() while poll() may be reading

    @property
    def cursor(self) -> Place:
        """A call without a row after it is finished."""
        return self._calls.before or self._read

    @property
    def holds_ends(self) -> bool:
        """Whether the end of a call is held until its rows are read."""
        return bool(self._held)

    def feed(self, message: Message, reports: Sequence[CallReport], now: datetime) -> Iterator[CallReport]:
        """The reports of an event, except those held until CEL is read; poll() yields these later.

        The end of a call may be received before the list of channels that closes the gap: 1. the hub stops; 2. the call
        is answered; 3. the hub logs in; 4. the call ends; 5. the hub reads the channels, and the call is not among
        them. tests/test_recover_calls_from_cel.py
        """
        for report in reports:
            held = self._held.get(report.linkedid)
            may_miss_stages = self._in_a_gap or report.linkedid in self._interrupted
            if held is not None:
                held.reports.append(report)
            elif self._source and not self.trouble and _ends(report) and may_miss_stages:
                self._held[report.linkedid] = _HeldEnd([report], now.timestamp(), report.stages[-1].time.timestamp())
            else:
                yield report
        if self._source:
            self._followed.feed(message)

    def interrupt(self) -> None:
        """The connection has broken. Events may be missed until the next resync."""
        self._in_a_gap = True

    def close(self) -> None:
        """Nothing is read any more."""
        if self._source:
            self._source.close()

    def release_held(self) -> Iterator[CallReport]:
        """All held ends, at the end of the hub."""
        while self._held:
            yield from self._held.pop(next(iter(self._held))).reports

    def resync(self, live: ChannelList, reports: Sequence[CallReport]) -> Iterator[CallReport]:
        """The tracker's reports of a resync, except those of calls that have disappeared: CEL may have their true end.
        When it has not, poll() yields them."""
        self._followed.resync(live.channels)
        self._last_list, self._in_a_gap = live, False
        self._interrupted = frozenset(
            name for status in live.channels for name in (status.channel.linkedid, status.channel.uniqueid)
        )
        for report in reports:
            if self._source and report.ended_on is not None:
                self._inferred[report.linkedid] = _InferredEnd(report, live.taken_on.timestamp())
            else:
                yield report

    async def poll(self, now: datetime) -> AsyncIterator[CallReport]:
        """The reports that follow from the rows written since the last call. Call it every second while connected."""
        if not self._source:
            return
        moment = now.timestamp()
        while await self._read_on(moment):
            for report in self._release_due(moment):
                yield report
            for call in self._calls:
                if call.over:
                    for report in self._publish_ended(call, moment):
                        yield report
        for report in self._release_due(moment):
            yield report
        if not self._failing:
            for call in self._calls:
                for report in self._publish_ended(call, moment):
                    yield report
        for report in self._accept_inferred(moment):
            yield report

    async def poll_held(self, now: datetime) -> AsyncIterator[CallReport]:
        """The held ends whose rows have come. Call it while not connected: which calls live is not known then."""
        while self._held and await self._read_on(now.timestamp()):
            pass
        for report in self._release_due(now.timestamp()):
            yield report

    async def begin(self, now: datetime) -> None:
        """Finds where to start in CEL that was never read, if it can be read now. Call it before connecting."""
        if self._source:
            with suppress(CelUnreadableError):  # poll() tries again, and says so
                async with self._reading:
                    await self._find_start(self._source, now.timestamp())

    async def _find_start(self, source: CelSource, now: float) -> None:
        """Rows older than the hub's first look are not published."""
        if not self._read.number:
            newest = await asyncio.to_thread(source.last_place)
            self._read = newest or Place(BEFORE_ALL, f"{now:.6f}")

    async def _read_on(self, now: float) -> bool:
        """Reads the next rows, each once, however many read at a time. True when there may be more."""
        if self._source is None:
            return False
        async with self._reading:
            return await self._read_rows(self._source, now)

    async def _read_rows(self, source: CelSource, now: float) -> bool:
        try:
            await self._find_start(source, now)
            rows = await asyncio.to_thread(source.rows_after, self._read)
            if rows is None:
                self._begin_file()
                rows = await asyncio.to_thread(source.rows_after, self._read) or []
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
        """Starts at the first row: the file was replaced by another, or its rows were deleted."""
        log.info(
            "CEL file replaced or emptied; reading it from the start",
            source=self._name,
            read=self._read.number,
        )
        self._since = max(self._since, self._read.time - _OVERLAP)
        self._read = Place(BEFORE_ALL, self._read.mark.partition(" ")[0])
        self._calls.begin_file(self._read)

    def _release_due(self, now: float) -> Iterator[CallReport]:
        """The held ends whose rows are read or were waited for long enough, after the stages found in these rows."""
        for linkedid, held in list(self._held.items()):
            call = self._calls.of(linkedid)
            read = call.over if call is not None and held.over else self._newest >= held.at
            if self.trouble or read or now - held.since >= _ROWS_FIRST:
                del self._held[linkedid]
                by_cel = [] if call is None else self._reports(call)
                yield from (before for report in by_cel for before in _before_its_end(report))
                yield from (_corrected(report, by_cel) for report in held.reports)

    def _publish_ended(self, call: CelCall, now: float) -> Iterator[CallReport]:
        if self._followed.throughout(call.channels) or call.began < self._since:
            self._calls.drop(call)
            return
        if not self._held.keys().isdisjoint(call.keys):
            return
        end = self._end_of(call, now)
        if end is not None:
            self._calls.drop(call)
            reports = self._reports(call, *end)
            inferred = {one: self._inferred.pop(one, None) for one in {report.linkedid for report in reports}}
            for report in reports:
                live = inferred[report.linkedid]
                yield report if live is None else _reconciled(report, live.report)

    def _reports(
        self, call: CelCall, end: float | None = None, reason: Loss = "lost_while_disconnected"
    ) -> list[CallReport]:
        """The reports of the whole call, or without an end those of its rows so far."""
        try:
            if end is None:
                return reports_so_far(call, self._new_tracker())
            return reports_of(call, self._new_tracker(), end, reason)
        except Exception:  # one call that cannot be read must not stop the listener
            log.exception(
                "CEL rows of a call cannot be read; skipping the call",
                source=self._name,
                row=call.first,
            )
            return []

    def _end_of(self, call: CelCall, now: float) -> tuple[float, Loss] | None:
        """When and why the unfinished part of a call ended; None while it is too early to publish the call."""
        live, silent = self._last_list, now - call.touched
        if live is None:
            return None
        before = call.began <= live.taken_on.timestamp()
        lives = not self._followed.live.isdisjoint(call.channels)
        if call.over:
            return (call.last, "lost_while_disconnected") if silent >= _LIVE_FIRST or (before and not lives) else None
        if lives:
            return None
        if live.started_on is not None and call.last < live.started_on.timestamp():
            return live.started_on.timestamp(), "pbx_restarted"
        return (call.last, "lost_while_disconnected") if silent >= _LATEST else None

    def _accept_inferred(self, now: float) -> Iterator[CallReport]:
        """The inferred ends that CEL does not correct: its rows have been read up to the resync."""
        for linkedid, end in list(self._inferred.items()):
            quiet = not self._failing and now - max(self._touched, end.since) >= _QUIET
            if self._newest > end.since or quiet or now - end.since >= _LATEST:
                del self._inferred[linkedid]
                yield end.report


_OF_AN_ANSWER = (
    "disposition", "is_answered", "is_missed", "billsec", "answer_time", "ring_time", "waittime", "extension", "legs",
)  # fmt: skip

_OF_LEGS = ("disposition", "legs")


def _ends(report: CallReport) -> bool:
    return any(stage.name.endswith(".after") for stage in report.stages)


def _before_its_end(report: CallReport) -> Iterator[CallReport]:
    """The report of the stages before the end; none when there are no such stages."""
    stages = tuple(stage for stage in report.stages if not stage.name.endswith((".after", ".evaluation")))
    if stages:
        yield report._replace(stages=stages, ended_on=None, disposition="")


def _corrected(live: CallReport, by_cel: Sequence[CallReport]) -> CallReport:
    """The end as received live, completed with what only CEL has: an answer, or how the legs of the gap ended."""
    recorded = next((report for report in by_cel if _ends(report) and report.linkedid == live.linkedid), None)
    if recorded is None or live.answered_on is not None or live.disposition in OF_THE_DIALPLAN:
        return live
    if recorded.answered_on is not None:
        return _answered(live, recorded)
    return _completed(live, recorded, _OF_LEGS)


def _reconciled(report: CallReport, live: CallReport) -> CallReport:
    """The report of CEL or, where CEL has no stage that ends the call, the end as it was inferred from live events. An
    Asterisk that is killed has not written its last rows: CEL may have taken an outgoing call for an internal one."""
    if _ends(report):
        return _answered(report, live)
    return live if report.ended_on is not None and _ends(live) else report


def _answered(end: CallReport, other: CallReport) -> CallReport:
    """An end completed with the answer that only the other source has. CEL may lack it, too: an Asterisk that is killed
    writes no more rows. It is none if an employee had answered when the call was still internal, and nobody outside."""
    went_out = end.direction == "outgoing" != other.direction
    if end.answered_on is not None or other.answered_on is None or went_out:
        return end
    answered = end._replace(answered_on=other.answered_on, extension=other.extension)
    return _completed(answered, other, _OF_AN_ANSWER)


def _completed(end: CallReport, other: CallReport, names: Sequence[str]) -> CallReport:
    known = {name: other.values[name] for name in names if name in other.values}
    stages = tuple(stage._replace(values={**stage.values, **known}) for stage in end.stages)
    return end._replace(disposition=other.disposition, values={**end.values, **known}, stages=stages)
