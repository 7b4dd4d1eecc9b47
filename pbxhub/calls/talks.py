"""Who talks to the caller, where only the bridges show it and the dials do not.

* A question on the employee's leg (U() of Dial, FollowMe, a confirming ring group): 1. DialEnd ANSWER; 2. the question;
  3. BridgeEnter of the leg, only when the employee has accepted. The pickup therefore waits for the bridge.
* A logged-in agent (AgentLogin) waits in a bridge of its own (BridgeEnter agent_hold). When a caller is connected, that
  channel enters the caller's bridge. Asterisk then gives the caller the agent's linkedid, because it is older; the hub
  still treats them as two calls.
* AMI Bridge, and a transfer that returns to the transferer: a channel enters the caller's bridge without a dial.
"""

from pbxhub.calls.ami_events import Bridge
from pbxhub.calls.annotations import keep_variables
from pbxhub.calls.answered_legs import pickup, talk_again
from pbxhub.calls.bridges import FOR_TWO, HOLDING
from pbxhub.calls.live_calls import LiveCalls
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
    channel.pressed = 0.0  # the code has begun a consultation
    if message.kind == _AGENT and not call.direction:
        call.agent = True
        return
    channel.bridged = channel.bridged or message.kind not in HOLDING
    if call.agent:
        _serve(live, message)
    elif (call.waiting or call.phase != "talking") and not _begins_transfer(call, channel):
        connect(live, call, message.time)


def _begins_transfer(call: TrackedCall, channel: Channel) -> bool:
    """Whether a consultation of a feature code (*2) is being put through to the caller: its Local channel, which nobody
    dialled, enters the caller's bridge. AttendedTransfer follows within a millisecond, and tells the stages."""
    consulted = channel.name.endswith(";1") and not channel.hop
    return call.direction == "incoming" and channel.local and consulted


def _serve(live: LiveCalls, message: Bridge) -> None:
    """An agent's channel has entered the bridge of a caller."""
    for other in live.bridges.others(message.uniqueid):
        call = live.of_channel(other)
        if call is not None and not call.agent:
            connect(live, call, message.time)


def connect(live: LiveCalls, call: TrackedCall, time: float) -> None:
    """A channel has entered a bridge of this call: the legs that waited for the bridge are picked up. If the caller
    talks to nobody yet, so is whoever shares the caller's bridge without having been dialled."""
    if call.direction == "outgoing" and any(not other.left for other in talkers(live, call, call.party)):
        talk_again(call)  # *8 on a queue member: Asterisk 16 sends no DialEnd
    caller = call.channels.get(call.first)
    if call.direction != "incoming" or call.phase == "over" or caller is None:
        return
    hung_up = call.hangup_by if caller.ended else ""  # this BridgeEnter comes late: the caller's channel overtook it
    for uniqueid, hop in list(call.waiting.items()):
        leg = call.channels.get(uniqueid)
        if leg is not None and leg.bridged and call.phase == "talking" and not leg.bridge:
            del call.waiting[uniqueid]  # Page: the first who answered has taken the call; others join the conference
        elif leg is not None and leg.bridged and (leg.bridge or not caller.ended):
            pickup(live, call, leg, hop, time)
    call.hangup_by = hung_up or call.hangup_by
    if call.phase != "talking" and not caller.ended:
        take_over(live, call, time)


def take_over(live: LiveCalls, call: TrackedCall, time: float) -> None:
    """Whoever shares the caller's bridge now talks to the caller. The one who transferred the caller, or has left, may
    still be in the bridge."""
    if call.direction != "incoming":
        return
    for other in talkers(live, call, call.first):
        if other.uniqueid != call.party:
            call.channels[other.uniqueid] = other
            pickup(live, call, other, other.hop or call.hop.number, time)


def talkers(live: LiveCalls, call: TrackedCall, listener: str) -> list[Channel]:
    """The real channels that a channel of this call hears; conferences do not count."""
    found: dict[str, Channel] = {}
    waiting, passed = [listener], {listener}
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
    """An agent's channel as a channel of this call; it does not keep the call alive."""
    theirs = live.of_channel(uniqueid)
    if theirs is None or not theirs.agent or uniqueid not in theirs.channels:
        return None
    own = theirs.channels[uniqueid]
    return Channel(own.uniqueid, own.name, own.number, own.outside, own.started, lent=True)
