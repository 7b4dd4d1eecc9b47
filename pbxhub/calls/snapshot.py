"""Writes a call as JSON and reads it back, so that a restarted hub continues where it was killed."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from itertools import compress
from operator import attrgetter, ne
from typing import Any

from pbxhub.calls.ami_headers import whole
from pbxhub.calls.dispositions import NO_ANSWER
from pbxhub.calls.phases import PHASES, Phase
from pbxhub.calls.stages import JSON, CallReport
from pbxhub.calls.state import Channel, StageKey, TrackedCall

_FEW = 10  # channels of a call
_OF_A_HOP = ("incoming.forward", "incoming.pickup")
_APART = ("channels", "fired", "dumped", "plumbing", "local")
"""Fields that are written and read in their own way, or not at all."""

# The fields of TrackedCall by their names in snapshots of 0.1.0, which had no groups.
_FIELDS_OF_0_1_0: Mapping[str, tuple[str, str]] = {
    "hop": ("hop", "number"), "hop_times": ("hop", "times"), "connected": ("hop", "connected"),
    "redirecting": ("hop", "redirecting"), "named": ("hop", "destination"), "awaited": ("hop", "awaited"),
    "queue": ("queue", "name"), "queued": ("queue", "joined"), "queue_wait": ("queue", "wait"),
    "forward_kind": ("forward", "kind"), "forward_from": ("forward", "source"), "forward_to": ("forward", "to"),
    "transfer_type": ("transfer", "kind"), "transfer_from": ("transfer", "source"), "transfer_to": ("transfer", "to"),
    "hold_count": ("holds", "count"), "hold_time": ("holds", "seconds"),
    "cause": ("hangup", "code"), "cause_text": ("hangup", "text"),
    "recorded": ("recording", "started"), "recording_file": ("recording", "file"),
    "outward": ("dialplan", "outward"), "outcome": ("dialplan", "disposition"), "scheme": ("dialplan", "scheme"),
    "digits": ("dialplan", "digits"), "marked": ("dialplan", "marked"), "variables": ("dialplan", "variables"),
}  # fmt: skip


_JSON_KINDS: Mapping[type, tuple[type, ...]] = {float: (float, int), tuple: (list, tuple), type(None): (str,)}
"""Types accepted for a field; JSON does not distinguish 1.0 from 1. A field that is None takes a word as well."""


class _Kind:
    """The fields of a class, with their values in a fresh object."""

    def __init__(self, fresh: Any, apart: Collection[str] = ()) -> None:
        self.names = tuple(each.name for each in fields(fresh) if each.name not in apart)
        self.read: Callable[[Any], tuple[Any, ...]] = attrgetter(*self.names)
        self.fresh = fresh
        self._values = self.read(fresh)

    def filled(self, of: Any) -> dict[str, Any]:
        """The fields that are not empty."""
        values = self.read(of)
        return dict(compress(zip(self.names, values, strict=True), values))

    def changed(self, of: Any) -> dict[str, Any]:
        """The fields that differ from those of a fresh object; an empty value can be a difference."""
        values = self.read(of)
        if values == self._values:
            return {}
        return dict(compress(zip(self.names, values, strict=True), map(ne, values, self._values)))


_FRESH = TrackedCall("", "")
_GROUPS = {each.name: _Kind(group) for each in fields(_FRESH) if is_dataclass(group := getattr(_FRESH, each.name))}
_groups_of: Callable[[TrackedCall], tuple[Any, ...]] = attrgetter(*_GROUPS)
_CALL, _CHANNEL = _Kind(_FRESH, {*_APART, *_GROUPS}), _Kind(Channel("", ""), _APART)


def dump(call: TrackedCall) -> dict[str, JSON]:
    """Everything that differs from a fresh call, as JSON: every field of TrackedCall and Channel, new ones included.
    The channels are a table: the names of their fields once, then a row for each channel.

    The result does not change when the call does. Channels that have not changed since the last dump are the same rows
    in it, because a call of 900 channels is written hundreds of times.
    """
    notes = _CALL.filled(call)
    for (name, kind), group in zip(_GROUPS.items(), _groups_of(call), strict=True):
        if group is not kind.fresh and (changed := kind.changed(group)):
            notes[name] = changed
    if call.waiting:  # the only one of these fields that changes in place
        notes["waiting"] = dict(call.waiting)
    if call.fired:
        notes["fired"] = call.fired.copy()
    row_of = _CHANNEL.read if len(call.channels) <= _FEW else _row_again
    notes["channels"] = {"names": _CHANNEL.names, "rows": [*map(row_of, call.channels.values())]}
    return notes


def _row_again(channel: Channel) -> tuple[Any, ...]:
    """The same row as the last time, unless the channel has changed."""
    row = _CHANNEL.read(channel)
    if row != channel.dumped:
        channel.dumped = row
    return channel.dumped


def load(notes: Mapping[str, JSON]) -> TrackedCall | None:
    """The call that dump() wrote; None when it cannot be read (written by a later version)."""
    try:
        notes = notes if "phase" in notes else _from_0_1_0(notes)
        fresh = TrackedCall(str(notes["linkedid"]), str(notes["first"]))
        call = replace(fresh, **_read_fields(fresh, notes))
        call.phase = _phase_of(notes["phase"])
        call.fired = {name: _read_keys(keys) for name, keys in _table(notes.get("fired", {})).items()}
        call.channels = {channel.uniqueid: channel for channel in _read_channels(notes["channels"])}
    except (KeyError, TypeError, ValueError):
        return None
    return call


def _read_fields(of: Any, notes: Mapping[str, JSON]) -> dict[str, Any]:
    """The fields found in the notes; unknown names are ignored.

    of: an object with the fields, each with a value of its type. Raises ValueError when a value has the wrong type.
    """
    names = [each.name for each in fields(of) if each.name in notes and each.name not in _APART]
    return {name: _fitting(notes[name], getattr(of, name), name) for name in names}


def _fitting(value: JSON, now: Any, name: str) -> Any:
    """The value, when it has the type of the current one."""
    if is_dataclass(now) and not isinstance(now, type):
        return replace(now, **_read_fields(now, _table(value)))
    kinds = _JSON_KINDS.get(type(now), (type(now),))
    if not isinstance(value, kinds):
        raise ValueError(name)
    return tuple(value) if isinstance(value, list) else value


def _table(value: JSON) -> Mapping[str, JSON]:
    if not isinstance(value, dict):
        raise ValueError(value)
    return value


def _phase_of(value: JSON) -> Phase:
    if value not in PHASES:
        raise ValueError(value)
    return value  # type: ignore[return-value]


def _read_keys(keys: JSON) -> tuple[StageKey, ...]:
    """Raises ValueError when they are not pairs of a hop and a destination."""
    if not isinstance(keys, list | tuple):
        raise ValueError(keys)
    return tuple(map(_read_key, keys))


def _read_key(key: JSON) -> StageKey:
    if not isinstance(key, list | StageKey) or [*map(type, key)] != [int, str]:
        raise ValueError(key)
    return StageKey(*key)  # type: ignore[arg-type]


def _read_channels(written: JSON) -> Iterator[Channel]:
    """Raises ValueError when they are not channels."""
    for notes in _channels(written):
        fresh = Channel(str(notes["uniqueid"]), str(notes["name"]))
        yield replace(fresh, **_read_fields(fresh, notes))


def _channels(written: JSON) -> Iterator[Mapping[str, JSON]]:
    """Each channel's fields by name. Until 0.1.0 each channel was written with its names."""
    if isinstance(written, list):
        yield from map(_table, written)
    else:
        names, rows = (_table(written)[part] for part in ("names", "rows"))
        if not isinstance(names, list | tuple) or not isinstance(rows, list):
            raise ValueError(written)
        for row in rows:
            yield dict(zip(map(str, names), row, strict=True))  # type: ignore[arg-type]


