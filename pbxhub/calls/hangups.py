"""Who hung up first, the last hangup of a call, and its CDR."""

from dataclasses import replace

from pbxhub.calls.ami_events import Cdr, FeatureKey, Hangup, HangupRequest
from pbxhub.calls.annotations import end_hold, keep_variables
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.ringing import stop_ringing, stop_waiting
from pbxhub.calls.sending_on import redirect
from pbxhub.calls.state import Channel, HangupCause, TrackedCall
from pbxhub.calls.talks import take_over, talkers

_AT_ONCE = 0.2  # seconds after the last phone stopped ringing in which no caller hangs up
_LONGEST_CODE = 5.0  # seconds from * or # to the end of a feature code


def on_hangup_request(live: LiveCalls, message: HangupRequest) -> None:
    """Records who hung up first: the caller (the outside party) or the employee.

    Asterisk also sends this event for channels that nobody has hung up: a trunk that refuses the number, Local channels
    that are optimised away, an employee who has transferred the other party.
    """
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is None or call.hangup_by or call.phase == "over":
        return
    channel = call.channels[message.uniqueid]
    if channel.plumbing or channel.left or (message.refused and not call.answered and not channel.leg):
        return
    goes_on = channel.uniqueid == call.first or channel.answered > 0.0
    if goes_on and channel.name.startswith("IAX2/") and _dialplan_ended(live, call, message):
        return
    if call.direction == "outgoing":
        call.hangup_by = _of_outgoing(live, call, channel)
        joined = live.call_of(call.joined) if call.joined else None
        if joined is not None:  # one hangup has ended both calls
            joined.hangup_by = joined.hangup_by or call.hangup_by
    elif channel.uniqueid in (call.first, call.party):
        call.hangup_by = "caller" if channel.uniqueid == call.first else "employee"


def _dialplan_ended(live: LiveCalls, call: TrackedCall, message: HangupRequest) -> bool:
    """Whether the dialplan has ended the call, or an employee by a feature code. chan_iax2 asks for the hangup of its
    channel then, too, in the same words as when the caller hangs up. In a menu without an extension h nobody can tell
    the two apart."""
    if message.exten == "h" or _ended_by_code(call, message):
        return True
    if any(not leg.status and not leg.ended for leg in call.legs()) or talkers(live, call, message.uniqueid):
        return False
    others = [channel for channel in call.channels.values() if channel.uniqueid != message.uniqueid]
    stopping = any(other.status not in ("", "ANSWER") and not other.ended for other in others)
    last = max((other.ended for other in others), default=0.0)
    return stopping or not message.up or message.time - last < _AT_ONCE


def _ended_by_code(call: TrackedCall, message: HangupRequest) -> bool:
    """Whether the outside party has left the bridge after an employee pressed a key of a feature code. If it hangs up
    itself, it leaves the bridge afterwards."""
    here = (channel for channel in call.channels.values() if not channel.left and not channel.ended)
    pressed = max((channel.pressed for channel in here), default=0.0)
    return not call.channels[message.uniqueid].bridge and message.time - pressed < _LONGEST_CODE


def _of_outgoing(live: LiveCalls, call: TrackedCall, channel: Channel) -> str:
    """The outside party, or whoever talks to it or dials it. Empty for a colleague who refuses a call that was sent on,
    or for anybody whom an employee has only consulted: that call goes on."""
    who = "caller" if channel.outside else "employee"
    if call.answered and live.bridges.seen and not call.joined and channel.uniqueid != call.party:
        return who if any(other.uniqueid == channel.uniqueid for other in talkers(live, call, call.party)) else ""
    dials = channel.uniqueid == call.first and not channel.outside
    return who if dials or channel.answered else ""


def refuse(call: TrackedCall) -> None:
    """Asterisk has told the first channel that the line is busy, by Busy or Congestion of the dialplan: nobody else has
    ended the call. Asterisk 16 sends HangupRequest before or after that, without a cause."""
    if not call.answered and call.phase != "over":
        call.hangup_by = "pbx"


def on_feature_key(live: LiveCalls, message: FeatureKey) -> None:
    """A feature code (disconnect in features.conf; ** of FreePBX) may be about to end the talk with the outside party,
    for which Asterisk sends no HangupRequest."""
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is None or call.phase != "talking":
        return
    channel = call.channels[message.uniqueid]
    heard = (other.uniqueid for other in talkers(live, call, channel.uniqueid))
    if not channel.plumbing and (channel.uniqueid == call.party or call.party in heard):
        for other in call.channels.values():
            other.pressed = message.time if other is channel else 0.0


def on_hangup(live: LiveCalls, message: Hangup) -> None:
    live.bridges.leave(message.uniqueid)
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is None:
        return
    channel = call.channels[message.uniqueid]
    if channel.ended:
        return
    if channel.pressed and message.time - channel.pressed < _LONGEST_CODE:
        _end_by_code(call, channel)
    if message.variables:
        keep_variables(call, message.variables)
    channel.ended, channel.cause = message.time, message.cause
    if message.uniqueid == call.party:
        _go_on_without_party(live, call, message.time)
    end_hold(live, call, channel, message.time)
    stop_waiting(call, channel)
    stop_ringing(live, call, channel)
    if message.uniqueid == call.first or call.hangup.code < 0:
        call.hangup = HangupCause(message.cause, message.cause_text)
    if not call.alive():
        real = [other.ended for other in call.channels.values() if not other.plumbing]
        call.hangup_by = call.hangup_by or "pbx"
        live.end(call, max(real, default=message.time), "hangup")


def _end_by_code(call: TrackedCall, channel: Channel) -> None:
    """Nobody who has transferred the call by a feature code has ended it."""
    if call.phase == "talking" and not call.hangup_by and not channel.left:
        caller = channel.outside if call.direction == "outgoing" else channel.uniqueid == call.first
        call.hangup_by = "caller" if caller else "employee"


def _go_on_without_party(live: LiveCalls, call: TrackedCall, time: float) -> None:
    """Nobody has transferred the caller whom this party has left: the dialplan has sent the caller on, or somebody has
    joined their conversation or taken it over (Bridge and BridgeAdd of the dialplan, AMI Bridge)."""
    if call.hop.early:
        redirect(live, call, time)
    elif call.phase == "talking":
        take_over(live, call, time)


def on_cdr(live: LiveCalls, message: Cdr) -> None:
    call = live.of_channel(message.uniqueid)
    if call is not None and message.recording:
        call.recording = replace(call.recording, file=call.recording.file or message.recording)
