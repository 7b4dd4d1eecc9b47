"""The resync after every (re)connect: compares the live channels with the calls in progress.

The order matters: 1. calls whose channels are gone end; 2. live channels join their calls, or begin new ones; 3. the
bridges are rebuilt; 4. stages missed meanwhile are fired. Ending first frees the channel names of a restarted Asterisk;
a pickup (4) is only right once it is known who shares a bridge (3). tests/test_go_on_after_a_restart.py
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Literal

from pbxhub.calls.ami_events import Party, Status
from pbxhub.calls.annotations import keep_variables
from pbxhub.calls.answered_legs import pickup
from pbxhub.calls.arrivals import arrive
from pbxhub.calls.dialling import depart
from pbxhub.calls.extensions import endpoint_of
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.phone_numbers import dialled_number, is_hidden
from pbxhub.calls.plumbing import is_plumbing
from pbxhub.calls.ringing import stop_ringing, stop_waiting
from pbxhub.calls.sending_on import next_hop, ring
from pbxhub.calls.state import Channel, EndReason, StageKey, TrackedCall
from pbxhub.calls.talks import connect

Loss = Literal["lost_while_disconnected", "pbx_restarted"]
_SAME_START = 3  # seconds by which two readings of one start may differ: Uptime is whole, clocks are adjusted
_STARTED = re.compile(r"(?:^|-)([0-9]{10}\.)[0-9]+$")
_DIALLED = ("AppDial", "AppDial2", "AppQueue")
_CALLED_BACK = "AppDial2"
_TELLING = {"MIXMONITOR_FILENAME"}  # those variables in the answer to Status that events would have reported
_AGENT = "AgentLogin"
_NOT_FOR_TWO = ("Park", "ConfBridge", "MeetMe", "Page")
_KEEP_ANI = ("PJSIP/", "SIP/")  # drivers whose ANI is the number shown at first; IAX2 has somebody else's


def why_gone(
    last_start: datetime | None, started_on: datetime | None, restarted: bool | None, lives_on: bool = False
) -> Loss:
    """Why calls in progress have disappeared: Asterisk restarted, or they ended while the hub was disconnected.

    last_start, started_on: when Asterisk said it had started, at the last connection and now. restarted: whether
    Asterisk itself reported a restart; None when it reported nothing. lives_on: whether a channel that was known when
    the connection broke is still there: then only Asterisk's clock was set.
    """
    if lives_on:
        return "lost_while_disconnected"
    if restarted is None and last_start and started_on:
        restarted = (started_on - last_start).total_seconds() > _SAME_START
    return "pbx_restarted" if restarted else "lost_while_disconnected"


def take_stock(
    live_calls: LiveCalls, channels: Sequence[Status], now: float, reason: EndReason, gone_by: float
) -> None:
    """Ends the calls that are gone (at gone_by at the latest), begins new ones, and fires what the others missed."""
    live = _by_uniqueid(channels)
    for call in live_calls.each():
        _end_what_is_gone(live_calls, call, live, min(now, gone_by), reason)
    joined = [
        (_join(live_calls, linkedid, group, now), group) for linkedid, group in _by_linkedid(live.values()).items()
    ]
    _see_bridges(live_calls, live.values())
    for call, group in joined:
        call.seen = max(call.seen, now)
        _make_up(live_calls, call, group, now)
        connect(live_calls, call, now)


def unknown_channels(live_calls: LiveCalls, channels: Sequence[Status]) -> list[Status]:
    """The live channels whose calls are not followed, without the logins of agents, which may be days old, and
    plumbing."""
    agents = {status.channel.linkedid for status in channels if status.application == _AGENT}
    return [
        status
        for status in _by_uniqueid(channels).values()
        if status.channel.linkedid not in agents and not _is_known(live_calls, status.channel)
    ]


def _is_known(live_calls: LiveCalls, party: Party) -> bool:
    return live_calls.holds(party.uniqueid) or live_calls.knows(party.linkedid)


def _by_uniqueid(channels: Iterable[Status]) -> dict[str, Status]:
    """When Status and CoreShowChannels both list a channel, the entry that names its bridge wins. Plumbing belongs to
    no call, except Local channels, which lead to one."""
    live: dict[str, Status] = {}
    for status in channels:
        if is_plumbing(status.channel.name) and not status.channel.name.startswith("Local/"):
            continue
        known = live.get(status.channel.uniqueid)
        if known is None or (status.bridge and not known.bridge):
            live[status.channel.uniqueid] = status
    return live


def _by_linkedid(channels: Iterable[Status]) -> dict[str, list[Status]]:
    """Oldest first. The caller of an agent has the linkedid of the agent's login, which is another call: such a call is
    listed under its own oldest channel."""
    oldest_first = sorted(channels, key=lambda status: -status.seconds)
    agents = {status.channel.linkedid for status in oldest_first if status.application == _AGENT}
    renamed: dict[str, str] = {}
    groups: dict[str, list[Status]] = {}
    for status in oldest_first:
        linkedid = status.channel.linkedid
        if linkedid in agents and status.application != _AGENT:
            linkedid = renamed.setdefault(linkedid, status.channel.uniqueid)
        groups.setdefault(linkedid, []).append(status)
    return groups


def _see_bridges(live_calls: LiveCalls, channels: Iterable[Status]) -> None:
    """Records who talks to whom now. An agent alone, a parked caller and a conference are no conversation of two."""
    together: dict[str, list[Status]] = {}
    for status in channels:
        if status.bridge and status.application not in _NOT_FOR_TWO:
            together.setdefault(status.bridge, []).append(status)
    live_calls.bridges.clear()
    for bridge, members in together.items():
        if any(status.application != _AGENT for status in members):
            for status in members:
                _enter(live_calls, status.channel.uniqueid, bridge)


def _enter(live_calls: LiveCalls, uniqueid: str, bridge: str) -> None:
    live_calls.bridges.enter(uniqueid, bridge)
    call = live_calls.of_channel(uniqueid)
    if call is not None:
        channel = call.channels[uniqueid]
        channel.bridge, channel.bridged = bridge, True


def _end_what_is_gone(
    live_calls: LiveCalls, call: TrackedCall, live: Mapping[str, Status], gone_by: float, reason: EndReason
) -> None:
    ended = max(call.seen, gone_by)
    for uniqueid, channel in call.channels.items():
        if uniqueid not in live and not channel.ended:
            channel.ended = ended
            stop_waiting(call, channel)
            stop_ringing(live_calls, call, channel)
    outlined = not call.channels and any(status.channel.linkedid == call.linkedid for status in live.values())
    if not call.alive() and not outlined:
        live_calls.end(call, ended, reason)


def _join(live_calls: LiveCalls, linkedid: str, group: Sequence[Status], now: float) -> TrackedCall:
    call: TrackedCall | None = None
    for status in group:
        call = live_calls.follow(status.channel.uniqueid, linkedid, call.seen if call else 0.0) or call
    call = call or live_calls.call_of(linkedid) or _begin(live_calls, linkedid, group, now)
    for status in group:
        keep_variables(call, {name: status.variables[name] for name in _TELLING & status.variables.keys()})
        channel = live_calls.adopt(call, status.channel, _started(status, now))
        if channel is not None and status.state == "Ringing" and status.channel.uniqueid == call.first == linkedid:
            call.originated, channel.leg = True, True  # Asterisk itself rings it, so its outcome is the call's outcome
        if channel is not None and not channel.hop and channel.uniqueid != call.first:
            channel.outside = channel.outside or _dialled_out(live_calls, channel, status)
            channel.number = _whom(call, status) if channel.outside else channel.number
        if channel is not None and channel.local and not channel.hop and status.application in _DIALLED:
            channel.hop, channel.parent = call.hop.number, call.first
    _know_dialler(call, group)
    return call


def _know_dialler(call: TrackedCall, group: Sequence[Status]) -> None:
    """The far end of the only pair of Local channels has dialled the phones that are younger: an employee asks a
    colleague, for example, who may still refuse."""
    here = [(status, call.channels[uid]) for status in group if (uid := status.channel.uniqueid) in call.channels]
    far = [channel for _, channel in here if channel.local and channel is not call.near_end(channel)]
    for status, channel in here:
        dialled = status.application in _DIALLED and not channel.plumbing and not channel.parent
        if len(far) == 1 and dialled and _serial(channel) > _serial(far[0]):
            channel.parent = far[0].uniqueid


def _serial(channel: Channel) -> int:
    """Asterisk numbers its channels."""
    number = channel.uniqueid.rpartition(".")[2]
    return int(number) if number.isdecimal() else 0


def _dialled_out(live_calls: LiveCalls, channel: Channel, status: Status) -> bool:
    """Whether a trunk was dialled whose channel is in a context of FreePBX's subroutines."""
    return status.application in _DIALLED and not channel.plumbing and endpoint_of(channel.name) in live_calls.trunks


