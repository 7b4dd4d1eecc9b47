"""A call drawn to scale: legs as bars, stages as marks, requests as dots. Pure: positions are per cent of the width."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent

_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600)  # seconds between two ticks
_MOST_TICKS = 6
_CALL_WIDTH = 92.0  # per cent; what follows the end of the call stands to the right of it, not to scale
_AFTER = 96.0
MOST_WEBHOOKS = 12


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of time. kind: ring or talk."""

    kind: str
    left: float
    width: float
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Lane:
    """The caller ("") or a leg: the extension or number that rang, and what it did when."""

    who: str
    status: str
    bars: tuple[Stretch, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A stage, at its time."""

    at: float
    event: StageEvent


@dataclass(frozen=True, slots=True)
class Dot:
    """A request, at the time it was made."""

    at: float
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Timeline:
    """Everything to draw. ticks: position and seconds since the call began. end: where the call ends; what followed
    (has_later) stands behind it. webhooks: the dots of each, the first MOST_WEBHOOKS of them; hidden: how many more
    there are."""

    ticks: tuple[tuple[float, int], ...]
    end: float
    lanes: tuple[Lane, ...]
    marks: tuple[Mark, ...]
    webhooks: tuple[tuple[str, tuple[Dot, ...]], ...]
    hidden: int

    @property
    def has_later(self) -> bool:
        dots = (dot.at for _name, dots in self.webhooks for dot in dots)
        return _AFTER in (*dots, *(mark.at for mark in self.marks))


@dataclass(frozen=True, slots=True)
class _Scale:
    start: datetime
    end: datetime

    @property
    def seconds(self) -> float:
        return max((self.end - self.start).total_seconds(), 1.0)

    def at(self, moment: datetime) -> float:
        share = (moment - self.start).total_seconds() / self.seconds
        return _AFTER if share > 1.02 else round(_CALL_WIDTH * min(max(share, 0.0), 1.0), 2)

    def bar(self, kind: str, start: datetime, end: datetime) -> Stretch:
        left = min(self.at(start), _CALL_WIDTH)
        return Stretch(kind, left, round(min(self.at(end), _CALL_WIDTH) - left, 2), start, end)


def timeline_of(
    call: Call, stages: Sequence[StageEvent], deliveries: Iterable[tuple[Delivery, str]], now: datetime
) -> Timeline:
    """The drawing of a call as far as it has come."""
    scale = _Scale(call.started_on, call.ended_on or now)
    dots: dict[tuple[int, str], list[Dot]] = {}
    for row, name in deliveries:
        dots.setdefault((row.webhook_id, name), []).append(Dot(scale.at(row.created_on), row))
    webhooks = tuple((name, tuple(found)) for (_id, name), found in dots.items())
    legs = call.data.get("legs")
    lanes = (_lane(scale, leg) for leg in (legs if isinstance(legs, list) else ()) if isinstance(leg, dict))
    return Timeline(
        _ticks(scale.seconds),
        _CALL_WIDTH,
        (_caller(scale, call), *(lane for lane in lanes if lane)),
        tuple(Mark(scale.at(event.created_on), event) for event in stages),
        webhooks[:MOST_WEBHOOKS],
        len(webhooks[MOST_WEBHOOKS:]),
    )


def _caller(scale: _Scale, call: Call) -> Lane:
    return Lane("", call.disposition, _rang_and_talked(scale, call.started_on, call.answered_on, scale.end))


def _lane(scale: _Scale, leg: Mapping[str, Any]) -> Lane | None:
    """None: a leg that never rang."""
    start, answer, end = (_moment(leg.get(name)) for name in ("start", "answer", "end"))
    if start is None:
        return None
    who = str(leg.get("extension") or leg.get("number") or "—")
    return Lane(who, str(leg.get("status") or ""), _rang_and_talked(scale, start, answer, end or scale.end))


def _rang_and_talked(scale: _Scale, start: datetime, answer: datetime | None, end: datetime) -> tuple[Stretch, ...]:
    if answer is None:
        return (scale.bar("ring", start, end),)
    return (scale.bar("ring", start, answer), scale.bar("talk", answer, max(end, answer)))


def _ticks(seconds: float) -> tuple[tuple[float, int], ...]:
    step = next((step for step in _STEPS if seconds / step <= _MOST_TICKS), int(seconds / _MOST_TICKS) + 1)
    return tuple((round(_CALL_WIDTH * tick / seconds, 2), tick) for tick in range(0, int(seconds) + 1, step))


def _moment(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
