"""Turns a recorded AMI stream into its stages, for `pbxhub replay FILE` and for tests."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from pbxhub.calls.ami_events import Message
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.stages import JSON, CallReport, Stage, Value
from pbxhub.calls.tracker import Tracker


def blocks(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """AMI blocks of a capture with the time of arrival above each (empty when the capture has none).

    Lines that begin with # come from the recorder: #T is the time of arrival of the block below.
    """
    block: list[str] = []
    arrived = ""
    for line in lines:
        text = line.rstrip("\r\n")
        if text.startswith("#") and not block:
            arrived = text[3:] if text.startswith("#T ") else arrived
        elif text:
            block.append(text)
        elif block:
            yield "\n".join(block), arrived
            block = []
    if block:
        yield "\n".join(block), arrived


def read(lines: Iterable[str]) -> Iterator[Message]:
    """The messages of a capture. One without any time gets the time of the previous one plus a millisecond."""
    latest = 1.0  # seconds since 1970, for a capture without any time
    for block, arrived in blocks(lines):
        message = parse(block, seconds_of(arrived) or latest + 0.001)
        if message is not None:
            latest = message.time
            yield message


def seconds_of(arrived: str) -> float:
    """A time of arrival as seconds since 1970; 0.0 when there is none."""
    try:
        return datetime.fromisoformat(arrived + "+00:00").timestamp()
    except ValueError:
        return 0.0


def replay(lines: Iterable[str], tracker: Tracker | None = None) -> Iterator[dict[str, JSON]]:
    """One JSON-ready object per stage: stage, call_id, time, then the parameters of the stage."""
    recorded = list(lines)
    tracker = tracker or Tracker()
    if any(line.startswith("Event: BridgeEnter") for line in recorded):
        tracker.expect_bridges()
    for message in read(recorded):
        for report in tracker.feed(message):
            for stage in report.stages:
                yield stage_as_json(report, stage)


def stage_as_json(report: CallReport, stage: Stage) -> dict[str, JSON]:
    head: dict[str, JSON] = {"stage": stage.name, "call_id": report.linkedid, "time": stage.time.isoformat()}
    return head | {name: as_json(value) for name, value in stage.values.items() if name not in head}


def as_json(value: Value) -> JSON:
    """Times as ISO 8601 in UTC."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    return value