def _whom(call: TrackedCall, status: Status) -> str:
    """The number that an outside leg was dialled for; empty when unknown, because the leg may show the caller's number
    or the DID."""
    dialled = dialled_number(status.variables.get("DIALEDPEERNUMBER", ""))
    shows_another = call.direction == "incoming" and status.channel.number in (call.caller, call.dst)
    return dialled or ("" if shows_another else status.channel.number)


def _begin(live_calls: LiveCalls, linkedid: str, group: Sequence[Status], now: float) -> TrackedCall:
    first = next((status for status in group if status.channel.uniqueid == linkedid), group[0])
    started = _started(first, now)
    call = TrackedCall(linkedid, first.channel.uniqueid, started, started)
    call.channel, call.context, call.caller = first.channel.name, first.channel.context, _caller(first)
    call.caller_name, call.dst = first.caller_name, first.exten
    live_calls.begin(call)
    channel = live_calls.adopt(call, first.channel, started)
    call.agent = first.application == _AGENT
    if channel is not None and not channel.plumbing and _comes_in(live_calls, call, first):
        channel.outside, channel.number = True, call.caller
        live_calls.learn_trunk(endpoint_of(channel.name))
        arrive(live_calls, call, started)
    return call


def _caller(first: Status) -> str:
    """The number that the channel came with. It may show another one by now: the dialplan of FreePBX sets the company's
    number when the call is sent out over a trunk."""
    came_with = first.variables.get("CALLERID(ANI)", "") if first.channel.name.startswith(_KEEP_ANI) else ""
    if came_with:
        return "" if is_hidden(came_with) else came_with
    return first.channel.number


