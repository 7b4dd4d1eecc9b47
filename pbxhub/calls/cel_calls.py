"""Groups CEL rows into calls while Asterisk writes them, reading each row once, and derives the stages of a call."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from pbxhub.calls.cel import messages_of
from pbxhub.calls.cel_rows import CelRow, seconds_of
from pbxhub.calls.resync import Loss
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker
from pbxhub.calls.values import moment

BEFORE_ALL = -1
LONGEST_MARK = 400
MOST_ROWS = 200_000  # of unfinished calls: about 200 MB


@dataclass(frozen=True, slots=True)
class Place:
    """How far CEL has been read: the last row's number; BEFORE_ALL when there was none; 0 when it was never read.

    mark: the contents of that row, its time first; without a row, only the time. Empty when unknown.
    """

    number: int
    mark: str = ""

    @property
    def in_a_file(self) -> bool:
        """Whether it is the place of a row."""
        return self.number > 0

    @property
    def time(self) -> float:
        """Seconds since 1970; 0.0 when unknown."""
        return seconds_of(self.mark.partition(" ")[0])


@dataclass(slots=True, eq=False)
class CelCall:
    """The rows read so far of one call, or of several that have merged.

    first: the position of its first row among all rows read. before: the place before that row.
    touched: when its last row was read, in seconds by the reader's clock.
    began, last: times of its first and last row by Asterisk's clock. open: channels that have no HANGUP yet.
    """

    first: int
    before: Place
    began: float
    last: float = 0.0
    touched: float = 0.0
    rows: list[tuple[int, CelRow]] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)

    @property
    def over(self) -> bool:
        """Whether every channel has hung up."""
        return not self.open

    @property
    def begins(self) -> bool:
        """Whether the rows begin with the call: they have the start of the channel that names it, and of those that
        name the calls merged into it."""
        begun = {row.uniqueid for _, row in self.rows if row.eventtype == "CHAN_START"}
        return begun.issuperset(row.linkedid for _, row in self.rows)

    def when_live(self, answered: Mapping[str, bool]) -> "CelCall | None":
        """The call at the first moment when those of its channels that had no HANGUP were the live ones, and those of
        them that had an ANSWER the answered ones; without such a moment, when the first was so. None when it never was.

        answered: every live channel, and whether it is answered. The moment of the list is one of these moments, and
        may be the first: a colleague who was asked, for example, came and went before the list or after it.
        """
        listed = self.channels & answered.keys()
        up = {uniqueid for uniqueid in listed if answered[uniqueid]}
        first, without_hangup, with_answer = 0, set[str](), set[str]()
        for count, (_, row) in enumerate(self.rows, 1):
            _move(without_hangup, row)
            if row.eventtype == "ANSWER":
                with_answer.add(row.uniqueid)
            if without_hangup == listed:
                if with_answer & listed == up:
                    return replace(self, rows=self.rows[:count])
                first = first or count
        return replace(self, rows=self.rows[:first]) if first else None


class CelCalls:
    """The calls that are not finished, or have not been taken yet."""

    def __init__(self) -> None:
        self._calls: dict[CelCall, None] = {}
        self._by_key: dict[str, CelCall] = {}
        self._rows = 0
        self._read = 0

    def __iter__(self) -> Iterator[CelCall]:
        """Those that are there at its turn: rows that are read meanwhile may merge two of them."""
        return (call for call in list(self._calls) if call in self._calls)

    @property
    def before(self) -> Place | None:
        """The place before the first row of all these calls; None when there are none."""
        first = min(self._calls, key=lambda call: call.first, default=None)
        return None if first is None else first.before

    def of(self, key: str) -> CelCall | None:
        """The call that has this linkedid, uniqueid or channel name."""
        return self._by_key.get(key)

    def begin_file(self, before: Place) -> None:
        """The following rows are of another file, which may continue these calls."""
        for call in self._calls:
            call.before = before

    def add(self, before: Place, row: CelRow, now: float) -> None:
        """Adds the next row. before: the place before it.

        A row that names channels of two calls merges them: a transfer, a pickup or a merge. Asterisk uses channel names
        again after a restart; the name means the last channel that had it.
        """
        related = {self._by_key.get(key): None for key in (row.linkedid, row.uniqueid, *row.extra.values())}
        found = [call for call in related if call is not None]
        self._read += 1
        call = self._join(found) if found else CelCall(self._read, before, row.time)
        self._calls[call] = None
        _take(call, self._read, row, now)
        for key in {row.linkedid, row.uniqueid, row.channame} - {""}:
            call.keys.add(key)
            self._by_key[key] = call
        self._rows += 1
        while self._rows > MOST_ROWS and len(self._calls) > 1:
            self.drop(next(iter(self._calls)))

    def drop(self, call: CelCall) -> None:
        """Forgets a call that has been published or need not be."""
        del self._calls[call]
        self._rows -= len(call.rows)
        for key in call.keys:
            if self._by_key.get(key) is call:
                del self._by_key[key]

    def _join(self, related: list[CelCall]) -> CelCall:
        stays, *others = sorted(related, key=lambda call: call.first)
        for other in others:
            self._calls.pop(other)
            stays.rows = sorted(stays.rows + other.rows, key=lambda numbered: numbered[0])
            stays.channels |= other.channels
            stays.open |= other.open
            stays.keys |= other.keys
            for key in other.keys:
                if self._by_key.get(key) is other:
                    self._by_key[key] = stays
        return stays


def _take(call: CelCall, number: int, row: CelRow, now: float) -> None:
    call.rows.append((number, row))
    call.last, call.touched = max(call.last, row.time), now
    if row.uniqueid:
        call.channels.add(row.uniqueid)
    _move(call.open, row)


def _move(without_hangup: set[str], row: CelRow) -> None:
    if row.eventtype == "CHAN_START":
        without_hangup.add(row.uniqueid)
    elif row.eventtype in ("HANGUP", "CHAN_END"):
        without_hangup.discard(row.uniqueid)


def reports_of(call: CelCall, tracker: Tracker, end: float, reason: Loss) -> list[CallReport]:
    """All stages of a call and its end. A channel without HANGUP among the rows ends at `end` for this reason.

    tracker: a new one for each call. Returns nothing when the rows do not begin with the call.
    """
    return _told_by_cel([*_fed(tracker, call), *tracker.resync([], moment(end), reason)])


def reports_so_far(call: CelCall, tracker: Tracker) -> list[CallReport]:
    """The stages of a call in the rows read so far. tracker: a new one for each call."""
    return _told_by_cel(_fed(tracker, call))


def _fed(tracker: Tracker, call: CelCall) -> list[CallReport]:
    if not call.begins:
        return []
    messages = messages_of((row for _, row in call.rows), tracker.incoming_contexts)
    return [report for message in messages for report in tracker.feed(message)]


def _told_by_cel(reports: list[CallReport]) -> list[CallReport]:
    told = {f"{stage.name} {stage.key}": stage.time.timestamp() for report in reports for stage in report.stages}
    return [report._replace(memory=None, by_cel=told) for report in reports]
