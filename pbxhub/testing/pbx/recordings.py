"""Recorded AMI streams: read from a file, reduced to what matters, made fresh so that they can be played again.

The form of a file: `#H` what it is; `#T 2026-11-22T06:29:33.290910` when the block below it arrived, followed by the
block's header lines and an empty line; `#S` what the phones did. recordings/ has the ones that ship with the hub.
"""

import itertools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from pbxhub.calls.replay import blocks

FOLDER = Path(__file__).with_name("recordings")
_ID = re.compile(r"\b1\d{9}\.\d{1,5}\b")  # not a Timestamp, which has six decimals
_TIMESTAMP = re.compile(r"^Timestamp: (\d+\.\d+)$", re.MULTILINE)
_CHANNEL_NUMBER = re.compile(r"(?<=-)[0-9a-f]{8}\b(?!-)")
_BRIDGE = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_counter = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Played:
    """One event block (header lines joined by LF) and when it came, in seconds since the recording began."""

    after: float
    block: str


@dataclass(frozen=True, slots=True)
class Recording:
    """The events of one recording in the order they came; title is its first #H line."""

    title: str
    events: tuple[Played, ...]


def shipped() -> list[Path]:
    """The recordings that come with the hub: short real calls on Asterisk 22."""
    return sorted(FOLDER.glob("*.ami"))


def read_recording(path: Path) -> Recording:
    """Reads a file. Answers to actions and what came before the first event of a call are left out."""
    lines = path.read_text("utf-8").split("\n")
    title = next((line[3:] for line in lines if line.startswith("#H ")), "")
    events = [Played(_seconds(arrived), block) for block, arrived in blocks(lines)]
    return Recording(title, tuple(_calls_only(events)))


def _seconds(arrived: str) -> float:
    return datetime.fromisoformat(arrived).replace(tzinfo=UTC).timestamp()


def _calls_only(events: list[Played]) -> Iterator[Played]:
    kept = [played for played in events if played.block.startswith("Event: ")]
    kept = [played for played in kept if name_of(played.block) not in ("SuccessfulAuth", "ChallengeSent")]
    while kept and name_of(kept[0].block) == "FullyBooted":
        kept = kept[1:]
    for played in kept:
        yield replace(played, after=played.after - kept[0].after)


def name_of(block: str) -> str:
    """The name of an event block."""
    return block.partition("\n")[0].removeprefix("Event: ").strip()


def reduce(recording: Recording, names: Collection[str]) -> Recording:
    """Only the events with these names."""
    return replace(recording, events=tuple(each for each in recording.events if name_of(each.block) in names))


def freshen(recording: Recording, now: datetime) -> Recording:
    """The same calls as if they began now: new uniqueids, linkedids, channel numbers and bridges, moved times.

    Two fresh copies never share an id, so a recording can be played again and again, and beside itself.
    """
    blocks = [played.block for played in recording.events]
    stamps = [float(stamp) for block in blocks for stamp in _TIMESTAMP.findall(block)]
    shift = now.timestamp() - min(stamps) if stamps else 0.0
    fresh: dict[str, str] = {}
    for old in sorted({found for block in blocks for found in _ID.findall(block)}, key=_age):
        fresh[old] = f"{int(_age(old)[0] + shift)}.{1_000_000 + next(_counter)}"

    def renew(block: str) -> str:
        block = _TIMESTAMP.sub(lambda match: f"Timestamp: {float(match[1]) + shift:.6f}", block)
        block = _ID.sub(lambda match: fresh[match[0]], block)
        block = _CHANNEL_NUMBER.sub(
            lambda match: fresh.setdefault(match[0], f"{next(_counter) % 0x7FFFFFFF + 0x80000000:08x}"), block
        )
        return _BRIDGE.sub(lambda match: fresh.setdefault(match[0], str(uuid4())), block)

    return replace(recording, events=tuple(replace(played, block=renew(played.block)) for played in recording.events))


def _age(identity: str) -> tuple[int, int]:
    seconds, _, number = identity.partition(".")
    return int(seconds), int(number)
