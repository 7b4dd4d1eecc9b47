"""Details that a call collects: holds, its queue, the recording, channel variables."""

from collections.abc import Mapping
from dataclasses import replace

from pbxhub.calls.ami_events import Hold, MixMonitorStart, QueueCaller
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.state import Channel, Holds, QueueVisit, StageKey, TrackedCall

MOST_VARIABLES = 32
"""Per call; further ones are ignored."""


def keep_variables(call: TrackedCall, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        if name == "MIXMONITOR_FILENAME":
            if value and value != call.recording.file:
                call.recording = replace(call.recording, file=value)
        elif value and value != call.dialplan.variables.get(name):
            _keep_variable(call, name, value)


def _keep_variable(call: TrackedCall, name: str, value: str) -> None:
    kept = call.dialplan.variables
    if name in kept or len(kept) < MOST_VARIABLES:
        call.dialplan = replace(call.dialplan, variables={**kept, name: value})


def on_hold(live: LiveCalls, message: Hold) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is None or message.uniqueid not in (call.first, call.party):
        return
    channel = call.channels[message.uniqueid]
    if message.on and not channel.held:
        channel.held, call.holds = message.time, Holds(call.holds.count + 1, call.holds.seconds)
        _report_hold(live, call, "call.hold", message.time)
    elif not message.on:
        end_hold(live, call, channel, message.time)


def end_hold(live: LiveCalls, call: TrackedCall, channel: Channel, time: float) -> None:
    """Ends a hold: Unhold arrived, or the channel on hold has hung up."""
    if channel.held:
        call.holds = Holds(call.holds.count, call.holds.seconds + max(0.0, time - channel.held))
        channel.held = 0.0
        _report_hold(live, call, "call.unhold", time)


def _report_hold(live: LiveCalls, call: TrackedCall, name: str, time: float) -> None:
    if call.with_outside and call.phase != "over":
        number = len(call.fired.get(name, ())) + 1
        holds = {"hold_count": call.holds.count, "hold_time": int(call.holds.seconds)}
        live.fire(call, name, StageKey(0, str(number)), time, **holds)


def on_queue_caller(live: LiveCalls, message: QueueCaller) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is None:
        return
    joined = message.time if message.what == "joined" and not call.answered else call.queue.joined
    call.queue = QueueVisit(message.queue, joined, call.queue.wait)
    if message.what == "abandoned" and call.direction == "incoming" and call.phase != "over":
        live.fire(call, "incoming.abandoned", StageKey(0, message.queue), message.time)


def on_mix_monitor(live: LiveCalls, message: MixMonitorStart) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is not None:
        call.recording = replace(call.recording, started=True)
        keep_variables(call, message.variables)
