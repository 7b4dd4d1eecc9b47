"""The recordings in tests/traces: AMI streams of real Asterisk 16 and 22, reduced to the events the hub asks for.

asterisk-VERSION.ami.gz holds all scenarios, each after a line "## name"; whole/ has three as they were recorded.
expected.json gives the stages of each. more-*.ami.gz are of other dialplans, transfers and channel drivers;
more-suite-*.ami.gz re-enact situations of Asterisk's own test suite (docs/testing/situations.md).
"""

import gzip
import json
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from pbxhub.calls.ami_events import Message
from pbxhub.calls.replay import read

Stages = list[dict[str, Any]]
TRACES = Path(__file__).parents[1] / "traces"
VERSIONS = ("16", "22")
EXPECTED: dict[str, Any] = json.loads((TRACES / "expected.json").read_text())


@cache
def scenarios(version: str) -> dict[str, tuple[str, ...]]:
    """Name of the scenario -> its lines."""
    return _read(f"asterisk-{version}.ami.gz")


@cache
def more() -> dict[str, tuple[str, ...]]:
    """The others: more-GROUP/name -> lines."""
    files = sorted(TRACES.glob("more-*.ami.gz"))
    return {f"{file.name.split('.')[0]}/{name}": lines for file in files for name, lines in _read(file.name).items()}


def _read(file: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    with gzip.open(TRACES / file, "rt", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("## "):
                current = found.setdefault(line[3:].strip(), [])
            else:
                current.append(line)
    return {name: tuple(lines) for name, lines in found.items()}


@cache
def messages_of(version: str, name: str) -> tuple[Message, ...]:
    return tuple(read(scenarios(version)[name]))


def whole() -> list[Path]:
    return sorted((TRACES / "whole").glob("*.ami.gz"))


def is_ring(stage: dict[str, Any]) -> bool:
    return stage["stage"] == "incoming.forward" and stage["forward_kind"] == "ring"


def in_comparable_order(stages: Stages) -> Stages:
    """Asterisk rings a group at once: rings next to each other may come in either order."""
    ordered: Stages = []
    for ringing, group in groupby(stages, is_ring):
        together = list(group)
        ordered += sorted(together, key=lambda stage: str(stage["forward_to"])) if ringing else together
    return ordered