def _comes_in(live_calls: LiveCalls, call: TrackedCall, first: Status) -> bool:
    """Status reports the current context only, so a call that has gone on to a queue or IVR is recognised by its
    trunk."""
    if first.application in _DIALLED:
        return False
    by_trunk = endpoint_of(call.channel) in live_calls.trunks and first.channel.uniqueid == call.linkedid
    return first.channel.context in live_calls.incoming or (by_trunk and bool(first.dnid))


def _started(status: Status, now: float) -> float:
    """The uniqueid begins with the second in which the channel was created, unless somebody has set it."""
    guess = now - status.seconds
    found = _STARTED.search(status.channel.uniqueid)
    made = float(found[1]) if found else 0.0
    return made if abs(made - guess) < 5.0 else guess


def _make_up(live_calls: LiveCalls, call: TrackedCall, group: Sequence[Status], now: float) -> None:
    """Fires the stages of legs that ring or talk and have not been reported."""
    here = next((status for status in group if status.channel.uniqueid == call.first), None)
    picked_up = call.fired.get("incoming.pickup", ())
    call.hop.connected = call.hop.connected or any(key.hop == call.hop.number for key in picked_up)
    for status in group:
        leg = call.channels.get(status.channel.uniqueid)
        if leg is None or leg.plumbing or leg.uniqueid == call.first:
            continue
        dialled = status.state != "Down" or bool(leg.number)  # otherwise its DialBegin follows and names it
        if not call.direction and leg.outside and dialled:
            depart(live_calls, call, leg, status.connected, now)
        if call.direction == "incoming" and here is not None and _with_caller(call, status, here):
            _caller_leg(live_calls, call, leg, status, now)
        elif call.direction == "outgoing" and leg.outside:
            leg.leg = True
            if status.state == "Up" and status.bridge and not leg.answered:
                _outgoing_talks(live_calls, call, leg, now)
        elif status.state == "Up" and not leg.answered:
            leg.answered = now  # a consultation that may become a transfer; or *8, whose DialEnd follows


