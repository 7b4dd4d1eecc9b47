"""Keeps in a file what a stopping listener could not write to the database; the next start writes it.

The file has one JSON line per report, in the order of their events, then one line with the notes on the calls in
progress and the token of the lease. Publishing a report that is in the database already changes nothing.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from pbxhub.calls.stages import JSON, CallReport, Stage
from pbxhub.webhooks.params import from_json

Notes = Mapping[str, Mapping[str, JSON]]


@dataclass(frozen=True, slots=True)
class Unwritten:
    """What is in the file. token: of the lease under which the last of it was heard; 0 without one."""

    reports: list[CallReport]
    notes: Notes
    token: int


log = structlog.get_logger(__name__)


def unwritten_file(data_dir: Path, pbx_id: int) -> Path:
    """The file with the unwritten stages of one PBX."""
    return data_dir / f"unwritten-stages-{pbx_id}.jsonl"


def keep_unwritten(file: Path, token: int | None, reports: Iterable[CallReport], notes: Notes) -> None:
    """Appends reports and notes to the file and flushes it to disk. Raises OSError when the disk is full."""
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8") as lines:
        for report in reports:
            lines.write(json.dumps(asdict(report), default=datetime.isoformat) + "\n")
        if notes:  # without notes this run has not restored its calls: those of the earlier stop stay valid
            lines.write(json.dumps({"notes": notes, "token": token or 0}) + "\n")
        lines.flush()
        os.fsync(lines.fileno())


def read_unwritten(file: Path) -> Unwritten:
    """The reports and the last notes in the file; nothing when there is no file. A line that is cut off (the disk was
    full) is logged and skipped."""
    reports: list[CallReport] = []
    notes: Notes = {}
    token = 0
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else ()
    for line in lines:
        try:
            entry = json.loads(line)
            if "notes" in entry:
                notes, token = entry["notes"], entry.get("token", 0)
            else:
                reports.append(_report(entry))
        except (ValueError, TypeError, KeyError) as error:
            log.error("line of the unwritten stages cannot be read; skipping it", file=str(file), error=str(error))
    return Unwritten(reports, notes, token)


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
