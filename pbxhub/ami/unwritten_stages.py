"""What a stopping listener could not write because the database was away: a file, written by the next start.

One JSON line for each report, in the order they were heard, and behind them one with the notes on the calls that go on.
Publishing a report that did reach the database changes nothing.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from pbxhub.calls.stages import JSON, CallReport, Stage
from pbxhub.webhooks.params import from_json

Notes = Mapping[str, Mapping[str, JSON]]
log = structlog.get_logger(__name__)


def leftovers_file(data_dir: Path, pbx_id: int) -> Path:
    """Where the leftovers of one PBX lie."""
    return data_dir / f"unwritten-stages-{pbx_id}.jsonl"


def keep_leftovers(file: Path, reports: Iterable[CallReport], notes: Notes) -> None:
    """Adds reports and notes to the file, on disk when it returns. Raises OSError when there is no room."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8") as lines:
        for report in reports:
            lines.write(json.dumps(asdict(report), default=datetime.isoformat) + "\n")
        if notes:  # without any, those of an earlier stop still hold: this run has not taken up its calls
            lines.write(json.dumps({"notes": notes}) + "\n")
        lines.flush()
        os.fsync(lines.fileno())


def read_leftovers(file: Path) -> tuple[list[CallReport], Notes]:
    """The reports and the last notes in the file, none without one. A line that the disk cut off is logged and left."""
    reports: list[CallReport] = []
    notes: Notes = {}
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ()
    for line in lines:
        try:
            told = json.loads(line)
            if "notes" in told:
                notes = told["notes"]
            else:
                reports.append(_report(told))
        except (ValueError, TypeError, KeyError) as error:
            log.error("a line of unwritten stages cannot be read", file=str(file), error=str(error))
    return reports, notes


def _report(kept: dict[str, Any]) -> CallReport:
    times = {name: _moment(kept[name]) for name in ("started_on", "answered_on", "ended_on")}
    stages = tuple(
        Stage(**{**stage, "time": _moment(stage["time"]), "values": from_json(stage["values"])})
        for stage in kept["stages"]
    )
    kept["by_cel"] = tuple(kept.get("by_cel", ()))
    return CallReport(**{**kept, **times, "values": from_json(kept["values"]), "stages": stages})


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
