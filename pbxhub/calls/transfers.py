"""The caller is sent on: blind and attended transfer, park and retrieval, *8."""

from pbxhub.calls.ami_events import AttendedTransfer, BlindTransfer, ParkedCall, Party, Pickup, UnParkedCall
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.pickups import pickup
from pbxhub.calls.sending_on import forward, next_hop
from pbxhub.calls.state import Call, Channel, SentOn, StageKey


def on_blind_transfer(live: LiveCalls, message: BlindTransfer) -> None:
    call = live.follow(message.transferee.uniqueid, message.transferee.linkedid, message.time)
    if call is None:
        call = live.follow(message.transferer.uniqueid, message.transferer.linkedid, message.time)
    if call is None:
        return
    call.transfer = SentOn("blind_transfer", _number(live, call, message.transferer), message.extension)
    if call.direction == "incoming" and next_hop(call, message.time):
        forward(live, call, call.transfer, call.hop.number, message.time)


def on_attended_transfer(live: LiveCalls, message: AttendedTransfer) -> None:
    """Two lines of the transferer become one call; the party on the other line than the caller's is the new one."""
    first = _call_of(live, message.original, message.time)
    second = _call_of(live, message.second, message.time)
    call = first or second
    if first is not None and second is not None and second is not first:
        call = live.merge(first, second, message.time)
        if live.call_of(second.linkedid) is not call:
            second.party = ""  # two callers, who talk to each other from now on
    if call is None:
        return
    to = message.original_connected if _caller_is_second(call, message) else message.second_connected
    call.transfer = SentOn("attended_transfer", _number(live, call, message.original), to)
    if call.direction == "incoming" and to and next_hop(call, message.time):
        forward(live, call, call.transfer, call.hop.number, message.time)
        _new_party(live, call, to, message)


def _caller_is_second(call: Call, message: AttendedTransfer) -> bool:
    """Whether the caller is on the transferer's second line; of a feature code both lines are one channel."""
    lines = message.original.uniqueid, message.second.uniqueid
    return message.second_connected == call.caller or (lines[1] == call.party and lines[0] != call.party)


def _call_of(live: LiveCalls, party: Party, time: float) -> Call | None:
    return live.follow(party.uniqueid, party.linkedid, time) or live.call_of(party.linkedid)


def _new_party(live: LiveCalls, call: Call, to: str, message: AttendedTransfer) -> None:
    """They talk at once; or the new party still rings, and talks when it answers."""
    party = call.channels.get(message.target) or _latest(call, to)
    if party is not None and party.local:
        party = _latest(call, to)
    if party is None and message.to_application:
        call.hop.awaited = to
    elif party is None:
        call.hop.connected, call.extension, call.hop.awaited = True, to, ""
        call.party, call.hangup.by = "", ""  # which channel they talk on is not known
        call.move("is_answered")
        live.fire(call, "incoming.pickup", StageKey(call.hop.number, to), message.time)
    elif party.answered:
        call.hop.connected = True
        pickup(live, call, party, call.hop.number, message.time)
    else:
        party.leg, party.hop, call.hop.awaited = True, call.hop.number, to


def _latest(call: Call, number: str) -> Channel | None:
    live = [channel for channel in call.channels.values() if channel.number == number and not channel.ended]
    return next((channel for channel in reversed(live) if not channel.local and channel.uniqueid != call.first), None)


def _number(live: LiveCalls, call: Call, party: Party) -> str:
    known = call.channels.get(party.uniqueid)
    return known.number if known is not None else live.new_channel(party, 0.0).number


def on_parked_call(live: LiveCalls, message: ParkedCall) -> None:
    call = live.follow(message.parkee.uniqueid, message.parkee.linkedid, message.time)
    if call is not None and call.direction == "incoming" and next_hop(call, message.time) and message.space:
        forward(live, call, SentOn("park", call.extension, message.space), call.hop.number, message.time)


def on_unparked_call(live: LiveCalls, message: UnParkedCall) -> None:
    """The retriever talks to the caller; there is no DialEnd."""
    call = live.follow(message.parkee.uniqueid, message.parkee.linkedid, message.time)
    if call is None:
        return
    other = live.of_channel(message.retriever.uniqueid)
    if other is not None and other is not call:
        call = live.merge(call, other, message.time)
    retriever = live.adopt(call, message.retriever, message.time)
    if retriever is not None:
        call.hop.connected = True
        pickup(live, call, retriever, call.hop.number, message.time)


def on_pickup(live: LiveCalls, message: Pickup) -> None:
    """*8: the taker's channel joins the call that rings; the DialEnd that follows tells of the answer."""
    call = live.follow(message.target.uniqueid, message.target.linkedid, message.time)
    other = live.of_channel(message.channel.uniqueid)
    if call is not None and other is not None and other is not call:
        live.merge(call, other, message.time)
