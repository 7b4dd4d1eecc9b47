"""Dials and their ends: rings, diversions (302), redirects, and calls that go out."""

from pbxhub.calls.ami_events import DialBegin, DialEnd
from pbxhub.calls.answered_legs import answer, talk_again
from pbxhub.calls.arrivals import arrive_by_dialling
from pbxhub.calls.extensions import endpoint_of
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.phone_numbers import dialled_number
from pbxhub.calls.ringing import leave_inside, ring_inside
from pbxhub.calls.sending_on import forward, next_hop, ring
from pbxhub.calls.state import Channel, SentOn, StageKey, TrackedCall


def on_dial_begin(live: LiveCalls, message: DialBegin) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time) or live.call_of(message.dest.linkedid)
    dest = live.adopt(call, message.dest, message.time) if call is not None else None
    if call is None or dest is None or dest.hop:
        return
    if message.uniqueid == call.first:
        arrive_by_dialling(live, call, message.time)
    elif not message.uniqueid and dest.uniqueid == call.first:
        call.originated = True  # Asterisk itself dials the first channel: the call was ordered by AMI
    dialler = call.channels.get(message.uniqueid)
    _learn_outside(live, call, dest, message)
    _begin_redirect(call, dialler, message.time)
    dest.parent, dest.hop = message.uniqueid, _hop_of(call, dialler)
    if dest.hop > call.hop.number:
        dest.leg = not dest.plumbing
        call.hop.early += (dest.uniqueid,)
    elif dest.plumbing:
        _begin_behind(live, call, dest, message.time)
    elif not message.uniqueid or (dialler is not None and call.origin(dialler).uniqueid == call.first):
        _begin_leg(live, call, dest, message.time)


def _begin_redirect(call: TrackedCall, dialler: Channel | None, time: float) -> None:
    """The channel that dialled the caller's party dials again: Newchannel, DialBegin, DialEnd ANSWER, a second
    DialBegin (recording "redirect" of tests/traces/more-22.ami.gz).

    If the party is still on the call, it may have transferred the caller by a feature code, and BlindTransfer follows
    (tests/traces-random): the new legs belong to the next hop, which begins with that event. If the party has left, the
    dialplan has sent the caller on.
    """
    party = call.channels.get(call.party)
    if dialler is None or call.direction != "incoming":
        return
    talks = call.phase == "talking" and party is not None and not party.ended
    if talks and party is not None and (party.parent or call.first) == dialler.uniqueid:  # no parent: *8, or retrieved
        call.hop.moving = dialler.uniqueid
    elif dialler.uniqueid == call.first and call.hop.connected and next_hop(call, time):
        call.hop.redirecting = call.hop.number


def _learn_outside(live: LiveCalls, call: TrackedCall, dest: Channel, message: DialBegin) -> None:
    """The leg's current context decides, not the one in its Newchannel, which is always `default` with IAX2."""
    endpoint, context = endpoint_of(dest.name), message.dest.context
    if not dest.plumbing and context:
        if context in live.incoming:
            dest.outside = True
            live.learn_trunk(endpoint)
        elif endpoint in live.trunks:
            dest.outside = True
    if call.dialplan.outward and not dest.plumbing and not call.direction:
        dest.outside = True  # because the dialplan said so; this says nothing about the endpoint
    if dest.outside:
        dest.number, dest.caller_id = dialled_number(message.dial_string) or dest.number, message.number


def _hop_of(call: TrackedCall, dialler: Channel | None) -> int:
    """A leg belongs to the hop in which the caller dialled it; behind a Local channel, to the hop of that channel."""
    if dialler is not None and dialler.uniqueid == call.hop.moving:
        return call.hop.number + 1
    if dialler is None or dialler.uniqueid == call.first:
        return call.hop.number
    return call.near_end(dialler).hop or call.hop.number


def _begin_leg(live: LiveCalls, call: TrackedCall, dest: Channel, time: float) -> None:
    """A leg of the call itself (no consultation) rings."""
    dest.leg = True
    if dest.outside and not call.direction:
        depart(live, call, dest, dest.caller_id, time)
    elif call.direction == "incoming":
        ring(live, call, dest, time)
    elif call.direction != "outgoing" or dest.outside:
        call.move("rings")
        call.dst_channel = dest.name
        call.rung = call.rung or dest.number
        ring_inside(live, call, dest, time)
        if call.direction == "outgoing":
            call.trunk = endpoint_of(dest.name)


