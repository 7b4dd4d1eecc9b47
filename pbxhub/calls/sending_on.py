"""A call is sent on to a destination: the next hop begins, and the stage incoming.forward fires."""

from collections.abc import Iterable

from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.phone_numbers import same_number
from pbxhub.calls.state import Channel, SentOn, StageKey, TrackedCall


def next_hop(call: TrackedCall, time: float) -> bool:
    """Begins the next hop; False when the message behind it came before (it is repeated with the same time)."""
    hop = call.hop
    if time in hop.times:
        return False
    hop.number += 1
    hop.times = [*hop.times[-7:], time]
    hop.connected, hop.redirecting, hop.awaited, hop.destination, hop.moving = False, 0, "", "", ""
    hop.early = []
    leave(call, time)
    return True


def leave(call: TrackedCall, time: float, by: str = "") -> None:
    """A talk has ended because somebody sends the call on. by: uniqueid of their channel."""
    if call.move("is_sent_on"):
        call.talk_ended = time
    if by in call.channels:
        call.channels[by].left = True


def forward(live: LiveCalls, call: TrackedCall, sent: SentOn, hop: int, time: float) -> None:
    """A destination fires once per hop: the one that a transfer named does not fire again when it rings."""
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
    """A leg of the caller's own rings: a ring, or the first of a redirect."""
    call.move("rings")
    call.dst_channel, call.rung = dest.name, dest.number
    if dest.outside and dest.hop == call.hop.number and same_number(call.hop.destination, dest.number):
        return  # the destination of the transfer, as the dialplan dials it
    if call.hop.redirecting and call.hop.redirecting == dest.hop:
        call.hop.redirecting = 0
        forward(live, call, SentOn("redirect", call.extension, dest.number), dest.hop, time)
    else:
        forward(live, call, SentOn("ring", "", dest.number), dest.hop, time)


def ring_early(live: LiveCalls, call: TrackedCall, early: Iterable[str], time: float) -> None:
    """The hop for which these were dialled has begun."""
    for uniqueid in early:
        leg = call.channels.get(uniqueid)
        if leg is not None and not leg.plumbing:
            ring(live, call, leg, time)


def redirect(live: LiveCalls, call: TrackedCall, time: float) -> None:
    """What was dialled while the party was still there was dialled by no transfer: its hop begins as a redirect."""
    early, dialler = call.hop.early, call.channels.get(call.hop.moving)
    if next_hop(call, time):
        call.hop.redirecting = call.hop.number
        call.move_pairs(dialler)
        ring_early(live, call, early, time)
