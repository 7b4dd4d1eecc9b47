"""Channels come, dial, are answered and hang up: before, ring, diversion, redirect, pickup and the end."""

from pbxhub.calls.ami_events import Bridge, Cdr, DialBegin, DialEnd, Hangup, HangupRequest, Newchannel
from pbxhub.calls.annotations import note_variables
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.state import Call, Channel, dialled_number, endpoint_of, same_number


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
    note_variables(call, message.variables)
    if party.context in live.incoming and not call.originated:
        live.learn_trunk(endpoint_of(call.channel))
        arrive(live, call, message.time)
    return call


def arrive(live: LiveCalls, call: Call, time: float) -> None:
    call.direction, call.trunk = "incoming", endpoint_of(call.channel)
    live.fire(call, "incoming.before", "", time)


def on_dial_begin(live: LiveCalls, message: DialBegin) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time) or live.call_of(message.dest.linkedid)
    dest = live.adopt(call, message.dest, message.time) if call is not None else None
    if call is None or dest is None or dest.hop:
        return
    dialler = call.channels.get(message.uniqueid)
    if dest.outside and not dest.local:
        live.learn_trunk(endpoint_of(dest.name))
    if call.outward and not dest.local and not call.direction:
        dest.outside = True  # as the dialplan said; of the endpoint that tells nothing
    if dest.outside:
        dest.number, dest.shown = dialled_number(message.dial_string) or dest.number, message.number
    if message.uniqueid == call.first and call.connected and call.direction == "incoming":
        call.redirecting = next_hop(call, message.time) or call.redirecting
    dest.parent, dest.hop = message.uniqueid, _hop_of(call, dialler)
    if dest.local:
        _behind(live, call, dest, message.time)
        return
    if not message.uniqueid or (dialler is not None and call.origin(dialler).uniqueid == call.first):
        _dialled(live, call, dest, message.time)


def _hop_of(call: Call, dialler: Channel | None) -> int:
    """A leg belongs to the hop of the caller's dial; behind a Local channel to the hop that one was dialled in."""
    if dialler is None or dialler.uniqueid == call.first:
        return call.hop
    return call.near_end(dialler).hop or call.hop


def _dialled(live: LiveCalls, call: Call, dest: Channel, time: float) -> None:
    """A leg of the call's own."""
    dest.leg = True
    if not call.direction and dest.outside:
        depart(live, call, dest, dest.shown, time)
    elif call.direction == "incoming":
        ring(live, call, dest, time)
    elif call.direction != "outgoing" or dest.outside:
        call.dst_channel = dest.name
        call.rung = call.rung or dest.number
        if call.direction == "outgoing":
            call.trunk = endpoint_of(dest.name)


def _behind(live: LiveCalls, call: Call, local: Channel, time: float) -> None:
    """The legs behind a Local channel are told by who dialled it; they may have begun before that was known."""
    if call.direction == "incoming":
        live.touch(call)  # a restart must not lose whose Local channel this is
    for leg in list(call.channels.values()):
        if not leg.local and leg.hop and not leg.leg and _rings_for_caller(call, leg, local):
            leg.hop = local.hop
            _dialled(live, call, leg, time)
            if leg.answered:
                _answered(live, call, leg, leg.answered, ours=True)


def _rings_for_caller(call: Call, leg: Channel, local: Channel) -> bool:
    dialler = call.channels.get(leg.parent)
    if dialler is None or call.near_end(dialler) is not local:
        return False
    return call.origin(dialler).uniqueid == call.first


def ring(live: LiveCalls, call: Call, dest: Channel, time: float) -> None:
    """A leg of the caller's own rings: a ring, or the first of a redirect."""
    call.dst_channel, call.rung = dest.name, dest.number
    if dest.outside and dest.hop == call.hop and same_number(call.named, dest.number):
        return  # the destination of the transfer, as the dialplan dials it
    if call.redirecting and call.redirecting == dest.hop:
        call.redirecting = 0
        forward(live, call, "redirect", dest.number, call.extension, dest.hop, time)
    else:
        forward(live, call, "ring", dest.number, "", dest.hop, time)


def depart(live: LiveCalls, call: Call, dest: Channel, our_number: str, time: float) -> None:
    """The first leg towards a trunk makes a call outgoing."""
    call.direction = "outgoing"
    call.trunk, call.dst_channel = endpoint_of(dest.name), dest.name
    call.caller = call.dst = dest.number
    call.caller_name, call.outbound_number = "", our_number
    call.extension, call.answered, call.party, call.rung = _employee(call), 0.0, "", ""
    dest.leg, call.statuses = True, []
    live.fire(call, "outgoing.before", "", time)


def _employee(call: Call) -> str:
    """Who calls out: the first channel's owner, or with Originate whoever was rung first and took it."""
    own = [channel for channel in call.channels.values() if not channel.local and not channel.outside]
    ready = [channel for channel in own if channel.uniqueid == call.first or channel.answered]
    return ready[0].number if ready else ""


