"""A PBX that plays recorded calls, several at once, event by event. Each copy of a recording has ids of its own."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from random import Random

from pbxhub.calls.ami_events import Status
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.replay import blocks
from pbxhub.calls.tracker import Tracker
from tests.support.gaps import Pbx, headers_of
from tests.support.recordings import EXPECTED, scenarios

StageName = tuple[str, str]
"""A stage and its key."""
_ID = re.compile(r"\b1\d{9}\.(\d{1,5})\b")  # not a Timestamp, which has six decimals
_TIMESTAMP = re.compile(r"^Timestamp: (\d+\.\d+)", re.MULTILINE)
_CHANNEL_NUMBER = re.compile(r"(?<=-)0000([0-9a-f]{4})\b(?!-)")
_BRIDGE = re.compile(r"\b[0-9a-f]{8}(?=(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b)")
_FIRST = 1_900_000_000  # seconds in the ids of the first copy


@dataclass(frozen=True, slots=True)
class Recorded:
    """The events that the tracker understands, and the application of each channel that nobody dialled."""

    name: str
    told: tuple[str, ...]
    running: tuple[tuple[str, str], ...]


@cache
def recorded() -> tuple[Recorded, ...]:
    """Those whose stages do not depend on what else the PBX does."""
    everything = [_read(name) for name in sorted(EXPECTED) if name != "stop_now"]  # which ends all calls
    busy = Tracker()
    for number, one in enumerate(everything):  # now it knows every trunk
        stages_of(Copy(one, number, 0.0), busy)
    return tuple(
        one
        for number, one in enumerate(everything, 1000)
        if stages_of(Copy(one, number, 0.0)) == stages_of(Copy(one, number, 0.0), busy)
    )


def _read(name: str) -> Recorded:
    told = [block for block, _ in blocks(scenarios("22")[name])]
    rows = [headers for headers in map(headers_of, told) if headers["Event"] == "CEL"]
    running = {row["UniqueID"]: row["Application"] for row in rows if row["Application"] not in ("", "AppDial")}
    understood = tuple(block for block in told if parse(block) is not None and "FullyBooted" not in block)
    return Recorded(name, understood, tuple(running.items()))


class Copy:
    """One call of a PBX. began: when, in seconds since 1970. heard_whole: no listener has missed anything of it."""

    def __init__(self, what: Recorded, number: int, began: float) -> None:
        self.number, self.what, self.began, self.heard_whole = number, what, began, True
        stamps = [float(stamp) for block in what.told for stamp in _TIMESTAMP.findall(block)]
        self._shift = began - min(stamps, default=began)
        self._left = [self._renew(block) for block in what.told]
        self._left.reverse()
        self.pbx = Pbx({self._renew_id(uniqueid): running for uniqueid, running in what.running})

    def _renew_id(self, old: str) -> str:
        return _ID.sub(lambda match: f"{_FIRST + self.number}.{match[1]}", old)

    def _renew(self, block: str) -> str:
        block = _TIMESTAMP.sub(lambda match: f"Timestamp: {float(match[1]) + self._shift:.6f}", block)
        block = _CHANNEL_NUMBER.sub(lambda match: f"{self.number:04x}{match[1]}", self._renew_id(block))
        return _BRIDGE.sub(f"{self.number:08x}", block)

    @property
    def next_at(self) -> float:
        """When its next event comes; infinite after the last."""
        if not self._left:
            return float("inf")
        stamp = _TIMESTAMP.search(self._left[-1])
        return float(stamp[1]) if stamp else self.began

    def next_event(self) -> str:
        block = self._left.pop()
        self.pbx.hear(block)
        return block

    def rest(self) -> Iterator[str]:
        while self._left:
            yield self.next_event()


def stages_of(copy: Copy, tracker: Tracker | None = None) -> list[tuple[str, str, str]]:
    """Linkedid, stage and key of everything that one who hears all of it reports, in this order."""
    tracker = tracker or Tracker()
    messages = [message for block in copy.rest() if (message := parse(block))]
    return [
        (report.linkedid, stage.name, stage.key)
        for message in messages
        for report in tracker.feed(message)
        for stage in report.stages
    ]


@dataclass
class PlayedPbx:
    """chance: which calls begin when. calls: all of them. expected: the stages of each, heard as a whole."""

    calls: list[Copy] = field(default_factory=list)
    expected: list[list[tuple[str, str, str]]] = field(default_factory=list)

    def begin(self, chance: Random, now: float) -> None:
        what, number = chance.choice(recorded()), len(self.calls)
        self.calls.append(Copy(what, number, now + chance.random()))
        self.expected.append(stages_of(Copy(what, number, self.calls[-1].began)))

    def number_of(self, linkedid: str) -> int:
        """The call it belongs to."""
        return int(linkedid.partition(".")[0]) - _FIRST

    def next_call(self) -> Copy | None:
        """The one whose event comes next."""
        found = min(self.calls, key=lambda call: call.next_at, default=None)
        return None if found is None or found.next_at == float("inf") else found

    def channels(self) -> tuple[Status, ...]:
        """Those that live at this moment."""
        return tuple(status for call in self.calls if call.next_at != float("inf") for status in call.pbx.status())

    def is_missed(self) -> None:
        """From now on listeners miss what happens: of calls that are not over, something."""
        for call in self.calls:
            if call.next_at != float("inf"):
                call.heard_whole = False
