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
connection is lost again. A call that began during a gap and goes on is continued from its rows: the channels that are
left do not show who began it, which way it goes, or whom it rang before.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import structlog

from pbxhub.ami.cel_file import CelUnreadableError
from pbxhub.ami.cel_table import CelSource
from pbxhub.ami.channel_list import ChannelList, FollowedChannels
from pbxhub.calls.ami_events import Message, Status
from pbxhub.calls.cel_calls import BEFORE_ALL, CelCall, CelCalls, Place, reports_of, reports_so_far
from pbxhub.calls.dispositions import OF_THE_DIALPLAN
from pbxhub.calls.resync import Loss
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker

log = structlog.get_logger(__name__)
_OVERLAP = 5.0  # seconds before the last row of the previous file: calls that began earlier are finished
_QUIET = 5.0  # seconds without a new row after which Asterisk has written everything
_LATEST = 60.0  # seconds to wait for a row at most
_LIVE_FIRST = 10.0  # seconds that the events of a call may arrive after its rows
_ROWS_FIRST = 2.0  # seconds to wait for the rows of a call that was in progress during a gap, before its end is told
_BETWEEN = 0.1  # seconds between two looks for the rows of a call that began in a gap


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
        self._followed = FollowedChannels()
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

    async def take_up(self, live: ChannelList, tracker: Tracker, now: datetime) -> list[CallReport]:
        """Lets the tracker continue the live calls that it does not know as if it had followed their beginning, and
        returns the reports of these. Call it before the resync. Waits up to two seconds for their rows.

        1. The hub is stopped; 2. an employee calls somebody outside and transfers them to somebody else outside; 3. the
        hub reads the channels: two trunks are all that is left.
        """
        unknown = tracker.unknown(live.channels)
        if self._source is None or not unknown:
            return []
        begun: dict[CelCall, CelCall] = {}
        reading = asyncio.create_task(self._read_beginnings(live, unknown, begun, now.timestamp()))
        try:
            await asyncio.wait({reading}, timeout=_ROWS_FIRST)  # one reading of a table far away may take longer
        except asyncio.CancelledError:
            reading.cancel()
            raise
        return [report for call in begun.values() for report in self._continue(call, tracker)]

    async def _read_beginnings(
        self, live: ChannelList, unknown: Sequence[Status], begun: dict[CelCall, CelCall], now: float
    ) -> None:
        """Reads until the rows have these channels as the list has them. begun: receives each of their calls as it was
        then, at the first reading that has it.

        Rows after the channels became those of the list may be newer than the list, those of a later reading are. What
        these tell comes as events, too, and would ring the same phone a second time; what is older is told at the end.
        Where the channels never were those of the list, the list alone counts. tests/test_hear_a_call_with_a_gap.py
        """
        ends = time.monotonic() + _ROWS_FIRST
        while time.monotonic() < ends:
            more = await self._read_on(now)
            for status in unknown:
                call = self._calls.of(status.channel.uniqueid)
                if call is not None and call not in begun and (listed := call.when_open(live.uniqueids)) is not None:
                    begun[call] = listed
            if self._failing or not (more or any(self._is_to_come(live, status, begun) for status in unknown)):
                break
            await asyncio.sleep(0 if more else _BETWEEN)

    def _is_to_come(self, live: ChannelList, status: Status, begun: Container[CelCall]) -> bool:
        """Whether rows about a channel are older than the list, but newer than the last row read."""
        call, taken_on = self._calls.of(status.channel.uniqueid), live.taken_on.timestamp()
        if call is None:
            return taken_on - status.seconds >= self._read.time
        return taken_on >= self._read.time and call not in begun

    def _continue(self, call: CelCall, tracker: Tracker) -> Iterator[CallReport]:
        """The reports of a call with channels that are all unknown to the tracker, which continues it from here."""
        if tracker.knows(call.keys):
            return
        follower = self._new_tracker()
        yield from self._reports(call, follower)
        tracker.restore(follower.all_notes())

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
                by_cel = [] if call is None else self._reports(call, self._new_tracker())
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
            reports = self._reports(call, self._new_tracker(), *end)
            inferred = {one: self._inferred.pop(one, None) for one in {report.linkedid for report in reports}}
            for report in reports:
                live = inferred[report.linkedid]
                yield report if live is None else _reconciled(report, live.report)

    def _reports(
        self, call: CelCall, tracker: Tracker, end: float | None = None, reason: Loss = "lost_while_disconnected"
    ) -> list[CallReport]:
        """The reports of the whole call, or without an end those of its rows so far. tracker: a new one."""
        try:
            if end is None:
                return reports_so_far(call, tracker)
            return reports_of(call, tracker, end, reason)
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
