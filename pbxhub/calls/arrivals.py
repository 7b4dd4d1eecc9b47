"""The first channel of a call arrives; when it comes from outside, incoming.before fires.

A call comes from outside when its first channel is in an incoming context and reaches the state Ring. Drivers differ:
chan_pjsip, IAX2  Newchannel has the state Ring
chan_sip          Newchannel has the state Down and the number dialled; Newstate has Ring
DAHDI             Newchannel has the state Rsrvd or Pre-ring; Newstate has Ring
GSM cards         Newchannel has the state Rsrvd; the channel never has Ring: it is answered, or it dials
A trunk's channel that Asterisk itself dials (Originate) has no number dialled, and its DialBegin names no dialler.
"""

from pbxhub.calls.ami_events import Newchannel, Newstate
from pbxhub.calls.annotations import keep_variables
from pbxhub.calls.extensions import endpoint_of
from pbxhub.calls.hangups import refuse
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.plumbing import is_plumbing
from pbxhub.calls.ringing import leave_inside
from pbxhub.calls.state import StageKey, TrackedCall

_NO_NUMBER = ("", "s")  # Exten of a channel that was not reached by dialling a number


def on_newchannel(live: LiveCalls, message: Newchannel) -> None:
    party = message.channel
    if live.is_gone(party.uniqueid) or live.holds(party.uniqueid):
        return
    call = live.call_of(party.linkedid)
    if call is not None:
        live.adopt(call, party, message.time, begins=True)
    elif party.linkedid == party.uniqueid and (not is_plumbing(party.name) or party.name.startswith("Local/")):
        begin_call(live, message)


def begin_call(live: LiveCalls, message: Newchannel) -> None:
    party = message.channel
    call = TrackedCall(party.linkedid, party.uniqueid, message.time, message.time)
    call.channel, call.context, call.dst = party.name, party.context, message.exten
    call.caller, call.caller_name = party.number, message.caller_name
    live.begin(call)
    live.adopt(call, party, message.time, begins=True)
    if message.variables:
        keep_variables(call, message.variables)
    if message.state == "Ring" or message.exten not in _NO_NUMBER:
        arrive_by_context(live, call, message.time)


def on_newstate(live: LiveCalls, message: Newstate) -> None:
    """The first channel rings the PBX or was answered by it. Its context and numbers may not be known before now."""
    party = message.channel
    call = live.follow(party.uniqueid, party.linkedid, message.time)
    if call is None or party.uniqueid != call.first:
        return
    if message.refused:
        refuse(call)
    if message.refused or call.direction or call.originated:
        return
    if party.context in live.incoming:
        call.context, call.dst = party.context, message.exten or call.dst
        call.caller = party.number or call.caller
        channel = call.channels[party.uniqueid]
        channel.outside, channel.number = True, call.caller
        arrive_by_context(live, call, message.time)


def arrive_by_dialling(live: LiveCalls, call: TrackedCall, time: float) -> None:
    """The first channel dials or enters a queue, so it has arrived in the dialplan."""
    if not call.direction and not call.originated:
        arrive_by_context(live, call, time)


def arrive_by_context(live: LiveCalls, call: TrackedCall, time: float) -> None:
    if call.context in live.incoming and not is_plumbing(call.channel):
        live.learn_trunk(endpoint_of(call.channel))
        arrive(live, call, time)


def arrive(live: LiveCalls, call: TrackedCall, time: float) -> None:
    leave_inside(live, call, time)
    if call.move("arrives"):
        call.trunk = endpoint_of(call.channel)
        live.fire(call, "incoming.before", StageKey(), time)
