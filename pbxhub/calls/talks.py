"""Bridges tell who talks to the caller, where dialling does not.

* A question on the employee's leg (U() of Dial, FollowMe, a confirming ring group): DialEnd ANSWER, the question, and
  only when it was accepted BridgeEnter of the leg: so the pickup waits for the bridge.
* An agent who has logged in (AgentLogin) waits in a bridge of its own: BridgeEnter agent_hold. A call for the agent is
  BridgeEnter of that channel in the caller's bridge. Asterisk then gives the caller the agent's linkedid, which is the
  older one; the two stay two calls all the same.
* AMI Bridge, and a transfer that comes back to the transferer: a channel enters the caller's bridge without any dial.
"""

from pbxhub.calls.ami_events import Bridge
from pbxhub.calls.annotations import keep_variables
from pbxhub.calls.bridges import FOR_TWO, HOLDING
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.pickups import pickup
from pbxhub.calls.state import Channel, TrackedCall

_AGENT = "agent_hold"


def on_bridge(live: LiveCalls, message: Bridge) -> None:
    for_two = message.bridge if message.kind in FOR_TWO else ""
    if for_two:
        live.bridges.enter(message.uniqueid, for_two)
    else:
        live.bridges.leave(message.uniqueid)
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is None:
        return
    if message.variables:
        keep_variables(call, message.variables)
    channel = call.channels[message.uniqueid]
    channel.bridge = for_two
    if not message.bridge:
        return
    if message.kind == _AGENT and not call.direction:
        call.agent = True
        return
    channel.bridged = channel.bridged or message.kind not in HOLDING
    if call.agent:
        _serve(live, message)
    elif call.waiting or call.phase != "talking":
        connect(live, call, message.time)


def _serve(live: LiveCalls, message: Bridge) -> None:
    """An agent's channel has entered the bridge of a caller."""
    for other in live.bridges.others(message.uniqueid):
        call = live.of_channel(other)
        if call is not None and not call.agent:
            connect(live, call, message.time)


def connect(live: LiveCalls, call: TrackedCall, time: float) -> None:
    """Somebody has entered a bridge of this call: legs that were waiting for it are picked up, and without any dial
    whoever talks to a caller who has nobody else."""
    if call.direction != "incoming" or call.phase == "over":
        return
    for uniqueid, hop in list(call.waiting.items()):
        leg = call.channels.get(uniqueid)
        if leg is not None and leg.bridged:
            pickup(live, call, leg, hop, time)
    if call.phase != "talking":
        for other in talkers(live, call):
            if other.uniqueid != call.party:  # who has sent the caller on may still be in the bridge
                call.channels[other.uniqueid] = other
                pickup(live, call, other, other.hop or call.hop.number, time)


def talkers(live: LiveCalls, call: TrackedCall) -> list[Channel]:
    """The employees who can hear the caller, without those in a conference."""
    found: dict[str, Channel] = {}
    waiting, passed = [call.first], {call.first}
    while waiting:
        here = waiting.pop()
        for uniqueid in live.bridges.others(here):
            if uniqueid in passed:
                continue
            passed.add(uniqueid)
            channel = call.channels.get(uniqueid) or _agent(live, call, uniqueid)
            if channel is None:
                continue
            if channel.local and (pair := call.other_end(channel)) is not None:
                passed.add(pair.uniqueid)
                waiting.append(pair.uniqueid)
            elif not channel.plumbing:
                found[uniqueid] = channel
    return list(found.values())


def _agent(live: LiveCalls, call: TrackedCall, uniqueid: str) -> Channel | None:
    """The channel of an agent, as one of this call's own that does not keep it alive."""
    theirs = live.of_channel(uniqueid)
    if theirs is None or not theirs.agent or uniqueid not in theirs.channels:
        return None
    own = theirs.channels[uniqueid]
    return Channel(own.uniqueid, own.name, own.number, own.outside, own.started, lent=True)
