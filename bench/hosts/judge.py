"""What the receiver got compared with what was played and what was acknowledged. Pure: tests/test_judge_many_hosts.py.

A moment is what one request tells: "<linkedid> <stage>".
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request. at: by time.time()."""

    moment: str
    webhook_id: str
    at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """lost: had to arrive and never did. doubled: arrived under several webhook-ids. strangers: nobody played them.
    repeated: how many requests arrived again with the same webhook-id, which is allowed."""

    played: int
    acknowledged: int
    delivered: int
    repeated: int
    lost: Sequence[str]
    doubled: Sequence[str]
    strangers: Sequence[str]

    @property
    def is_sound(self) -> bool:
        return not (self.lost or self.doubled or self.strangers)

    def __str__(self) -> str:
        wrong = {name: getattr(self, name) for name in ("lost", "doubled", "strangers")}
        counts = ", ".join(f"{len(found)} {name}" for name, found in wrong.items())
        examples = "".join(f"\n  {name}: {', '.join(found[:5])}" for name, found in wrong.items() if found)
        return (
            f"{self.played} stages played, {self.acknowledged} acknowledged, {self.delivered} delivered, "
            f"{self.repeated} repeated with the same webhook-id; {counts}{examples}"
        )


def judge(
    played: Mapping[str, float],
    acknowledged: Iterable[str],
    arrivals: Iterable[Arrival],
    promised: Collection[str] = (),
) -> Verdict:
    """played: moment -> when its event was written. promised: what had to arrive even if nobody acknowledged it."""
    ids: dict[str, set[str]] = {}
    count = 0
    for arrival in arrivals:
        ids.setdefault(arrival.moment, set()).add(arrival.webhook_id)
        count += 1
    known = set(acknowledged)
    return Verdict(
        len(played), len(known), len(ids), count - sum(map(len, ids.values())),
        lost=sorted((known | set(promised)) - ids.keys()),
        doubled=sorted(moment for moment, found in ids.items() if len(found) > 1),
        strangers=sorted(ids.keys() - played.keys() - known),
    )  # fmt: skip


def recovery(played: Mapping[str, float], arrivals: Iterable[Arrival], fault: float, late: float = 2.0) -> float:
    """Seconds from a fault (by time.time()) until requests came in time again: to the arrival of the last one that took
    more than `late` seconds; 0: none did. What was played before the fault is late if it came that long after it."""
    first: dict[str, float] = {}
    for arrival in arrivals:
        first[arrival.moment] = min(arrival.at, first.get(arrival.moment, arrival.at))
    slow = [at - fault for moment, at in first.items() if moment in played and at - max(played[moment], fault) > late]
    return max(slow, default=0.0)
