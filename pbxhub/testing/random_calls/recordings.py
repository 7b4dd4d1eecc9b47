"""Writes a disagreement as a recording: the AMI events of the call, what the phones did, and the stages that it must
give, in the form of the recordings that the hub is tested with."""

import json
from datetime import UTC, datetime
from pathlib import Path

from pbxhub.testing.random_calls.lab import Outcome
from pbxhub.testing.random_calls.truth import FIELDS, Call, Line


def write(outcome: Outcome, folder: Path, name: str, setting: str) -> Path:
    """Writes NAME.ami into the folder and adds NAME to its expected.json. setting: version and dialplan, for people."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ami"
    path.write_text(_recording(outcome, setting), "utf-8")
    listed = folder / "expected.json"
    expected = json.loads(listed.read_text("utf-8")) if listed.exists() else {}
    expected[name] = {"what": str(outcome.script), "differs": outcome.kind, "calls": [_stages(outcome.saw)]}
    listed.write_text(json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")
    return path


def _recording(outcome: Outcome, setting: str) -> str:
    saw = [(moment.time, f"#S {_at(moment.time)} {moment.who}: {moment.what} {moment.to}\n") for moment in outcome.log]
    came = [(block.time, f"#T {_at(block.time)}\n{block.text}\n\n") for block in outcome.events]
    told = "#S = what a phone saw or did, #T = when the event below it came"
    head = f"#H {outcome.script}\n#H {setting}; made-up numbers; {told}\n"
    return head + "".join(text for _, text in sorted(saw + came, key=lambda part: part[0]))


def _at(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")


def _stages(saw: Call) -> list[dict[str, str]]:
    stages = [_stage(line) for line in saw.lines]
    if stages and saw.hangup_by:
        stages[-1]["hangup_by"] = saw.hangup_by
    return stages


def _stage(line: Line) -> dict[str, str]:
    return {"stage": line.stage, **dict(zip(FIELDS[line.stage], line.what, strict=False))}
