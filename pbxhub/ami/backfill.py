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

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from pbxhub.ami.calls_begun_in_a_gap import CallsBegunInAGap
from pbxhub.ami.cel_file import CelSource
from pbxhub.ami.cel_reading import CelReading
from pbxhub.ami.channel_list import ChannelList, FollowedChannels
from pbxhub.calls.ami_events import Message
from pbxhub.calls.cel_calls import CelCall, Place
from pbxhub.calls.dispositions import OF_THE_DIALPLAN
from pbxhub.calls.resync import Loss
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker

_QUIET = 5.0  # seconds without a new row after which Asterisk has written everything
_LATEST = 60.0  # seconds to wait for a row at most
_LIVE_FIRST = 10.0  # seconds that the events of a call may arrive after its rows
_ROWS_FIRST = 2.0  # seconds to wait for the rows of a call that was in progress during a gap, before its end is told


@dataclass(frozen=True, slots=True)
class _InferredEnd:
    """The end of a call whose channels were missing from the channel list received at `since`, `at` by Asterisk's
    clock; no hangup was received."""

    report: CallReport
    since: float
    at: float


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
    """Compares one PBX's CEL with its live events. Without a source it does nothing."""

    def __init__(self, source: CelSource | None, cursor: Place, new_tracker: Callable[[], Tracker]) -> None:
        self._cel = CelReading(source, cursor)
        self._begun = CallsBegunInAGap(self._cel, new_tracker)
        self._new_tracker = new_tracker
        self._followed = FollowedChannels()
        self._last_list: ChannelList | None = None
        self._inferred: dict[str, _InferredEnd] = {}
        self._in_a_gap = True  # nothing is known yet of what happened since the last connection
        self._interrupted: frozenset[str] = frozenset()  # linkedids and channels of the calls at the last resync
        self._held: dict[str, _HeldEnd] = {}

    @property
    def reads(self) -> bool:
        """Whether there is CEL to read."""
        return self._cel.source is not None

    @property
    def trouble(self) -> str:
        """Why CEL cannot be read; "" while it can."""
        return self._cel.trouble

    @property
    def cursor(self) -> Place:
        """Where to continue after a restart: a call without a row after it is finished."""
        return self._cel.cursor

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
            elif self._cel.source and not self._cel.trouble and _ends(report) and may_miss_stages:
                self._held[report.linkedid] = _HeldEnd([report], now.timestamp(), report.stages[-1].time.timestamp())
            else:
                yield report
        if self._cel.source:
            self._followed.feed(message)

    def interrupt(self) -> None:
        """The connection has broken. Events may be missed until the next resync."""
        self._in_a_gap = True

    async def close(self) -> None:
        """Nothing is read from now on."""
        await self._begun.close()
        self._cel.close()

    def release_held(self) -> Iterator[CallReport]:
        """All held ends, at the end of the hub."""
        while self._held:
            yield from self._held.pop(next(iter(self._held))).reports

    async def take_up(self, live: ChannelList, tracker: Tracker, now: datetime) -> list[CallReport]:
        """The reports of the live calls that began in a gap, which the tracker continues. Call it before the resync."""
        return await self._begun.take_up(live, tracker, now.timestamp())

    def resync(self, live: ChannelList, reports: Sequence[CallReport], now: datetime) -> Iterator[CallReport]:
        """The tracker's reports of a resync, except those of calls that have disappeared: CEL may have their true end.
        When it has not, poll() yields them."""
        self._followed.resync(live.channels)
        self._last_list, self._in_a_gap = live, False
        self._interrupted = frozenset(
            name for status in live.channels for name in (status.channel.linkedid, status.channel.uniqueid)
        )
        for report in reports:
            if self._cel.source and report.ended_on is not None:
                self._inferred[report.linkedid] = _InferredEnd(report, now.timestamp(), live.taken_on.timestamp())
            else:
                yield report

    async def poll(self, now: datetime) -> AsyncIterator[CallReport]:
        """The reports that follow from the rows written since the last call. Call it every second while connected."""
        if not self._cel.source:
            return
        moment = now.timestamp()
        while await self._cel.read_on(moment):
            for report in self._release_due(moment):
                yield report
            for call in self._cel.calls:
                if call.over:
                    for report in self._publish_ended(call, moment):
                        yield report
        for report in self._release_due(moment):
            yield report
        if not self._cel.failing:
            for call in self._cel.calls:
                for report in self._publish_ended(call, moment):
                    yield report
        for report in self._accept_inferred(moment):
            yield report

    async def poll_held(self, now: datetime) -> AsyncIterator[CallReport]:
        """The held ends whose rows have come. Call it while not connected: which calls live is not known then."""
        while self._held and await self._cel.read_on(now.timestamp()):
            pass
        for report in self._release_due(now.timestamp()):
            yield report

    async def begin(self, now: datetime) -> None:
        """Finds where to start in CEL that was never read, if it can be read now. Call it before connecting."""
        await self._cel.begin(now.timestamp())

    def _release_due(self, now: float) -> Iterator[CallReport]:
        """The held ends whose rows are read or were waited for long enough, after the stages found in these rows."""
        for linkedid, held in list(self._held.items()):
            call = self._cel.calls.of(linkedid)
            read = call.over if call is not None and held.over else self._cel.newest >= held.at
            if self._cel.trouble or read or now - held.since >= _ROWS_FIRST:
                del self._held[linkedid]
                by_cel = [] if call is None else self._cel.reports(call, self._new_tracker())
                yield from (before for report in by_cel for before in _before_its_end(report))
                yield from (_corrected(report, by_cel) for report in held.reports)

    def _publish_ended(self, call: CelCall, now: float) -> Iterator[CallReport]:
        if self._followed.throughout(call.channels) or call.began < self._cel.since:
            self._cel.calls.drop(call)
            return
        if not self._held.keys().isdisjoint(call.keys):
            return
        end = self._end_of(call, now)
        if end is not None:
            self._cel.calls.drop(call)
            reports = self._cel.reports(call, self._new_tracker(), *end)
            inferred = {one: self._inferred.pop(one, None) for one in {report.linkedid for report in reports}}
            for report in reports:
                live = inferred[report.linkedid]
                yield report if live is None else _reconciled(report, live.report)

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
            quiet = not self._cel.failing and now - max(self._cel.touched, end.since) >= _QUIET
            if self._cel.newest > end.at or quiet or now - end.since >= _LATEST:
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
