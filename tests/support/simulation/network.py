"""Requests between the workers and their receivers: when they leave, what is answered, and when the answer comes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pbxhub.delivery.outbox import Claimed
from pbxhub.sending.exchange import Answer, Outgoing

AttemptName = tuple[str, int]
"""The id of a delivery as SQLite keeps it, and the number of the attempt."""
OK = Answer("ok", "", 200, body=b"ok", total_us=1500)
TOO_LATE = Answer("deadline", "")
FAILURES = (
    Answer("http_5xx", "", 503), Answer("http_4xx", "", 400), Answer("connect_refused", ""), TOO_LATE,
    Answer("http_4xx", "", 429, headers=(("Retry-After", "30"),)), Answer("http_4xx", "", 410),
)  # fmt: skip


def name_of(claimed: Claimed) -> AttemptName:
    return claimed.id.hex, claimed.attempt


@dataclass(slots=True)
class Flight:
    """A request on its way. until: when it ends at the latest, by the true clock."""

    outgoing: Outgoing
    tag: Any
    until: float
    answer: Answer | None = None

    @property
    def claimed(self) -> Claimed:
        claimed: Claimed = self.tag[0]
        return claimed


@dataclass
class Receivers:
    """Everything that has arrived. sick: how often each webhook's receiver fails, 0 to 1. stages: what each waits for,
    without those that only follow another one."""

    sick: dict[int, float]
    stages: dict[int, str]
    answered: dict[AttemptName, Answer] = field(default_factory=dict)
    well: bool = False

    def take(self, flight: Flight, chance: Random) -> Answer:
        fails = not self.well and chance.random() < self.sick[flight.claimed.webhook.id]
        answer = chance.choice(FAILURES) if fails else OK
        self.answered[name_of(flight.claimed)] = answer
        return answer


class Wire:
    """Stands where the engine stands. leaving: called with each request that is handed over to be sent."""

    def __init__(self, now: Callable[[], float], leaving: Callable[[Claimed, Outgoing], None]) -> None:
        self._now, self._leaving = now, leaving
        self.waiting: list[Flight] = []
        self.in_air: list[Flight] = []
        self._ended: list[tuple[Any, Answer]] = []

    def start(self, outgoing: Outgoing, tag: Any) -> None:
        self._leaving(tag[0], outgoing)
        self.waiting.append(Flight(outgoing, tag, self._now() + outgoing.deadline))

    def finished(self, _wait: float | None = None) -> list[tuple[Any, Answer]]:
        ended, self._ended = self._ended, []
        return ended

    def wake(self) -> None:
        """Nobody waits here."""

    def close(self) -> list[tuple[Any, Answer]]:
        self.waiting, self.in_air = [], []
        return self.finished()

    def leave(self, index: int, receivers: Receivers, chance: Random) -> Flight:
        """One request leaves and arrives; its answer is on the way back."""
        flight = self.waiting.pop(index)
        flight.answer = receivers.take(flight, chance)
        self.in_air.append(flight)
        return flight

    def come_back(self, index: int) -> None:
        flight = self.in_air.pop(index)
        assert flight.answer is not None
        self._ended.append((flight.tag, flight.answer))

    def time_out(self) -> None:
        """What has not ended by its deadline ends now."""
        now = self._now()
        for index in reversed(range(len(self.in_air))):
            if self.in_air[index].until <= now:
                self.come_back(index)

    @property
    def is_quiet(self) -> bool:
        return not (self.waiting or self.in_air or self._ended)
