"""Optional stages: a phone stops ringing without an answer, and the stages of calls inside the company."""

from pbxhub.calls.dispositions import REFUSED, leg_outcome
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.state import Channel, StageKey, TrackedCall


def stop_ringing(live: LiveCalls, call: TrackedCall, leg: Channel) -> None:
    """A leg has hung up. Its Hangup decides the outcome, not its DialEnd: DialEnd NOANSWER followed by Hangup with
    cause 21 is a phone that declined."""
    if not live.optional or call.direction != "incoming" or call.phase == "over" or not leg.leg or not leg.number:
        return
    if leg.answered:
        return
    length = int(leg.ended - leg.started)
    key = StageKey(to=leg.uniqueid)  # a queue rings a phone again and again; CEL, too, tells these times apart by it
    live.fire(
        call, "incoming.unring", key, leg.ended, extension=leg.number, ring_time=length,
        ring_status=leg_outcome(leg),
    )  # fmt: skip


def stop_waiting(call: TrackedCall, leg: Channel) -> None:
    """A leg was answered and hung up without entering a bridge: the employee refused the call (Dial option U), or the
    caller left meanwhile. This does not count as answered."""
    if call.waiting.pop(leg.uniqueid, None) is not None:
        leg.answered, leg.status = 0.0, "NOANSWER" if call.hangup_by else REFUSED


def ring_inside(live: LiveCalls, call: TrackedCall, leg: Channel, time: float) -> None:
    """A phone rings for somebody inside. The phone that an Originate rings first does not count."""
    if live.optional and call.rang_inside:
        live.fire(call, "internal.before", StageKey(), time, extension=leg.number)


def answer_inside(live: LiveCalls, call: TrackedCall, leg: Channel, time: float) -> None:
    """The phone was answered."""
    if live.optional and call.rang_inside:
        live.fire(call, "internal.pickup", StageKey(leg.hop, leg.number), time)


def leave_inside(live: LiveCalls, call: TrackedCall, time: float) -> None:
    """The call turns out to be one with the outside: ends what was reported of it as an internal call."""
    if live.optional and call.rang_inside:
        live.fire(call, "internal.after", StageKey(), time)
