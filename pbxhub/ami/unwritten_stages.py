"""What becomes of stages that cannot be written to the database. While the hub runs, they wait in memory, in order
(publisher.py). When it stops, they are kept here in a file; the next start writes them, even if another listener has
the PBX by then.

The file has one JSON line per report, in the order of their events, then one line with the notes on the calls in
progress and the token of the lease. Publishing a report that is in the database already changes nothing.

Processes that share a data folder lock the file (flock) while they append to it, and while they look for more to write
and find that they may delete it. The order of events that needs it: 1. B reads the file and writes it to the database;
2. A stops and appends; 3. B finds the lines of A, and writes them too before it deletes the file.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import structlog
from sqlalchemy import select

from pbxhub.ami.pbx_rows import write_notes
from pbxhub.ami.publisher import GROUP, Publisher
from pbxhub.calls.stages import JSON, CallReport, Stage
from pbxhub.store.accounts import Pbx
from pbxhub.store.columns import one_of
from pbxhub.store.listeners import token_of_salt
from pbxhub.store.session import Database
from pbxhub.webhooks.params import from_json

Notes = Mapping[str, Mapping[str, JSON]]


@dataclass(frozen=True, slots=True)
class Unwritten:
    """What is in the file. token: of the lease under which the last of it was heard; 0 without one."""

    reports: list[CallReport]
    notes: Notes
    token: int


log = structlog.get_logger(__name__)


_NAME = "unwritten-stages-"


def unwritten_file(data_dir: Path, key: str) -> Path:
    """The file with the unwritten stages of the PBX with this key."""
    return data_dir / f"{_NAME}{key}.jsonl"


def unwritten_files(data_dir: Path) -> dict[str, Path]:
    """The files that are there, by the keys of their PBXs."""
    files = {file.stem.removeprefix(_NAME): file for file in data_dir.glob(f"{_NAME}*.jsonl")}
    return {key: file for key, file in files.items() if key.partition("-")[0].isdecimal()}


def id_of(key: str) -> int:
    """The id in the key of a PBX."""
    return int(key.partition("-")[0])


def keep_unwritten(file: Path, token: int | None, reports: Iterable[CallReport], notes: Notes) -> None:
    """Appends reports and notes to the file and flushes it to disk. Raises OSError when the disk is full."""
    with _appending(file) as lines:
        if os.fstat(lines.fileno()).st_size:
            lines.write("\n")  # the last line may have been cut off: the disk was full
        for report in reports:
            lines.write(json.dumps(_as_json(report), default=datetime.isoformat) + "\n")
        if notes:  # without notes this run has not restored its calls: those of the earlier stop stay valid
            lines.write(json.dumps({"notes": notes, "token": token or 0}) + "\n")
        lines.flush()
        os.fsync(lines.fileno())


@contextmanager
def _appending(file: Path) -> Iterator[TextIO]:
    """The file under its lock. One that another process deleted before we had the lock is left, and a new one made."""
    while True:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "w", encoding="utf-8") as lines:
            fcntl.flock(lines, fcntl.LOCK_EX)
            if _has_a_name(lines):
                yield lines
                return


def _has_a_name(opened: TextIO) -> bool:
    return os.fstat(opened.fileno()).st_nlink > 0


def write_unwritten(file: Path, pbx_id: int, token: int | None, database: Database, publisher: Publisher) -> None:
    """Writes what is in the file to the database, and deletes the file. Raises database errors.

    token: as PbxRow.token; 0 where this process has no lease. If another listener has had the PBX since, its notes are
    newer: under the outdated token only missing stages are written.
    """
    try:
        opened = file.open(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return  # nothing was kept, or another process has written it
    with opened:
        while lines := _next_lines(opened, file):
            _write(_read(lines, file), pbx_id, token, database, publisher)


def _next_lines(opened: TextIO, file: Path) -> list[str]:
    """What was appended since the last call. If nothing was, deletes the file: all of it is in the database."""
    fcntl.flock(opened, fcntl.LOCK_EX)
    try:
        lines = opened.read().splitlines()
        if not lines and _has_a_name(opened):
            file.unlink()
        return lines
    finally:
        fcntl.flock(opened, fcntl.LOCK_UN)


def _read(lines: Iterable[str], file: Path) -> Unwritten:
    """The reports and the last notes in the lines. One that was cut off (the disk was full) is logged and skipped."""
    reports: list[CallReport] = []
    notes: Notes = {}
    token = 0
    for line in filter(None, lines):
        try:
            entry = json.loads(line)
            if "notes" in entry:
                notes, token = entry["notes"], entry.get("token", 0)
            else:
                reports.append(_report(entry))
        except (ValueError, TypeError, KeyError) as error:
            log.error("a line of the unwritten stages cannot be read; skipping it", file=str(file), error=str(error))
    return Unwritten(reports, notes, token)


def _write(kept: Unwritten, pbx_id: int, token: int | None, database: Database, publisher: Publisher) -> None:
    if token is not None and not database.is_sqlite and kept.token != token - 1:
        token = kept.token
    tokens = {} if token is None else {pbx_id: token}
    for start in range(0, len(kept.reports), GROUP):
        publisher.write({pbx_id: kept.reports[start : start + GROUP]}, tokens)
    if kept.notes:
        write_notes(database, pbx_id, token, kept.notes)


def write_abandoned(files: Mapping[str, Path], database: Database, publisher: Publisher) -> None:
    """Writes the files of PBXs to which this process does not listen. Raises database errors.

    The stages of a deleted PBX no longer have a project: its file is deleted.
    """
    with database.read() as session:
        pbxs = session.scalars(select(Pbx).where(one_of(Pbx.id, {id_of(key) for key in files}))).all()
        known = {pbx.key: token_of_salt(pbx.salt) if database.is_sqlite else 0 for pbx in pbxs}
    for key, file in files.items():
        if key in known:
            log.info("writing the stages kept for a PBX that this host no longer listens to", pbx=key)
            write_unwritten(file, id_of(key), known[key], database, publisher)
        else:
            log.warning("deleting the unwritten stages of a PBX that was deleted", pbx=key)
            file.unlink(missing_ok=True)


def _as_json(report: CallReport) -> dict[str, Any]:
    return {**report._asdict(), "stages": [stage._asdict() for stage in report.stages]}


def _report(kept: dict[str, Any]) -> CallReport:
    times = {name: _moment(kept[name]) for name in ("started_on", "answered_on", "ended_on")}
    stages = tuple(
        Stage(**{**stage, "time": _moment(stage["time"]), "values": from_json(stage["values"])})
        for stage in kept["stages"]
    )
    kept["by_cel"] = dict(kept.get("by_cel", ()))
    return CallReport(**{**kept, **times, "values": from_json(kept["values"]), "stages": stages})


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