def _begin_behind(live: LiveCalls, call: TrackedCall, local: Channel, time: float) -> None:
    """A Local channel was dialled for the call, so the legs behind it belong to the call.

    The order with Local queue members: 1. Newchannel of ;1 and ;2; 2. DialBegin of the phone by ;2; 3. DialBegin of ;1
    by the caller. Legs that rang or were answered before 3 are reported here.
    tests/traces/whole/22-queue_local_members.ami.gz
    """
    if call.direction == "incoming":
        live.touch(call)  # a restart must not lose which call this Local channel belongs to
    for leg in list(call.channels.values()):
        if not leg.local and leg.hop and not leg.leg and _rings_for_caller(call, leg, local):
            leg.hop = local.hop
            _begin_leg(live, call, leg, time)
            if leg.answered:
                answer(live, call, leg, leg.answered, ours=True)


def _rings_for_caller(call: TrackedCall, leg: Channel, local: Channel) -> bool:
    dialler = call.channels.get(leg.parent)
    if dialler is None or call.near_end(dialler) is not local:
        return False
    return call.origin(dialler).uniqueid == call.first


def depart(live: LiveCalls, call: TrackedCall, dest: Channel, our_number: str, time: float) -> None:
    """The first leg to a trunk makes the call outgoing, even after a conversation between extensions."""
    leave_inside(live, call, time)
    if not call.move("departs"):
        return
    call.trunk, call.dst_channel = endpoint_of(dest.name), dest.name
    call.caller = call.dst = dest.number
    call.caller_name, call.outbound_number = "", our_number
    call.extension, call.answered, call.party, call.rung = _employee(call), 0.0, "", ""
    dest.leg, call.statuses = True, ()
    live.fire(call, "outgoing.before", StageKey(), time)


def _employee(call: TrackedCall) -> str:
    """Who calls out: the owner of the first channel; with Originate, whoever was rung first and answered."""
    own = [channel for channel in call.channels.values() if not channel.local and not channel.outside]
    ready = [channel for channel in own if channel.uniqueid == call.first or channel.answered]
    return ready[0].number if ready else ""


def on_dial_end(live: LiveCalls, message: DialEnd) -> None:
    """A queue member who does not answer gets two DialEnds; only the first counts."""
    call = _call_of(live, message)
    dest = live.adopt(call, message.dest, message.time) if call is not None else None
    if call is None or dest is None or dest.status:
        return
    dest.status = message.status or "CANCEL"
    dialler = call.channels.get(message.uniqueid)
    if message.status == "ANSWER":
        call.hop.connected = call.hop.connected or message.uniqueid == call.first
        ours = dialler is not None and call.origin(dialler).uniqueid == call.first
        if not dest.local:
            answer(live, call, dest, message.time, ours)
            _talk_again_joined(live, call)
    elif message.forward and dest.leg and call.direction == "incoming":
        if next_hop(call, message.time):
            call.move_pairs(dialler)
        to = dialled_number(message.forward)
        forward(live, call, SentOn("diversion", dest.number, to), call.hop.number, message.time)


def _talk_again_joined(live: LiveCalls, call: TrackedCall) -> None:
    """The outside party of the other call has waited for this answer since an employee joined the two calls."""
    joined = live.call_of(call.joined) if call.joined else None
    if joined is not None and joined.direction == "outgoing":
        talk_again(joined)


def _call_of(live: LiveCalls, message: DialEnd) -> TrackedCall | None:
    """The dialler's call. After *8, the call that the answering phone began is merged into it.

    1. An employee joins two calls to outside parties; 2. the second one answers: each goes on as a call of its own.
    """
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    other = live.of_channel(message.dest.uniqueid)
    if call is None:
        return other or live.call_of(message.dest.linkedid)
    if other is not None and other is not call:
        return other if call.joined == other.linkedid else live.merge(call, other, message.time)
    return call
