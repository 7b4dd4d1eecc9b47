"""Blind and attended transfers, parking and retrieval, and call pickup (*8)."""

from pbxhub.calls.ami_events import AttendedTransfer, BlindTransfer, ParkedCall, Party, Pickup, UnParkedCall
from pbxhub.calls.answered_legs import answer, pickup, pickup_unseen, talk_again
from pbxhub.calls.consultations import Consultation, consultation_of
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.sending_on import forward, leave, next_hop, ring_early
from pbxhub.calls.state import Channel, SentOn, TrackedCall
from pbxhub.calls.talks import connect, talkers


def on_blind_transfer(live: LiveCalls, message: BlindTransfer) -> None:
    call = live.follow(message.transferee.uniqueid, message.transferee.linkedid, message.time)
    if call is None:
        call = live.follow(message.transferer.uniqueid, message.transferer.linkedid, message.time)
    if call is None:
        return
    if call.phase == "sent_on" and call.forward.kind == "park":
        return  # a REFER to the parking extension: ParkedCall comes first, then its BlindTransfer
    call.transfer = SentOn("blind_transfer", _number(live, call, message.transferer), message.extension)
    leave(call, message.time, message.transferer.uniqueid)
    early = call.hop.early
    if call.direction == "incoming" and next_hop(call, message.time):
        call.move_pairs(call.channels.get(message.transferee.uniqueid))
        forward(live, call, call.transfer, call.hop.number, message.time)
        ring_early(live, call, early, message.time)


def on_attended_transfer(live: LiveCalls, message: AttendedTransfer) -> None:
    """The transferer's two lines become one call: the caller is connected to the party on the other line."""
    first = _call_of(live, message.original, message.time)
    second = _call_of(live, message.second, message.time)
    call = first or second
    if first is not None and second is not None and second is not first:
        call = live.merge(first, second, message.time)
        if live.call_of(second.linkedid) is not call:  # two callers, who now talk to each other
            first.party = second.party = ""
            first.joined, second.joined = second.linkedid, first.linkedid
            if not second.answered:
                leave(first, first.channels[message.original.uniqueid].held or message.time)
            return
    if call is None:
        return
    found = consultation_of(call, message)
    call.transfer = SentOn("attended_transfer", _number(live, call, message.original), found.to)
    call.hangup_by = ""  # with a feature code, the transferer hangs up to complete the transfer: that ends nothing
    held_since = _leave_lines(call, found, message)
    if _is_told(live, call, message):
        found.give_to_caller(call)
    elif call.direction == "incoming" and found.to and next_hop(call, message.time):
        call.move_pairs(call.channels.get(found.caller_line))
        forward(live, call, call.transfer, call.hop.number, message.time)
        _join(live, call, found, message)
    if call.phase == "sent_on" and held_since:
        call.talk_ended = held_since


def _is_told(live: LiveCalls, call: TrackedCall, message: AttendedTransfer) -> bool:
    """Whether the pickup that the transfer leads to is told already: 1. the hub misses the beginning of the call;
    2. Asterisk connects the caller with the consulted party; 3. the hub reads the channels, and tells that these two
    talk; 4. AttendedTransfer comes."""
    with_another = call.party not in (message.original.uniqueid, message.second.uniqueid)
    if call.direction != "incoming" or call.phase != "talking" or not with_another:
        return False
    return any(other.uniqueid == call.party for other in talkers(live, call, call.first))


def _leave_lines(call: TrackedCall, found: Consultation, message: AttendedTransfer) -> float:
    """The transferer leaves. Returns since when the other party has been on hold; 0.0 when it has not."""
    rings = found.party is not None and not found.party.answered
    lines = [
        call.channels[line] for line in (message.original.uniqueid, message.second.uniqueid) if line in call.channels
    ]
    if call.direction == "outgoing" and rings:
        leave(call, message.time)
    for line in lines:
        line.left = True
    return max((line.held for line in lines), default=0.0)


def _call_of(live: LiveCalls, party: Party, time: float) -> TrackedCall | None:
    call = live.follow(party.uniqueid, party.linkedid, time) or live.call_of(party.linkedid)
    return live.served_by(call, party.uniqueid) if call is not None and call.agent else call


