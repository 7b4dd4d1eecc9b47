"""Compares what the hub reported with what the phones saw. Each difference is a sentence, and has a kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, zip_longest

from pbxhub.testing.random_calls.truth import Call, Line

_TALK_OFF = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Difference:
    """kind: "missing incoming.pickup"; differences of one kind are counted together. sentence: for people."""

    kind: str
    sentence: str


def differences(saw: Call, told: Sequence[Call], park: str = "") -> list[Difference]:
    """The differences; none when both agree. park: the parking extension; a transfer to it may precede the park."""
    staged = [call for call in told if call.lines and not _is_aside(saw, call)]
    if not saw.lines:
        return [_extra(call) for call in staged]
    mine = [call for call in staged if call.direction == saw.direction and _same_call(saw, call)]
    if not mine:
        return [Difference(f"no {saw.direction} call", f"not told: {_text(saw.lines)}"), *map(_extra, staged)]
    found = _of_stages(saw.lines, _without_parking(mine[0].lines, park))
    found = found or _of_end(saw, mine[0])
    return found + [_extra(call) for call in staged if call is not mine[0]]


def rough_differences(saw: Call, told: Sequence[Call]) -> list[Difference]:
    """The differences in direction, answered, who answered first, and disposition: what CEL alone must show."""
    staged = [call for call in told if call.lines and not _is_aside(saw, call)]
    mine = next((call for call in staged if saw.lines and _same_call(saw, call)), None)
    if not saw.lines:
        return [_extra(call) for call in staged]
    if mine is None:
        others = "; told ".join(_text(call.lines) or call.direction for call in told)
        return [Difference(f"no {saw.direction} call", f"not told: {_text(saw.lines)}; told {others or 'nothing'}")]
    one, other = _rough(saw), _rough(mine)
    return [] if one == other else [Difference("wrong outcome", f"saw {_text(one)}; told {_text(other)}")]


def _rough(call: Call) -> list[Line]:
    pickups = [line for line in call.lines if line.stage.endswith(".pickup")]
    return [Line(call.direction), *pickups[:1], *(line for line in call.lines if line.stage.endswith(".after"))]


def _same_call(saw: Call, told: Call) -> bool:
    return not told.lines or saw.lines[0].what[-1] == told.lines[0].what[-1]


def _is_aside(saw: Call, told: Call) -> bool:
    """Whether the call is a consultation with somebody outside, reported completely."""
    names = [line.stage for line in told.lines]
    whole = names in (["outgoing.before", "outgoing.after"], ["outgoing.before", "outgoing.pickup", "outgoing.after"])
    return whole and told.lines[0].what[-1] in saw.asides


def _extra(call: Call) -> Difference:
    return Difference(f"extra {call.direction} call", f"told of a call that nobody made: {_text(call.lines)}")


def _without_parking(lines: Sequence[Line], park: str) -> tuple[Line, ...]:
    return tuple(line for line in lines if line.what[:2] != ("blind_transfer", park))


def in_comparable_order(lines: Sequence[Line]) -> list[Line]:
    """Sorts phones that ring together, because their order is random."""
    ordered: list[Line] = []
    for ringing, group in groupby(lines, lambda line: line.what[:1] == ("ring",)):
        together = list(group)
        ordered += sorted(together, key=str) if ringing else together
    return ordered


def _of_stages(saw: Sequence[Line], told: Sequence[Line]) -> list[Difference]:
    one, other = in_comparable_order(saw), in_comparable_order(told)
    for mine, theirs in zip_longest(one, other):
        if mine != theirs:
            return [Difference(_kind(mine, theirs, one, other), f"saw {_text(one)}; told {_text(other)}")]
    return []


def _kind(mine: Line | None, theirs: Line | None, saw: Sequence[Line], told: Sequence[Line]) -> str:
    """The kind of the first line that differs: it is missing, extra, or has other values."""
    if mine is not None and theirs is not None and mine.stage == theirs.stage and len(saw) == len(told):
        return f"wrong {_name(mine)}"
    if theirs is None or (mine is not None and len(told) < len(saw)):
        return f"missing {_name(mine)}" if mine else "missing"
    return f"extra {_name(theirs)}"


def _name(line: Line) -> str:
    return f"{line.stage} {line.what[0]}" if line.stage == "incoming.forward" else line.stage


def _of_end(saw: Call, told: Call) -> list[Difference]:
    if saw.hangup_by != told.hangup_by:
        kind = f"hangup_by {told.hangup_by} instead of {saw.hangup_by}"
        return [Difference(kind, f"{saw.hangup_by} hung up; told {told.hangup_by}")]
    if (saw.talk is None) != (told.talk is None):
        return [Difference("wrong talk time", f"talked {saw.talk} s; told {told.talk}")]
    if saw.talk is None or told.talk is None or told.talk - _TALK_OFF <= saw.talk <= told.talk + 1 + _TALK_OFF:
        return []  # the hub reports whole seconds
    return [Difference("wrong talk time", f"talked {saw.talk:.1f} s; told {told.talk:.0f}")]


def _text(lines: Sequence[Line]) -> str:
    return " | ".join(map(str, lines))
