"""Turns CEL rows into the messages that AMI would have sent, so that a call during a gap still gets its stages.

CEL has no dial events. A channel that starts under another channel's linkedid is a leg: dialled by the caller, or a
consultation when the caller is already talking. The number that an outside leg was dialled for is in APP_START of Dial,
or in the application Dial of a row written while the leg exists; the number that the leg itself shows may be the
caller's or the DID. A first channel with the application AppDial2 was rung by Asterisk itself (Originate). APP_START
and APP_END of Queue tell in which queue the caller waits. Marks and dispositions are in rows of CELGenUserEvent. CEL
does not have holds, the start of an evaluation, and parking slots from which nobody was retrieved.

Feed the messages to a tracker of their own: stages already reported have the same keys. Rows: cel_sqlite3_custom with
the columns of CelRow; at least CHAN_START, ANSWER, HANGUP, BLINDTRANSFER, ATTENDEDTRANSFER, FORWARD, PICKUP,
PARK_START, PARK_END and USER_DEFINED; better the events of asterisk-conf/cel.conf.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from pbxhub.calls.ami_events import (
    AttendedTransfer,
    BlindTransfer,
    Bridge,
    DialBegin,
    DialEnd,
    Hangup,
    HangupRequest,
    Message,
    Newchannel,
    ParkedCall,
    Party,
    Pickup,
    QueueCaller,
    UnParkedCall,
    UserEvent,
)
from pbxhub.calls.ami_headers import NO_VARIABLES, YEAR_2100, clean, whole
from pbxhub.calls.incoming_contexts import IncomingContexts
from pbxhub.calls.phone_numbers import dialled_number

_REDIRECTED = 23
_TOGETHER = 0.5  # seconds: the caller hangs up, and so do the legs that rang for the caller
_TRANSFER_LATE = 0.1  # seconds that the legs of a transfer may begin before its row; nobody is so quick by hand
_ORIGINATED = "AppDial2"
_NUMBER = re.compile(r"[+*#]?\d{2,}")


@dataclass(frozen=True, slots=True)
class CelRow:
    """One row, every column as text under its own name."""

    eventtype: str
    eventtime: str
    cidname: str
    cidnum: str
    ciddnid: str
    exten: str
    context: str
    channame: str
    appname: str
    appdata: str
    uniqueid: str
    linkedid: str
    peer: str
    userfield: str
    userdeftype: str
    eventextra: str

    @property
    def extra(self) -> Mapping[str, str]:
        """eventextra is a JSON object; anything else counts as empty."""
        try:
            found = json.loads(self.eventextra)
        except ValueError:
            return {}
        return {name: clean(str(value)) for name, value in found.items()} if isinstance(found, dict) else {}

    @property
    def time(self) -> float:
        """Seconds since 1970; 0.0 when unreadable. A text (dateformat in cel.conf) is read as UTC."""
        return seconds_of(self.eventtime)


def seconds_of(eventtime: str) -> float:
    """A CEL time, number or text, as seconds since 1970; 0.0 when unreadable."""
    try:
        time = float(eventtime)
    except ValueError:
        time = _time_of_text(eventtime)
    return time if 0.0 < time < YEAR_2100 else 0.0


def _time_of_text(text: str) -> float:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


_COLUMNS = tuple(field.name for field in fields(CelRow))


def read_row(columns: Mapping[str, object]) -> CelRow:
    """Reads a row of the database; missing columns are empty. eventextra is not shortened, because it is JSON."""
    texts = {name: "" if columns.get(name) is None else str(columns[name]) for name in _COLUMNS}
    return CelRow(**{name: text if name == "eventextra" else clean(text) for name, text in texts.items()})


def messages_of(rows: Iterable[CelRow], incoming_contexts: Collection[str]) -> Iterator[Message]:
    """The messages behind rows, which must be whole calls in the order they were written (AcctId): it looks ahead."""
    whole_calls = _in_order(rows)
    lines = _Lines(whole_calls, incoming_contexts)
    for row in whole_calls:
        translate = _TRANSLATIONS.get(row.userdeftype or row.eventtype)
        if translate is not None and row.uniqueid and row.channame:
            yield from translate(lines, row)


def _in_order(rows: Iterable[CelRow]) -> list[CelRow]:
    """A transfer before the legs that it dials. 1. A colleague transfers the caller; 2. the caller goes on in the
    dialplan, which begins to dial; 3. Asterisk writes BLINDTRANSFER, up to 2 ms late on a busy machine."""
    ordered: list[CelRow] = []
    for row in rows:
        at = len(ordered)
        while row.eventtype == "BLINDTRANSFER" and at and _follows(ordered[at - 1], row):
            at -= 1
        ordered.insert(at, row)
    return ordered


def _follows(row: CelRow, transfer: CelRow) -> bool:
    return row.eventtype in ("CHAN_START", "APP_START") and transfer.time - row.time < _TRANSFER_LATE


class _Lines:
    """What one row does not say about channels.

    started: the first row of each channel. slots: the parking slot a channel dialled; retrievers: who took a parked
    channel back. legs: channels dialled and not hung up, by linkedid.
    sent_on: where the last blind transfer sent a call, by linkedid. queues: where a caller waits, by linkedid.
    party: uniqueid of the channel that the first channel of a linkedid talks to. rung: channels Asterisk itself rang.
    dialled: the number that Dial gave to a leg's endpoint. announced: what a Dial that has begun will dial, by
    linkedid and endpoint.
    """

    def __init__(self, rows: Sequence[CelRow], incoming_contexts: Collection[str]) -> None:
        self._incoming_contexts = IncomingContexts(incoming_contexts)
        self._open: dict[str, CelRow] = {}
        self.dialled: dict[str, str] = {}
        self._announced: dict[tuple[str, str], str] = {}
        self.started: dict[str, CelRow] = {}
        self.names: dict[str, str] = {}
        self.numbers: dict[str, str] = {}
        self.causes: dict[str, int] = {}
        self.slots: dict[str, str] = {}
        self.retrievers: dict[str, str] = {}
        self.linkedids: dict[str, str] = {}
        self.legs: dict[str, list[str]] = {}
        self.party: dict[str, str] = {}
        self.rung: set[str] = set()
        self.sent_on: dict[str, str] = {}
        self.queues: dict[str, str] = {}
        self.left: dict[str, float] = {}  # when the first channel of a linkedid hung up, if it did so by itself
        for row in rows:
            self._look_ahead(row)

    def _look_ahead(self, row: CelRow) -> None:
        self._note_dialled(row)
        self.started.setdefault(row.uniqueid, row)
        self.names.setdefault(row.channame, row.uniqueid)
        if row.cidnum:
            self.numbers[row.uniqueid] = row.cidnum
        if row.eventtype == "HANGUP":
            self.causes[row.uniqueid] = whole(row.extra.get("hangupcause", ""))
            if row.uniqueid == row.linkedid and row.extra.get("hangupsource") == row.channame:
                self.left[row.linkedid] = row.time
        if row.eventtype == "PARK_END":
            self.retrievers[row.uniqueid] = row.extra.get("retriever", "")
        if row.appname == _ORIGINATED and row.uniqueid == row.linkedid and not row.channame.startswith("Local/"):
            self.rung.add(row.uniqueid)
        if row.appname == "ParkedCall":
            self.slots[row.channame] = row.appdata.rpartition(",")[2]

    def _note_dialled(self, row: CelRow) -> None:
        """APP_START of Dial comes before the legs that it dials. Without that row (an operator's own cel.conf), a later
        row of the dialler has the number if it was written while Dial ran; often there is none."""
        if row.eventtype == "CHAN_START" and row.uniqueid != row.linkedid:
            self._open[row.uniqueid] = row
            number = self._announced.pop((row.linkedid, _endpoint(row)), "")
            if number:
                self.dialled[row.uniqueid] = number
        elif row.eventtype == "HANGUP":
            self._open.pop(row.uniqueid, None)
        if row.appname == "Dial" and row.eventtype != "APP_END":
            for endpoint, number in _destinations(row.appdata):
                if row.eventtype == "APP_START":
                    self._announced[row.linkedid, endpoint] = number
                else:
                    self._note_leg(row.linkedid, endpoint, number)

    def _note_leg(self, linkedid: str, endpoint: str, number: str) -> None:
        legs = (leg for leg in self._open.values() if leg.linkedid == linkedid and _endpoint(leg) == endpoint)
        leg = next((leg for leg in legs if leg.uniqueid not in self.dialled), None)
        if leg is not None:
            self.dialled[leg.uniqueid] = number

    def whom(self, row: CelRow) -> str:
        """The number that a leg was dialled for; empty when unknown.

        A Dial in a Gosub (FreePBX) gives its leg the exten and number "s". Then it is the number that the first channel
        dialled or was transferred to; for an ordered call no row has it.
        """
        number = self.dialled.get(row.uniqueid) or self._own(row, self.numbers.get(row.uniqueid, ""))
        return self._dialled_first(row) if number in ("", "s") else number

    def _dialled_first(self, leg: CelRow) -> str:
        first = self.started.get(leg.linkedid, leg)
        from_inside = first.context not in self._incoming_contexts and not first.channame.startswith("Local/")
        number = self.sent_on.get(leg.linkedid) or (first.exten if leg.linkedid not in self.party else "")
        return number if first is not leg and from_inside and _NUMBER.fullmatch(number) else ""

    def _own(self, begun: CelRow, number: str) -> str:
        """The number that a channel shows; empty when an outside leg shows somebody else's number."""
        first = self.started.get(begun.linkedid, begun)
        both_outside = begun.context in self._incoming_contexts and first.context in self._incoming_contexts
        return "" if first is not begun and both_outside and number in (first.cidnum, first.exten) else number

    def channel(self, uniqueid: str, name: str = "") -> Party:
        """The channel with its first context, which says whether it leads outside."""
        begun = self.started.get(uniqueid)
        if begun is None:
            return Party(uniqueid or name, uniqueid, name, "", "")
        linkedid = self.linkedids.get(uniqueid, begun.linkedid)
        return Party(uniqueid, linkedid, begun.channame, begun.context, self._own(begun, begun.cidnum))

    def named(self, name: str) -> Party:
        return self.channel(self.names.get(name, ""), name)

    def number(self, uniqueid: str, name: str) -> str:
        """The number that a channel leads to: its own, or the one that a Local channel dials."""
        local = name.startswith("Local/")
        return dialled_number(name) if local else self.started[uniqueid].cidnum if uniqueid in self.started else ""


def _destinations(appdata: str) -> Iterator[tuple[str, str]]:
    """PJSIP/101&PJSIP/15551234@trunk,20 -> the endpoints and numbers that are dialled through one."""
    for destination in appdata.partition(",")[0].split("&"):
        technology, _, called = destination.partition("/")
        _, at, host = called.partition("@")
        endpoint, slash, _ = called.partition("/")
        if number := dialled_number(called) if technology != "Local" and (at or slash) else "":
            yield f"{technology}/{endpoint.rpartition('@')[2] if slash else host}", number


def _endpoint(leg: CelRow) -> str:
    """PJSIP/trunk-0000002a -> PJSIP/trunk"""
    return leg.channame.rpartition("-")[0]


def _started(lines: _Lines, row: CelRow) -> Iterator[Message]:
    lines.linkedids[row.uniqueid] = row.linkedid
    own, local = row.uniqueid == row.linkedid, row.channame.startswith("Local/")
    party, rung = lines.channel(row.uniqueid), row.uniqueid in lines.rung
    state = "Ring" if own and not local and not rung else "Down"
    yield Newchannel(row.time, party, state, row.exten, row.cidname, NO_VARIABLES)
    if rung:
        yield DialBegin(row.time, "", row.linkedid, "", party, "")
    if not own and not local:
        dialler = lines.party.get(row.linkedid, row.linkedid)
        lines.legs.setdefault(row.linkedid, []).append(row.uniqueid)
        yield DialBegin(row.time, dialler, row.linkedid, lines.numbers.get(dialler, ""), party, lines.whom(row))


def _answered(lines: _Lines, row: CelRow) -> Iterator[Message]:
    if row.uniqueid in lines.rung:
        yield DialEnd(row.time, "", row.linkedid, lines.channel(row.uniqueid), "ANSWER", "")
    if row.uniqueid not in lines.legs.get(row.linkedid, ()):
        return
    dialler = lines.party.get(row.linkedid, row.linkedid)
    first = lines.started.get(row.linkedid)
    if dialler == row.linkedid and first is not None and not first.channame.startswith("Local/"):
        lines.party[row.linkedid] = row.uniqueid
    if dialler == row.linkedid:
        lines.queues.pop(row.linkedid, None)
    yield DialEnd(row.time, dialler, row.linkedid, lines.channel(row.uniqueid), "ANSWER", "")


def _application_began(lines: _Lines, row: CelRow) -> Iterator[Message]:
    if row.appname == "Queue" and row.uniqueid == row.linkedid:
        queue = lines.queues[row.linkedid] = row.appdata.partition(",")[0]
        yield QueueCaller(row.time, row.uniqueid, row.linkedid, queue, "joined")


def _application_ended(lines: _Lines, row: CelRow) -> Iterator[Message]:
    """The caller has left the queue: answered, sent on by the dialplan, or by hanging up. Asterisk writes 1. APP_END;
    2. HANGUP of the caller, at once if the caller hung up."""
    queue = lines.queues.pop(row.linkedid, "") if row.appname == "Queue" else ""
    if queue and abs(lines.left.get(row.linkedid, 0.0) - row.time) < _TOGETHER:
        yield QueueCaller(row.time, row.uniqueid, row.linkedid, queue, "abandoned")


def _hung_up(lines: _Lines, row: CelRow) -> Iterator[Message]:
    extra = row.extra
    source = lines.names.get(extra.get("hangupsource", ""))
    if source is not None:
        yield HangupRequest(row.time, source, lines.linkedids.get(source, source))
    for dialler, legs in lines.legs.items():
        if row.uniqueid in legs:
            legs.remove(row.uniqueid)
            yield from _given_up(lines, row, dialler, source)
    if lines.party.get(row.linkedid) == row.uniqueid:
        del lines.party[row.linkedid]
    yield Hangup(row.time, row.uniqueid, row.linkedid, whole(extra.get("hangupcause", "")), "", NO_VARIABLES)


def _given_up(lines: _Lines, row: CelRow, linkedid: str, source: str | None) -> Iterator[Message]:
    """A leg that has hung up, but not by itself, while it rang: its cause is that of whoever gave up, 17 or 34 after a
    trunk or a colleague who was dialled before. chan_sip names no source of a hangup when a leg refuses: the caller's
    own hangup at that moment tells. One that was answered has had its DialEnd."""
    if source != row.uniqueid and abs(lines.left.get(linkedid, 0.0) - row.time) < _TOGETHER:
        yield DialEnd(row.time, linkedid, linkedid, lines.channel(row.uniqueid), "CANCEL", "")


def _moved(lines: _Lines, row: CelRow) -> Iterator[Message]:
    lines.linkedids[row.uniqueid] = row.linkedid
    yield Bridge(row.time, row.uniqueid, row.linkedid, NO_VARIABLES)


def _blind(lines: _Lines, row: CelRow) -> Iterator[Message]:
    lines.party.pop(row.linkedid, None)
    lines.sent_on[row.linkedid] = row.extra.get("extension", "")
    transferee = lines.named(row.extra.get("transferee_channel_name", ""))
    yield BlindTransfer(row.time, lines.channel(row.uniqueid), transferee, row.extra.get("extension", ""))


def _attended(lines: _Lines, row: CelRow) -> Iterator[Message]:
    extra = row.extra
    second = lines.channel(extra.get("channel2_uniqueid", ""), extra.get("channel2_name", ""))
    target, name = extra.get("transfer_target_channel_uniqueid", ""), extra.get("transfer_target_channel_name", "")
    if target not in lines.started:  # "N/A"
        target = next(reversed(lines.legs.get(second.linkedid, [])), "")
        name = lines.channel(target).name
    transferee = lines.named(extra.get("transferee_channel_name", ""))
    lines.party[row.linkedid] = target
    yield AttendedTransfer(
        row.time, lines.channel(row.uniqueid), transferee.number, second, lines.number(target, name), target, not target
    )


def _forwarded(lines: _Lines, row: CelRow) -> Iterator[Message]:
    legs = lines.legs.get(row.linkedid, [])
    diverted = [leg for leg in legs if lines.causes.get(leg) == _REDIRECTED] or legs[-1:]
    if diverted:
        leg = lines.channel(diverted[0])
        yield DialEnd(row.time, row.linkedid, row.linkedid, leg, "CANCEL", row.extra.get("forward", ""))


def _picked_up(lines: _Lines, row: CelRow) -> Iterator[Message]:
    taker = lines.channel(row.extra.get("pickup_channel_uniqueid", ""), row.extra.get("pickup_channel", ""))
    lines.party[row.linkedid] = taker.uniqueid
    yield Pickup(row.time, taker, lines.channel(row.uniqueid))
    yield DialEnd(row.time, row.linkedid, row.linkedid, taker, "ANSWER", "")


def _parked(lines: _Lines, row: CelRow) -> Iterator[Message]:
    lines.party.pop(row.linkedid, None)
    slot = lines.slots.get(lines.retrievers.get(row.uniqueid, ""), "")
    yield ParkedCall(row.time, lines.channel(row.uniqueid), slot)


def _unparked(lines: _Lines, row: CelRow) -> Iterator[Message]:
    retriever = lines.named(row.extra.get("retriever", ""))
    if row.extra.get("reason") == "ParkedCallUnparked" and retriever.linkedid:
        lines.party[row.linkedid] = retriever.uniqueid
        yield UnParkedCall(row.time, lines.channel(row.uniqueid), retriever)


def _said(row: CelRow) -> str:
    """The second argument of CELGenUserEvent."""
    return row.extra.get("extra") or row.eventextra


def _disposed(_: _Lines, row: CelRow) -> Iterator[Message]:
    yield UserEvent(row.time, row.uniqueid, row.linkedid, "PBXHubDisposition", {"Disposition": _said(row)})


def _marked(_: _Lines, row: CelRow) -> Iterator[Message]:
    """A mark: CELGenUserEvent(PBXHubEvaluation,5) or (EVALUATION,score=5) of the dialplan, after the menu has begun."""
    mark = _said(row).rpartition("=")[2]
    yield UserEvent(row.time, row.uniqueid, row.linkedid, "PBXHubEvaluationStart", {})
    yield UserEvent(row.time, row.uniqueid, row.linkedid, "PBXHubEvaluation", {"Mark": mark})


_TRANSLATIONS: Mapping[str, Callable[[_Lines, CelRow], Iterator[Message]]] = {
    "CHAN_START": _started,
    "APP_START": _application_began,
    "APP_END": _application_ended,
    "ANSWER": _answered,
    "HANGUP": _hung_up,
    "BRIDGE_ENTER": _moved,
    "BRIDGE_EXIT": _moved,
    "BLINDTRANSFER": _blind,
    "ATTENDEDTRANSFER": _attended,
    "FORWARD": _forwarded,
    "PICKUP": _picked_up,
    "PARK_START": _parked,
    "PARK_END": _unparked,
    "EVALUATION": _marked,
    "PBXHubEvaluation": _marked,
    "PBXHubDisposition": _disposed,
}
