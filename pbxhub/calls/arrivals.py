"""The first channel of a call comes, and with it the stage incoming.before when it comes from outside."""

from pbxhub.calls.ami_events import Newchannel
from pbxhub.calls.annotations import keep_variables
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.state import Call, StageKey, endpoint_of


def on_newchannel(live: LiveCalls, message: Newchannel) -> None:
    party = message.channel
    if live.is_gone(party.uniqueid) or live.holds(party.uniqueid):
        return
    call = live.call_of(party.linkedid)
    if call is not None:
        live.adopt(call, party, message.time)
    elif party.linkedid == party.uniqueid:
        begin_call(live, message)


def begin_call(live: LiveCalls, message: Newchannel) -> Call:
    """The first channel of a call decides whether it comes from outside: an incoming context, and it rings us."""
    party = message.channel
    call = Call(party.linkedid, party.uniqueid, message.time, message.time)
    call.channel, call.context, call.dst = party.name, party.context, message.exten
    call.caller, call.caller_name = party.number, message.caller_name
    call.originated = message.state != "Ring"
    live.begin(call)
    live.adopt(call, party, message.time)
    keep_variables(call, message.variables)
    if party.context in live.incoming and not call.originated:
        live.learn_trunk(endpoint_of(call.channel))
        arrive(live, call, message.time)
    return call


def arrive(live: LiveCalls, call: Call, time: float) -> None:
    if call.move("arrives"):
        call.trunk = endpoint_of(call.channel)
        live.fire(call, "incoming.before", StageKey(), time)
