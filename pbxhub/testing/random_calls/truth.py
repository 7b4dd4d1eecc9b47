"""The oracle: the stages that a played script must give, derived from what the phones saw and the script did, without
Asterisk's events.

The hub's rules apply: a destination rings once per hop; a transfer, diversion or park begins a hop; the destination
that it names does not ring again; a consultation is neither a ring nor a pickup until the transfer is completed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from pbxhub.testing.random_calls.cell import Cell, Moment

# The parameters of each stage that are compared, in the order of a line's values.
FIELDS = {
    "incoming.before": ("caller", "dst"),
    "incoming.forward": ("forward_kind", "forward_to", "forward_from"),
    "incoming.pickup": ("extension",),
    "incoming.after": ("disposition",),
    "outgoing.before": ("extension", "dst"),
    "outgoing.pickup": ("dst",),
    "outgoing.after": ("disposition",),
}
_ANSWER_IS_HEARD = 3.0  # seconds from answering a call to being heard
_FAREWELL = 2.5  # seconds between a transfer and the hang-up of whoever made it
_MOVES = ("blind", "complete", "park")
_REFUSED = {603: "DECLINE", 486: "BUSY", 503: "FAILED"}  # any other status, 302 included: NO ANSWER


@dataclass(frozen=True, slots=True)
class Line:
    """One stage: its name, and the values that distinguish it from others of that name."""

    stage: str
    what: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.stage, *self.what))


@dataclass(frozen=True, slots=True)
class Call:
    """One call with its stages in order.

    talk: seconds of conversation, for an answered call. hangup_by: caller, employee or pbx. asides: outside numbers
    that an employee consulted on a second line; these are outgoing calls of their own.
    """

    direction: str
    lines: tuple[Line, ...] = ()
    talk: float | None = None
    hangup_by: str = ""
    asides: frozenset[str] = frozenset()


def truth(cell: Cell) -> Call:
    """The call that the script began, as it must be reported."""
    log = sorted(cell.log, key=lambda moment: moment.time)
    caller = cell.number("c")
    asides = frozenset(_asked_outside(log))
    if any(moment.what == "placed" and moment.who == caller for moment in log):
        return replace(_Incoming(cell, log).call(), asides=asides)
    rung_outside = [moment for moment in log if moment.what == "rings" and moment.who.startswith("89")]
    return replace(_outgoing(cell, log, rung_outside[0]), asides=asides) if rung_outside else Call("internal")


def _asked_outside(log: Sequence[Moment]) -> Iterator[str]:
    """The outside numbers that were consulted."""
    asking = False
    for moment in log:
        asking = (asking or moment.what == "consult") and moment.what not in ("complete", "abort")
        number = moment.to if moment.what == "placed" else moment.who
        if asking and moment.what in ("placed", "rings") and number.startswith("89"):
            yield number


@dataclass(slots=True)
class _Incoming:
    cell: Cell
    log: Sequence[Moment]
    lines: list[Line] = field(default_factory=list)
    rung: set[str] = field(default_factory=set)  # in this hop
    consulted: set[int] = field(default_factory=set)  # legs
    consulting: bool = False
    awaited: int = 0  # the leg of a consultation that was completed while it rang
    picked_up: float = 0.0
    party: Moment | None = None  # the pickup of whoever talks to the caller
    outcomes: dict[int, str] = field(default_factory=dict)

    def call(self) -> Call:
        for moment in self.log:
            self._see(moment)
        caller = next(leg for leg in self.cell.legs if leg.number == self.cell.number("c"))
        answered = "ANSWERED" if self.picked_up else _disposition(self.outcomes)
        self.lines.append(Line("incoming.after", (answered,)))
        talk = None
        if self.party is not None:  # a talk of half a second may be too short to be heard: it lasted until its pickup
            ends = (caller.voice.heard_until, self.party.time, *_sent_on(self.log, self.party.time))
            talk = max(ends) - self.picked_up
        return Call("incoming", tuple(self.lines), talk, self._hung_up_by(id(caller)))

    def _see(self, moment: Moment) -> None:
        if moment.what == "placed" and moment.who == self.cell.number("c"):
            self.lines.append(Line("incoming.before", (moment.who, moment.to)))
        elif moment.what == "rings":
            self._rings(moment)
        elif moment.what in ("refused", "stopped"):
            self._not_taken(moment)
        elif moment.what == "answered":
            self._answered(moment)
        else:
            self._done(moment)

    def _rings(self, moment: Moment) -> None:
        if self.consulting:
            self.consulted.add(moment.leg)
            return
        if moment.who not in self.rung:
            self.rung.add(moment.who)
            self.lines.append(Line("incoming.forward", ("ring", moment.who)))

    def _not_taken(self, moment: Moment) -> None:
        if moment.leg in self.consulted:
            return
        self.outcomes[moment.leg] = _outcome(moment)
        if moment.status == 302:
            self._hop("diversion", moment.to, moment.who)

    def _answered(self, moment: Moment) -> None:
        if moment.leg in self.consulted and moment.leg != self.awaited:
            return
        if self._caller_hears(moment):
            self._picks_up(moment.who, moment.time, moment.leg)

    def _done(self, moment: Moment) -> None:
        if moment.what == "consult":
            self.consulting = True
        elif moment.what == "abort":
            self.consulting = False
        elif moment.what == "complete":
            self._completed(moment)
        elif moment.what in ("blind", "park"):
            self._hop("blind_transfer" if moment.what == "blind" else "park", moment.to, moment.who)
        elif moment.what in ("retrieve", "pickup"):
            self._picks_up(moment.who, moment.time, self._connected(moment.who))

    def _completed(self, moment: Moment) -> None:
        self.consulting = False
        self._hop("attended_transfer", moment.to, moment.who)
        taken = [seen for seen in self.log if seen.what == "answered" and seen.leg in self.consulted]
        before = [seen for seen in taken if seen.time <= moment.time and seen.who == moment.to]
        if before:
            self._picks_up(moment.to, moment.time, before[-1].leg)
        else:
            self.awaited = next((seen.leg for seen in taken if seen.time > moment.time), 0)

    def _hop(self, kind: str, to: str, source: str) -> None:
        self.rung = {to}
        self.lines.append(Line("incoming.forward", (kind, to, source)))

    def _picks_up(self, who: str, when: float, leg: int) -> None:
        self.picked_up, self.party = self.picked_up or when, Moment(when, "answered", who, leg=leg)
        self.lines.append(Line("incoming.pickup", (who,)))

    def _caller_hears(self, moment: Moment) -> bool:
        caller = next(leg for leg in self.cell.legs if leg.number == self.cell.number("c"))
        spans = [heard for heard in caller.voice.heard if heard.number == moment.who]
        return any(span.until > moment.time and span.since < moment.time + _ANSWER_IS_HEARD for span in spans)

    def _connected(self, who: str) -> int:
        return next((seen.leg for seen in reversed(self.log) if seen.what == "connected" and seen.who == who), 0)

    def _hung_up_by(self, caller: int) -> str:
        ends = {seen.leg: seen for seen in self.log if seen.what in ("left", "released", "failed")}
        if caller not in ends or ends[caller].what == "left":
            return "caller"
        party = self.party
        if party is None or party.leg not in ends or ends[party.leg].what != "left":
            return "pbx"
        moved = any(seen.what in _MOVES and seen.who == party.who for seen in self._after_pickup())
        return "pbx" if moved else "employee"

    def _after_pickup(self) -> Iterator[Moment]:
        return (seen for seen in self.log if self.party is not None and seen.time > self.party.time)


def _outgoing(cell: Cell, log: Sequence[Moment], first: Moment) -> Call:
    """The stages of an outgoing call. Transfers and other events inside the company are none."""
    number = first.who
    outside = [seen for seen in log if seen.who == number]
    answered = next((seen for seen in outside if seen.what == "answered"), None)
    began = log[0]
    who = began.who if began.what in ("placed", "rings") else ""
    lines = [Line("outgoing.before", (who, number))]
    talk = None
    if answered is not None:
        lines.append(Line("outgoing.pickup", (number,)))
        ear = next(leg for leg in cell.legs if id(leg) == answered.leg)
        talk = max(answered.time, ear.voice.heard_until, *_sent_on(log, answered.time)) - answered.time
    outcomes = {seen.leg: _outcome(seen) for seen in outside if seen.what in ("refused", "stopped")}
    lines.append(Line("outgoing.after", ("ANSWERED" if answered else _disposition(outcomes),)))
    return Call("outgoing", tuple(lines), talk, _outgoing_hung_up_by(log, answered))


def _sent_on(log: Sequence[Moment], since: float) -> Iterator[float]:
    """When the PBX released whoever transferred the other side: while they dialled a feature code, it was on hold."""
    for move in (seen for seen in log if seen.what == "blind" and seen.time > since):
        ends = (seen for seen in log if seen.what in ("left", "released") and seen.who == move.who)
        end = next((seen for seen in ends if seen.time >= move.time), None)
        if end is not None and end.what == "released":
            yield end.time


def _outgoing_hung_up_by(log: Sequence[Moment], answered: Moment | None) -> str:
    """Who hung up when the outside party, or an unanswered call, was released."""
    ends = [seen for seen in log if seen.what in ("left", "released", "failed")]
    last = next((seen for seen in ends if answered and seen.leg == answered.leg), ends[-1] if ends else None)
    if last is None:
        return "pbx"
    moves = [seen for seen in log if seen.what in _MOVES]
    left = [seen for seen in ends if seen.what == "left" and last.time - 1 < seen.time <= last.time]
    if answered:  # somebody may have given up dialling at that moment
        talked = {seen.leg for seen in log if seen.what in ("answered", "connected")}
        left = [seen for seen in left if seen.leg in talked]
    began = {seen.leg: seen.time for seen in reversed(log)}
    left = [seen for seen in left if not any(_goes_on(seen, move, began[seen.leg]) for move in moves)]
    if not left:
        return "pbx"
    return "caller" if left[-1].who.startswith("89") else "employee"


def _goes_on(left: Moment, move: Moment, began: float) -> bool:
    """Whether the call went on after somebody hung up: they gave up a consultation before they transferred the other
    side, or hung up because they had. began: when the call that they left had begun."""
    given_up = left.time < move.time
    return given_up or (left.who == move.who and began < move.time and left.time < move.time + _FAREWELL)


def _outcome(moment: Moment) -> str:
    return _REFUSED.get(moment.status, "NO ANSWER") if moment.what == "refused" else "NO ANSWER"


def _disposition(outcomes: dict[int, str]) -> str:
    """The disposition of an unanswered call."""
    came_to = set(outcomes.values())
    if not came_to:
        return "NO-FORWARD"
    if "DECLINE" in came_to:
        return "DECLINE"
    if came_to == {"BUSY"}:
        return "BUSY"
    return "NO ANSWER" if "NO ANSWER" in came_to else "FAILED"