def _join(live: LiveCalls, call: TrackedCall, found: Consultation, message: AttendedTransfer) -> None:
    """Connects the caller with the consulted party: at once, or when it answers if it is still ringing."""
    found.give_to_caller(call)
    if found.party is not None and found.party.answered:
        pickup(live, call, found.party, call.hop.number, message.time)
    elif found.legs:
        for leg in found.legs:
            leg.leg, leg.hop = True, call.hop.number
            forward(live, call, SentOn("ring", "", leg.number), call.hop.number, message.time)
    elif message.to_application:
        call.hop.awaited = found.to
    elif found.roots and all(_was_refused(call, root) for root in found.roots):
        return  # the voicemail of whoever refused has taken the call
    else:
        pickup_unseen(live, call, found.to, message.time)


def _was_refused(call: TrackedCall, root: Channel) -> bool:
    """Whether the phones behind this Local channel have rung, and none of them took the call."""
    behind = [leg for leg in call.channels.values() if not leg.plumbing and _is_behind(call, leg, root)]
    return root.local and bool(behind) and all(leg.ended and not leg.answered for leg in behind)


def _is_behind(call: TrackedCall, leg: Channel, root: Channel) -> bool:
    dialler = call.channels.get(leg.parent)
    return dialler is not None and call.near_end(dialler) is root


def _number(live: LiveCalls, call: TrackedCall, party: Party) -> str:
    channel = call.channels.get(party.uniqueid)
    return channel.number if channel is not None else live.new_channel(party, 0.0).number


def on_parked_call(live: LiveCalls, message: ParkedCall) -> None:
    """The call is parked, or it is still: Asterisk says so again when the hub connects."""
    call = live.follow(message.parkee.uniqueid, message.parkee.linkedid, message.time)
    if call is not None and call.phase == "sent_on" and (call.forward.kind, call.forward.to) == ("park", message.space):
        return
    if call is not None:
        _hear_answer(live, call, message)
    if call is not None and call.direction == "outgoing":
        leave(call, message.time)
    if call is not None and call.direction == "incoming" and message.space and next_hop(call, message.time):
        call.move_pairs(call.channels.get(message.parkee.uniqueid))
        leave(call, message.time, call.party)
        forward(live, call, SentOn("park", call.extension, message.space), call.hop.number, message.time)


def _hear_answer(live: LiveCalls, call: TrackedCall, message: ParkedCall) -> None:
    """ParkedCall may overtake what tells of the answer: 1. a call is answered; 2. it is parked within milliseconds; 3.
    Asterisk, which is busy, sends ParkedCall; 4. DialEnd."""
    own = [channel for channel in call.channels.values() if channel.name.rpartition("-")[0] == message.parker]
    parker = next((channel for channel in own if not channel.ended), None)
    leg = call.channels.get(message.parkee.uniqueid) if call.direction == "outgoing" else parker
    if parker is None or leg is None or not leg.leg or leg.answered or leg.ended:
        return
    leg.status = "ANSWER"
    if call.direction == "outgoing":
        answer(live, call, leg, message.time, ours=True)
        parker.left = True
    else:
        pickup(live, call, leg, leg.hop or call.hop.number, message.time)


def on_unparked_call(live: LiveCalls, message: UnParkedCall) -> None:
    """The retriever now talks to the caller; no DialEnd follows."""
    call = live.follow(message.parkee.uniqueid, message.parkee.linkedid, message.time)
    if call is None:
        return
    other = live.of_channel(message.retriever.uniqueid)
    if other is not None and other is not call:
        call = live.merge(call, other, message.time)
    retriever = live.adopt(call, message.retriever, message.time)
    if call.direction == "outgoing":
        talk_again(call)
    if retriever is not None:
        pickup(live, call, retriever, call.hop.number, message.time)


def on_pickup(live: LiveCalls, message: Pickup) -> None:
    """*8: the channel of whoever dialled it joins the ringing call; the DialEnd that follows reports the answer. At a
    queue of Asterisk 16 none follows, and they may share a bridge already."""
    call = live.follow(message.target.uniqueid, message.target.linkedid, message.time)
    other = live.of_channel(message.channel.uniqueid)
    if call is not None and other is not None and other is not call:
        connect(live, live.merge(call, other, message.time), message.time)
