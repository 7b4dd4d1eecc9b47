"""A call is sent on to a destination: the next hop begins, and the stage incoming.forward fires."""

from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.state import Call, SentOn, StageKey


def next_hop(call: Call, time: float) -> bool:
    """Begins the next hop; False when the message behind it came before (it is repeated with the same time)."""
    hop = call.hop
    if time in hop.times:
        return False
    hop.number += 1
    hop.times = [*hop.times[-7:], time]
    hop.connected, hop.redirecting, hop.awaited, hop.destination = False, 0, "", ""
    leave(call, time)
    return True


def leave(call: Call, time: float, by: str = "") -> None:
    """A talk has ended because somebody sends the call on. by: uniqueid of their channel."""
    if call.move("is_sent_on"):
        call.talk_ended = time
    if by in call.channels:
        call.channels[by].left = True


def forward(live: LiveCalls, call: Call, sent: SentOn, hop: int, time: float) -> None:
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
