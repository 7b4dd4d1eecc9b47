"""Writes differences as recordings, and reads them: the AMI events of the call, what the phones did, and the stages
that the hub must report, in the format of the hub's other recordings."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pbxhub.calls.replay import read
from pbxhub.calls.stages import JSON
from pbxhub.calls.tracker import Tracker
from pbxhub.testing.random_calls.compare import Difference, differences
from pbxhub.testing.random_calls.lab import Outcome
from pbxhub.testing.random_calls.listening import calls_of
from pbxhub.testing.random_calls.truth import FIELDS, Call, Line


def write(outcome: Outcome, folder: Path, name: str, setting: str) -> Path:
    """Writes NAME.ami into the folder and adds NAME to its expected.json. setting: version and dialplan, for people."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ami"
    path.write_text(_recording(outcome, setting), "utf-8")
    listed = folder / "expected.json"
    expected = json.loads(listed.read_text("utf-8")) if listed.exists() else {}
    expected[name] = _expected(outcome)
    listed.write_text(json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    return path


def _expected(outcome: Outcome) -> dict[str, JSON]:
    saw = outcome.saw
    talk = None if saw.talk is None else round(saw.talk, 1)
    more: dict[str, JSON] = {"cell": outcome.cell, "talk": talk, "asides": list(saw.asides), "direction": saw.direction}
    return {"what": str(outcome.script), "differs": outcome.kind, "calls": [list(_stages(saw))], **more}


def check(lines: Iterable[str], expected: Mapping[str, Any]) -> list[Difference]:
    """The differences between the stages of a recording and its entry in expected.json; empty when there are none."""
    tracker = Tracker()
    reports = [report for message in read(lines) for report in tracker.feed(message)]
    stages = expected["calls"][0]
    called = tuple(map(_line, stages))
    hangup_by = stages[-1].get("hangup_by", "") if stages else ""
    saw = Call(expected["direction"], called, expected["talk"], hangup_by, frozenset(expected["asides"]))
    cell = expected["cell"]
    return differences(saw, calls_of(reports, cell), park=f"7{cell}0")


def _recording(outcome: Outcome, setting: str) -> str:
    saw = [(moment.time, f"#S {_at(moment.time)} {moment.who}: {moment.what} {moment.to}\n") for moment in outcome.log]
    came = [(block.time, f"#T {_at(block.time)}\n{block.text}\n\n") for block in outcome.events]
    told = "#S = what a phone saw or did, #T = when the event below it came"
    head = f"#H {outcome.script}\n#H {setting}; made-up numbers; {told}\n"
    return head + "".join(text for _, text in sorted(saw + came, key=lambda part: part[0]))


def _at(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _stages(saw: Call) -> list[JSON]:
    stages = [_stage(line) for line in saw.lines]
    ends: list[JSON] = [{**stage, "hangup_by": saw.hangup_by} for stage in stages[-1:]]
    return [*stages[:-1], *ends]


def _line(stage: Mapping[str, str]) -> Line:
    name = stage["stage"]
    return Line(name, tuple(stage[field] for field in FIELDS[name] if field in stage))


def _stage(line: Line) -> dict[str, JSON]:
    return {"stage": line.stage, **dict(zip(FIELDS[line.stage], line.what, strict=False))}