def _with_caller(call: TrackedCall, status: Status, here: Status) -> bool:
    """Whether it is bridged with the caller or shows the caller's number, first or last; a consultation shows the
    colleague's."""
    if status.bridge and status.bridge == here.bridge:
        return True
    return bool(status.connected) and status.connected in (call.caller, here.channel.number)


def _caller_leg(live_calls: LiveCalls, call: TrackedCall, leg: Channel, status: Status, now: float) -> None:
    if not leg.leg:
        before = call.channels.get(call.party)
        reported = call.has_fired("incoming.pickup", StageKey(call.hop.number, leg.number))  # restored from an outline
        if call.hop.connected and (before.ended if before else not reported) and next_hop(call, now):
            call.hop.redirecting = call.hop.number
        leg.leg, leg.hop = True, call.hop.number
        if _dialled_itself(leg, status):
            call.hop.redirecting = 0
        elif _took_over(leg, status):
            _ring_another(live_calls, call, leg, status, now)
        else:
            ring(live_calls, call, leg, now)
    if status.state == "Up" and not leg.answered:
        leg.status = "ANSWER"
        _answered(live_calls, call, leg, bool(status.bridge), now)


def _dialled_itself(leg: Channel, status: Status) -> bool:
    """Whether an employee came to the caller by dialling, to a parking slot or to Bridge of the dialplan, or Asterisk
    has called back whoever transferred the caller: the dialplan rang nobody."""
    if leg.outside:
        return False
    return status.application == _CALLED_BACK or (bool(status.dnid) and status.application not in _DIALLED)


def _took_over(leg: Channel, status: Status) -> bool:
    """Whether an employee took the call by *8. Asterisk lets the employee's channel take the place of the one that
    rang: it has what that one was dialled with, and still the number dialled by itself, which no dialled phone has."""
    return not leg.outside and bool(status.dnid) and status.application in _DIALLED


def _ring_another(live_calls: LiveCalls, call: TrackedCall, leg: Channel, status: Status, now: float) -> None:
    """The phone rang whose call this leg took over."""
    endpoint = re.split("[/@]", status.variables.get("DIALEDPEERNUMBER", ""))[0]
    if endpoint:
        ring(live_calls, call, replace(leg, number=live_calls.extensions.of(endpoint, "")), now)


def _answered(live_calls: LiveCalls, call: TrackedCall, leg: Channel, bridged: bool, now: float) -> None:
    """Answered but in no bridge yet: the phone is being asked something, or BridgeEnter follows."""
    if bridged:
        call.hop.connected = True
        pickup(live_calls, call, leg, leg.hop or call.hop.number, now)
    else:
        leg.answered = now
        call.waiting[leg.uniqueid] = leg.hop or call.hop.number


def _outgoing_talks(live_calls: LiveCalls, call: TrackedCall, leg: Channel, now: float) -> None:
    leg.answered, leg.status = now, "ANSWER"
    call.move("is_answered")
    call.answered, call.party, call.talk_ended = call.answered or now, leg.uniqueid, 0.0
    call.trunk, call.dst_channel = endpoint_of(leg.name), leg.name
    live_calls.fire(call, "outgoing.pickup", StageKey(), now)
