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

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

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
    Pickup,
    QueueCaller,
    UnParkedCall,
    UserEvent,
)
from pbxhub.calls.ami_headers import NO_VARIABLES, whole
from pbxhub.calls.cel_channels import CelChannels
from pbxhub.calls.cel_rows import CelRow

_REDIRECTED = 23
_TOGETHER = 0.5  # seconds: the caller hangs up, and so do the legs that rang for the caller
_TRANSFER_LATE = 0.1  # seconds that the legs of a transfer may begin before its row; nobody is so quick by hand


def messages_of(rows: Iterable[CelRow], incoming_contexts: Collection[str]) -> Iterator[Message]:
    """The messages behind rows, which must be whole calls in the order they were written (AcctId): it looks ahead."""
    whole_calls = _in_order(rows)
    channels = CelChannels(whole_calls, incoming_contexts)
    for row in whole_calls:
        translate = _TRANSLATIONS.get(row.userdeftype or row.eventtype)
        if translate is not None and row.uniqueid and row.channame:
            yield from translate(channels, row)


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


def _started(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    channels.linkedids[row.uniqueid] = row.linkedid
    own, local = row.uniqueid == row.linkedid, row.channame.startswith("Local/")
    party, rung = channels.channel(row.uniqueid), row.uniqueid in channels.rung
    state = "Ring" if own and not local and not rung else "Down"
    yield Newchannel(row.time, party, state, row.exten, row.cidname, NO_VARIABLES)
    if rung:
        yield DialBegin(row.time, "", row.linkedid, "", party, "")
    if not own and not local:
        dialler = channels.party.get(row.linkedid, row.linkedid)
        channels.legs.setdefault(row.linkedid, []).append(row.uniqueid)
        yield DialBegin(row.time, dialler, row.linkedid, channels.numbers.get(dialler, ""), party, channels.whom(row))


def _answered(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    if row.uniqueid in channels.rung:
        yield DialEnd(row.time, "", row.linkedid, channels.channel(row.uniqueid), "ANSWER", "")
    if row.uniqueid not in channels.legs.get(row.linkedid, ()):
        return
    dialler = channels.party.get(row.linkedid, row.linkedid)
    first = channels.started.get(row.linkedid)
    if dialler == row.linkedid and first is not None and not first.channame.startswith("Local/"):
        channels.party[row.linkedid] = row.uniqueid
    if dialler == row.linkedid:
        channels.queues.pop(row.linkedid, None)
    yield DialEnd(row.time, dialler, row.linkedid, channels.channel(row.uniqueid), "ANSWER", "")


def _application_began(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    if row.appname == "Queue" and row.uniqueid == row.linkedid:
        queue = channels.queues[row.linkedid] = row.appdata.partition(",")[0]
        yield QueueCaller(row.time, row.uniqueid, row.linkedid, queue, "joined")


def _application_ended(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    """The caller has left the queue: answered, sent on by the dialplan, or by hanging up. Asterisk writes 1. APP_END;
    2. HANGUP of the caller, at once if the caller hung up."""
    left = row.appname == "Queue" and row.uniqueid == row.linkedid
    queue = channels.queues.pop(row.linkedid, "") if left else ""
    if queue and abs(channels.left.get(row.linkedid, 0.0) - row.time) < _TOGETHER:
        yield QueueCaller(row.time, row.uniqueid, row.linkedid, queue, "abandoned")


def _hung_up(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    extra = row.extra
    source = channels.names.get(extra.get("hangupsource", ""))
    if source is not None:
        yield HangupRequest(row.time, source, channels.linkedids.get(source, source))
    for dialler, legs in channels.legs.items():
        if row.uniqueid in legs:
            legs.remove(row.uniqueid)
            yield from _given_up(channels, row, dialler, source)
    if channels.party.get(row.linkedid) == row.uniqueid:
        del channels.party[row.linkedid]
    yield Hangup(row.time, row.uniqueid, row.linkedid, whole(extra.get("hangupcause", "")), "", NO_VARIABLES)


def _given_up(channels: CelChannels, row: CelRow, linkedid: str, source: str | None) -> Iterator[Message]:
    """A leg that has hung up, but not by itself, while it rang: its cause is that of whoever gave up, 17 or 34 after a
    trunk or a colleague who was dialled before. chan_sip names no source of a hangup when a leg refuses: the caller's
    own hangup at that moment tells. One that was answered has had its DialEnd."""
    if source != row.uniqueid and abs(channels.left.get(linkedid, 0.0) - row.time) < _TOGETHER:
        yield DialEnd(row.time, linkedid, linkedid, channels.channel(row.uniqueid), "CANCEL", "")


def _moved(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    channels.linkedids[row.uniqueid] = row.linkedid
    yield Bridge(row.time, row.uniqueid, row.linkedid, NO_VARIABLES)


def _blind(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    channels.party.pop(row.linkedid, None)
    channels.sent_on[row.linkedid] = row.extra.get("extension", "")
    transferee = channels.named(row.extra.get("transferee_channel_name", ""))
    yield BlindTransfer(row.time, channels.channel(row.uniqueid), transferee, row.extra.get("extension", ""))


def _attended(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    extra = row.extra
    second = channels.channel(extra.get("channel2_uniqueid", ""), extra.get("channel2_name", ""))
    target, name = extra.get("transfer_target_channel_uniqueid", ""), extra.get("transfer_target_channel_name", "")
    if target not in channels.started:  # "N/A"
        target = next(reversed(channels.legs.get(second.linkedid, [])), "")
        name = channels.channel(target).name
    transferee = channels.named(extra.get("transferee_channel_name", ""))
    channels.party[row.linkedid] = target
    number = channels.number(target, name)
    yield AttendedTransfer(
        row.time, channels.channel(row.uniqueid), transferee.number, second, number, target, not target
    )


def _forwarded(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    legs = channels.legs.get(row.linkedid, [])
    diverted = [leg for leg in legs if channels.causes.get(leg) == _REDIRECTED] or legs[-1:]
    if diverted:
        leg = channels.channel(diverted[0])
        yield DialEnd(row.time, row.linkedid, row.linkedid, leg, "CANCEL", row.extra.get("forward", ""))


def _picked_up(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    taker = channels.channel(row.extra.get("pickup_channel_uniqueid", ""), row.extra.get("pickup_channel", ""))
    channels.party[row.linkedid] = taker.uniqueid
    yield Pickup(row.time, taker, channels.channel(row.uniqueid))
    yield DialEnd(row.time, row.linkedid, row.linkedid, taker, "ANSWER", "")


def _parked(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    channels.party.pop(row.linkedid, None)
    slot = channels.slots.get(channels.retrievers.get(row.uniqueid, ""), "")
    yield ParkedCall(row.time, channels.channel(row.uniqueid), slot)


def _unparked(channels: CelChannels, row: CelRow) -> Iterator[Message]:
    retriever = channels.named(row.extra.get("retriever", ""))
    if row.extra.get("reason") == "ParkedCallUnparked" and retriever.linkedid:
        channels.party[row.linkedid] = retriever.uniqueid
        yield UnParkedCall(row.time, channels.channel(row.uniqueid), retriever)


def _said(row: CelRow) -> str:
    """The second argument of CELGenUserEvent."""
    return row.extra.get("extra") or row.eventextra


def _disposed(_: CelChannels, row: CelRow) -> Iterator[Message]:
    yield UserEvent(row.time, row.uniqueid, row.linkedid, "PBXHubDisposition", {"Disposition": _said(row)})


def _marked(_: CelChannels, row: CelRow) -> Iterator[Message]:
    """A mark: CELGenUserEvent(PBXHubEvaluation,5) or (EVALUATION,score=5) of the dialplan, after the menu has begun."""
    mark = _said(row).rpartition("=")[2]
    yield UserEvent(row.time, row.uniqueid, row.linkedid, "PBXHubEvaluationStart", {})
    yield UserEvent(row.time, row.uniqueid, row.linkedid, "PBXHubEvaluation", {"Mark": mark})


_TRANSLATIONS: Mapping[str, Callable[[CelChannels, CelRow], Iterator[Message]]] = {
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