def next_hop(call: Call, time: float) -> int:
    """Begins the next hop and returns its number; 0 when the message behind it has been seen before."""
    if time in call.hop_times:
        return 0
    call.hop += 1
    call.hop_times = [*call.hop_times[-7:], time]
    call.connected, call.redirecting, call.awaited, call.named = False, 0, "", ""
    return call.hop


def forward(live: LiveCalls, call: Call, kind: str, to: str, source: str, hop: int, time: float) -> None:
    """A destination fires once per hop; the one that a transfer named does not fire again when it rings."""
    key = f"{hop}:{to}"
    if call.over or key in call.fired.get("incoming.forward", ()):
        return
    call.forward_kind, call.forward_from, call.forward_to = kind, source, to
    if kind != "ring":
        call.named = to
    step = len(call.fired.get("incoming.forward", ())) + 1
    extension = source if kind == "park" else to
    live.fire(call, "incoming.forward", key, time, forward_step=step, extension=extension)


def on_dial_end(live: LiveCalls, message: DialEnd) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    other = live.of_channel(message.dest.uniqueid)
    if call is None:
        call = other or live.call_of(message.dest.linkedid)
    elif other is not None and other is not call:
        call = live.merge(call, other, message.time)  # *8: the one who took it came with a call of its own
    dest = live.adopt(call, message.dest, message.time) if call is not None else None
    if call is None or dest is None or dest.status:
        return
    dest.status = message.status or "CANCEL"
    dialler = call.channels.get(message.uniqueid)
    if message.status == "ANSWER":
        call.connected = call.connected or message.uniqueid == call.first
        ours = dialler is not None and call.origin(dialler).uniqueid == call.first
        if not dest.local:
            _answered(live, call, dest, message.time, ours)
    elif message.forward and dest.leg and call.direction == "incoming":
        next_hop(call, message.time)
        forward(live, call, "diversion", dialled_number(message.forward), dest.number, call.hop, message.time)


def _answered(live: LiveCalls, call: Call, dest: Channel, time: float, ours: bool) -> None:
    dest.answered = time
    if call.direction == "incoming":
        if call.awaited and dest.number == call.awaited:
            pickup(live, call, dest, call.hop, time)
        elif ours:
            pickup(live, call, dest, dest.hop or call.hop, time)
    elif call.direction == "outgoing" and not dest.outside:
        call.extension = call.extension or dest.number
    else:
        _outgoing_answered(live, call, dest, time)


def _outgoing_answered(live: LiveCalls, call: Call, dest: Channel, time: float) -> None:
    if not dest.leg:
        return
    _talks(call, dest, time)
    if call.direction == "outgoing":
        call.trunk = endpoint_of(dest.name)
        live.fire(call, "outgoing.pickup", "", time)
    else:
        call.extension = dest.number


def _talks(call: Call, dest: Channel, time: float) -> None:
    if not call.answered:
        call.answered, call.ring_time = time, max(0.0, time - dest.started)
        call.queue_wait = max(0.0, time - call.queued) if call.queued else 0.0
    call.party, call.dst_channel, call.hangup_by = dest.uniqueid, dest.name, ""


def pickup(live: LiveCalls, call: Call, dest: Channel, hop: int, time: float) -> None:
    """The caller talks to a new party."""
    if call.direction != "incoming" or call.over:
        return
    dest.leg, dest.answered = True, dest.answered or time
    call.awaited = ""
    _talks(call, dest, time)
    call.extension = dest.number
    live.fire(call, "incoming.pickup", f"{hop}:{dest.number}", time)


def on_bridge(live: LiveCalls, message: Bridge) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is not None and message.variables:
        note_variables(call, message.variables)


def on_hangup_request(live: LiveCalls, message: HangupRequest) -> None:
    """Who hung up first: the caller (the outside party) or the employee who talks to it."""
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is None or call.hangup_by or call.over:
        return
    channel = call.channels[message.uniqueid]
    if message.uniqueid in (call.first, call.party) or (call.direction == "outgoing" and not channel.local):
        from_outside = channel.outside if call.direction == "outgoing" else message.uniqueid == call.first
        call.hangup_by = "caller" if from_outside else "employee"


def on_hangup(live: LiveCalls, message: Hangup) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is None:
        return
    channel = call.channels[message.uniqueid]
    if channel.ended:
        return
    note_variables(call, message.variables)
    channel.ended, channel.cause = message.time, message.cause
    if channel.held:
        call.hold_time, channel.held = call.hold_time + max(0.0, message.time - channel.held), 0.0
    if message.uniqueid == call.first or call.cause < 0:
        call.cause, call.cause_text = message.cause, message.cause_text
    if not call.alive():
        real = [other.ended for other in call.channels.values() if not other.local]
        call.hangup_by = call.hangup_by or "pbx"
        live.end(call, max(real, default=message.time), "hangup")


def on_cdr(live: LiveCalls, message: Cdr) -> None:
    call = live.of_channel(message.uniqueid)
    if call is not None and message.recording:
        call.recording_file = call.recording_file or message.recording
