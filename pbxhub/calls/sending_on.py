"""A call is sent on (transferred, diverted, redirected): the next hop begins, and incoming.forward fires."""

from collections.abc import Iterable

from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.phone_numbers import same_number
from pbxhub.calls.state import Channel, SentOn, StageKey, TrackedCall


def next_hop(call: TrackedCall, time: float) -> bool:
    """Begins the next hop; False when the message is a repetition, which has the time of the first."""
    hop = call.hop
    if time in hop.times:
        return False
    hop.number += 1
    hop.times = (*hop.times[-7:], time)
    hop.connected, hop.redirecting, hop.awaited, hop.destination, hop.moving = False, 0, "", "", ""
    hop.early = ()
    leave(call, time)
    return True


def leave(call: TrackedCall, time: float, by: str = "") -> None:
    """A conversation has ended because somebody sends the call on, unless it had ended before. by: uniqueid of their
    channel."""
    if call.move("is_sent_on"):
        call.talk_ended = call.talk_ended or time
    if by in call.channels:
        call.channels[by].left = True


def forward(live: LiveCalls, call: TrackedCall, sent: SentOn, hop: int, time: float) -> None:
    """Fires incoming.forward, once per hop and destination: a transfer's destination does not fire again when it
    rings."""
    key = StageKey(hop, sent.to)
    if call.phase == "over" or call.has_fired("incoming.forward", key):
        return
    call.forward = sent
    if sent.kind != "ring":
        call.hop.destination = sent.to
    step = len(call.fired.get("incoming.forward", ())) + 1
    extension = sent.source if sent.kind == "park" else sent.to
    live.fire(call, "incoming.forward", key, time, forward_step=step, extension=extension)


def ring(live: LiveCalls, call: TrackedCall, dest: Channel, time: float) -> None:
    """A leg dialled for the caller rings: a normal ring, or the first of a redirect."""
    call.move("rings")
    call.dst_channel, call.rung = dest.name, dest.number
    if dest.outside and dest.hop == call.hop.number and same_number(call.hop.destination, dest.number):
        return  # the transfer's destination, in the form that the dialplan dials
    if call.hop.redirecting and call.hop.redirecting == dest.hop:
        call.hop.redirecting = 0
        forward(live, call, SentOn("redirect", call.extension, dest.number), dest.hop, time)
    else:
        forward(live, call, SentOn("ring", "", dest.number), dest.hop, time)


def ring_early(live: LiveCalls, call: TrackedCall, early: Iterable[str], time: float) -> None:
    """Fires the rings of the legs that were dialled before their hop began."""
    for uniqueid in early:
        leg = call.channels.get(uniqueid)
        if leg is not None and not leg.plumbing:
            ring(live, call, leg, time)


def redirect(live: LiveCalls, call: TrackedCall, time: float) -> None:
    """No transfer followed, so the legs dialled while the party was still on the call are a redirect: its hop
    begins."""
    early, dialler = call.hop.early, call.channels.get(call.hop.moving)
    if next_hop(call, time):
        call.hop.redirecting = call.hop.number
        call.move_pairs(dialler)
        ring_early(live, call, early, time)
