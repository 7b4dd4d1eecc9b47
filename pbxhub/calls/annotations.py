"""What is noted of a call on the way: hold, queue, recording, channel variables."""

from collections.abc import Mapping

from pbxhub.calls.ami_events import Hold, MixMonitorStart, QueueCaller
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.state import Call

MOST_VARIABLES = 32
"""Per call; of more the first are kept."""


def note_variables(call: Call, variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        if name == "MIXMONITOR_FILENAME":
            call.recording_file = value or call.recording_file
        elif value and (name in call.variables or len(call.variables) < MOST_VARIABLES):
            call.variables[name] = value


def on_hold(live: LiveCalls, message: Hold) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is None or message.uniqueid not in (call.first, call.party):
        return
    channel = call.channels[message.uniqueid]
    if message.on and not channel.held:
        channel.held, call.hold_count = message.time, call.hold_count + 1
    elif not message.on and channel.held:
        call.hold_time, channel.held = call.hold_time + max(0.0, message.time - channel.held), 0.0


def on_queue_caller(live: LiveCalls, message: QueueCaller) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is None:
        return
    call.queue = message.queue
    if message.joined and not call.answered:
        call.queued = message.time


def on_mix_monitor(live: LiveCalls, message: MixMonitorStart) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    if call is not None:
        call.recorded = True
        note_variables(call, message.variables)
