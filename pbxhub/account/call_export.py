"""The calls of a project for other programs: read in groups, so that an export of any length takes little memory."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import select

from pbxhub.account.access import Access
from pbxhub.account.call_filter import CallFilter
from pbxhub.account.call_history import Place, newest_first
from pbxhub.account.employees import employee_names
from pbxhub.store.history import Call
from pbxhub.store.session import Database

_SHOWN = ("linkedid", "direction", "caller", "caller_name", "dst", "extension")
_OUTCOME = ("disposition", "wait", "talk", "recorded")
_TIMES = ("started_on", "answered_on", "ended_on")
CALL_COLUMNS = ("id", *_SHOWN, "employee", *_TIMES, *_OUTCOME, "rang")
_GROUP = 1000
_READ = [*(getattr(Call, name) for name in ("id", *_SHOWN, *_TIMES, *_OUTCOME)), Call.data["legs"].label("rang")]
_OF_LEG = ("number", "ring", "status")


def exported_calls(database: Database, access: Access, wanted: CallFilter) -> Iterator[dict[str, Any]]:
    """The calls that are over, newest first, by CALL_COLUMNS. rang: each phone or number that was dialled, the seconds
    it rang (None: not known), and how that ended. Each group of calls is a short transaction of its own, so that a slow
    download holds nothing."""
    before: Place | None = None
    while True:
        with database.read() as session:
            query = select(*_READ).where(Call.ended_on.is_not(None), *wanted.conditions(session, access))
            rows = [row._asdict() for row in session.execute(newest_first(query, before, _GROUP))]
            names = employee_names(session, access.project.id, {row["extension"] for row in rows})
        yield from (_written(row, names) for row in rows)
        if len(rows) < _GROUP:
            return
        before = rows[-1]["started_on"], rows[-1]["id"]


def _written(row: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    times = {name: _time(row[name]) for name in _TIMES}
    rang = [{name: leg.get(name) for name in _OF_LEG} for leg in row["rang"] or ()]
    known = {**row, "id": str(row["id"]), "employee": names.get(row["extension"], ""), **times, "rang": rang}
    return {name: known[name] for name in CALL_COLUMNS}


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