def _from_0_1_0(notes: Mapping[str, JSON]) -> dict[str, JSON]:
    """Notes of 0.1.0 in today's form: groups, the phase, keys as pairs."""
    today: dict[str, Any] = {}
    for name, value in notes.items():
        group, field = _FIELDS_OF_0_1_0.get(name, ("", name))
        (today.setdefault(group, {}) if group else today)[field] = value
    today["channel_limit"] = today.pop("room", TrackedCall("", "").channel_limit)
    fired = {name: [_key_of_0_1_0(str(key)) for key in keys] for name, keys in _lists(notes.get("fired", {}))}
    if isinstance(channels := notes["channels"], list):
        today["channels"] = [_channel_of_0_1_0(_table(item)) for item in channels]
    return today | {"fired": fired, "phase": _phase_of_0_1_0(today, fired)}


def _lists(value: JSON) -> Iterable[tuple[str, list[JSON]]]:
    return ((name, keys) for name, keys in _table(value).items() if isinstance(keys, list))


def _key_of_0_1_0(text: str) -> list[JSON]:
    """ "2:103" was the 103 of the second hop; before, after and evaluation had no hop."""
    hop, colon, to = text.partition(":")
    return [whole(hop), to] if colon else [0, text]


def _channel_of_0_1_0(notes: Mapping[str, JSON]) -> dict[str, JSON]:
    return {"caller_id" if name == "shown" else name: value for name, value in notes.items()}


