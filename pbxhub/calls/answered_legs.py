"""A leg of a call is answered, and from then on the call counts as answered: incoming.pickup and outgoing.pickup."""

from dataclasses import replace

from pbxhub.calls.extensions import endpoint_of
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.ringing import answer_inside
from pbxhub.calls.sending_on import redirect
from pbxhub.calls.state import Channel, SentOn, StageKey, TrackedCall


def answer(live: LiveCalls, call: TrackedCall, leg: Channel, time: float, ours: bool) -> None:
    """A leg was answered. ours: the call's first channel dialled it, so the caller now talks to it."""
    leg.answered = time
    if call.direction == "incoming":
        if call.hop.awaited and leg.number == call.hop.awaited:
            pickup(live, call, leg, call.hop.number, time)
        elif ours or leg.leg:
            _answer_for_caller(live, call, leg, time)
    elif call.direction == "outgoing" and (not leg.outside or call.phase == "sent_on"):
        call.extension = call.extension or ("" if leg.outside else leg.number)
        talk_again(call)
    elif leg.leg:
        _answer_without_caller(live, call, leg, time)


def _answer_for_caller(live: LiveCalls, call: TrackedCall, leg: Channel, time: float) -> None:
    """DialEnd ANSWER comes first, then BridgeEnter; in between, the phone may be asked to accept the call."""
    leg.leg = True
    hop = leg.hop or call.hop.number
    if live.bridges.seen and not leg.bridged:
        call.waiting[leg.uniqueid] = hop
    else:
        pickup(live, call, leg, hop, time)


def _answer_without_caller(live: LiveCalls, call: TrackedCall, leg: Channel, time: float) -> None:
    """A leg of an outgoing or internal call was answered."""
    _talk(call, leg, time)
    if call.direction == "outgoing":
        call.trunk = endpoint_of(leg.name)
        live.fire(call, "outgoing.pickup", StageKey(), time)
    else:
        call.extension = leg.number
        answer_inside(live, call, leg, time)


def pickup(live: LiveCalls, call: TrackedCall, leg: Channel, hop: int, time: float) -> None:
    """The caller talks to a new party."""
    if call.direction != "incoming" or call.phase == "over":
        return
    if hop > call.hop.number:
        redirect(live, call, time)
    waited = call.waiting.pop(leg.uniqueid, None) is not None
    leg.leg, leg.answered = True, time if waited or not leg.answered else leg.answered
    if leg.number == call.transfer.source and leg.number != call.hop.destination:
        call.transfer = SentOn()  # the caller is back with the one who transferred them
    if hop == call.hop.number and hop > 1:  # in the first hop, DialEnd of the first channel's own dial reports it
        call.hop.connected = True
    call.hop.awaited = ""
    _talk(call, leg, time)
    call.extension = leg.number
    live.fire(call, "incoming.pickup", StageKey(hop, leg.number), time)


def pickup_unseen(live: LiveCalls, call: TrackedCall, number: str, time: float) -> None:
    """The caller talks to a party whose channel is not known, or who has none, such as a voice bot."""
    _talk(call, Channel("", call.dst_channel, number, started=call.started), time)
    call.hop.connected, call.extension = True, number
    live.fire(call, "incoming.pickup", StageKey(call.hop.number, number), time)


def talk_again(call: TrackedCall) -> None:
    """Another employee now talks to the outside party of an outgoing call."""
    if call.phase == "sent_on" and call.move("is_answered"):
        call.talk_ended = 0.0


def _talk(call: TrackedCall, leg: Channel, time: float) -> None:
    if not call.move("is_answered"):
        return
    call.talk_ended = 0.0
    if not call.answered:
        call.answered, call.ring_time = time, max(0.0, time - leg.started)
        if call.queue.joined:
            call.queue = replace(call.queue, wait=max(0.0, time - call.queue.joined))
    call.party, call.dst_channel, call.hangup_by = leg.uniqueid, leg.name, ""
