"""A call's notes as JSON and back, so that a restarted hub goes on where it was killed."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, get_origin

from pbxhub.calls.ami_headers import whole
from pbxhub.calls.dispositions import NO_ANSWER
from pbxhub.calls.stages import JSON, CallReport
from pbxhub.calls.state import Call, Channel

_CALL = {field.name: field for field in fields(Call) if field.name != "channels"}
_CHANNEL = {field.name: field for field in fields(Channel) if field.name != "noted"}
_FEW = 10  # channels of a call
_OF_A_HOP = ("incoming.forward", "incoming.pickup")
_KINDS: Mapping[Any, tuple[type, ...]] = {float: (float, int)}  # JSON does not tell 1.0 from 1


_call_notes, _channel_notes = attrgetter(*_CALL), attrgetter(*_CHANNEL)
_fresh, _fresh_channel = _call_notes(Call("", "")), _channel_notes(Channel("", ""))
_GROWING = {name for name, value in zip(_CALL, _fresh, strict=True) if isinstance(value, list | dict)}


def dump(call: Call) -> dict[str, JSON]:
    """Everything that differs from a fresh call, as JSON: every field of Call and Channel, whatever is added to them.

    What it returns stays as it is while the call goes on. Of a call of many channels, notes on those that have not
    changed since the last time are the same objects: one of 900 is noted hundreds of times.
    """
    pairs = zip(_CALL, _call_notes(call), _fresh, strict=True)
    notes = {name: value for name, value, fresh in pairs if value != fresh}
    for name in _GROWING & notes.keys():
        notes[name] = _copy(notes[name])
    many = len(call.channels) > _FEW
    notes["channels"] = [_note(channel, many) for channel in call.channels.values()]
    return notes


def _note(channel: Channel, keep: bool) -> dict[str, Any]:
    values = _channel_notes(channel)
    known, notes = channel.noted
    if values != known:
        pairs = zip(_CHANNEL, values, _fresh_channel, strict=True)
        notes = {name: value for name, value, fresh in pairs if value != fresh}
        if keep:
            channel.noted = values, notes
    return notes


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return list(value) if isinstance(value, list) else value


def load(notes: Mapping[str, JSON]) -> Call | None:
    """The call behind notes of dump(); None when they are not readable (written by another version)."""
    try:
        call = Call(**_fit(notes, _CALL))
        listed = notes["channels"]
        channels = [Channel(**_fit(item, _CHANNEL)) for item in listed if isinstance(item, dict)]  # type: ignore[union-attr]
    except (KeyError, TypeError, ValueError):
        return None
    call.channels = {channel.uniqueid: channel for channel in channels}
    return call


def _fit(notes: Mapping[str, JSON], known: Mapping[str, Any]) -> dict[str, Any]:
    """The notes that are still known fields; raises ValueError when one has the wrong type."""
    fitting = {name: _copy(value) for name, value in notes.items() if name in known}
    for name, value in fitting.items():
        kind = get_origin(known[name].type) or known[name].type
        if not isinstance(value, _KINDS.get(kind, kind)):
            raise ValueError(name)
    return fitting


def outline(known: CallReport, fired: Mapping[str, list[str]]) -> dict[str, JSON]:
    """Notes on an open call whose own are not readable, from what was reported of it: the next stock ends it, or it
    goes on with the channels that live and repeats no stage. fired: keys of the stages reported, by name."""
    started = known.started_on.timestamp()
    call = Call(known.linkedid, known.linkedid, started, started)
    call.direction = "" if known.direction == "internal" else known.direction
    call.caller, call.caller_name, call.dst = known.caller, known.caller_name, known.dst
    call.extension = known.extension
    call.answered = known.answered_on.timestamp() if known.answered_on else 0.0
    call.statuses = [NO_ANSWER] if call.extension else []
    for name, keys in fired.items():
        call.fired[name] = list(keys)
        if name in _OF_A_HOP:
            call.fired[name], hop = _with_hops(keys)
            call.hop = max(call.hop, hop)
    return dump(call)


def published_key(keys: Sequence[str]) -> str:
    """The last of these keys as it is published: "2:103" is "103", and "103#2" when 103 is among them before."""
    _, colon, destination = keys[-1].partition(":")
    if not colon:
        return keys[-1]
    times = sum(key.partition(":")[2] == destination for key in keys)
    return destination if times == 1 else f"{destination}#{times}"


def _with_hops(published: Sequence[str]) -> tuple[list[str], int]:
    """Keys that are published as these, and the hop of the last: whatever came again came in another hop."""
    keys: list[str] = []
    hop = 1
    for key in published:
        destination, mark, times = key.rpartition("#")
        again = bool(mark) and destination in published
        hop = max(hop, whole(times)) if again else hop
        keys.append(f"{hop}:{destination if again else key}")
    return keys, hop