def _phase_of_0_1_0(notes: Mapping[str, Any], fired: Mapping[str, Sequence[Sequence[JSON]]]) -> Phase:
    """The phase, which 0.1.0 did not have, derived from the stages reported and the fields."""
    if notes.get("over"):
        return "over"
    hop = notes.get("hop", {}).get("number", 1)
    talks = notes.get("answered") and (notes.get("direction") != "incoming" or notes.get("hop", {}).get("connected"))
    if talks:
        return "talking"
    if hop > 1:
        return "sent_on"
    if notes.get("rung") or notes.get("direction") == "outgoing":
        return "ringing"
    return "arrived" if "incoming.before" in fired else "begun"


def outline(known: CallReport, fired: Mapping[str, list[str]]) -> dict[str, JSON]:
    """Notes on a call in progress whose own notes are unreadable, made from the stages reported. The next resync ends
    the call, or continues it with its live channels without repeating a stage. fired: keys of those stages, by name."""
    started = known.started_on.timestamp()
    call = TrackedCall(known.linkedid, known.linkedid, started, started)
    call.caller, call.caller_name, call.dst = known.caller, known.caller_name, known.dst
    call.extension = known.extension
    call.answered = known.answered_on.timestamp() if known.answered_on else 0.0
    call.statuses = (NO_ANSWER,) if call.extension else ()
    _repeat_moves(call, known)
    for name, keys in fired.items():
        call.fired[name] = tuple(StageKey(0, key) for key in keys)
        if name in _OF_A_HOP:
            call.fired[name], hop = _with_hops(keys)
            call.hop.number = max(call.hop.number, hop)
    return dump(call)


def _repeat_moves(call: TrackedCall, known: CallReport) -> None:
    """Brings the call into the phase of its last report."""
    if known.direction != "internal":
        call.move("arrives" if known.direction == "incoming" else "departs")
    if known.answered_on:
        call.move("is_answered")


def published_key(keys: Sequence[StageKey]) -> str:
    """The last of these keys as published: the destination; "103#2" when 103 is in the list already."""
    to = keys[-1].to
    if len(keys) == 1:
        return to
    times = [key.to for key in keys].count(to)
    return to if times == 1 else f"{to}#{times}"


def _with_hops(published: Sequence[str]) -> tuple[tuple[StageKey, ...], int]:
    """The keys that were published as these, and the hop of the last one. A repeated destination was in a later hop."""
    keys: list[StageKey] = []
    hop = 1
    for key in published:
        destination, mark, times = key.rpartition("#")
        again = bool(mark) and destination in published
        hop = max(hop, whole(times)) if again else hop
        keys.append(StageKey(hop, destination if again else key))
    return tuple(keys), hop
