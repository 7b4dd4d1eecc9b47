"""Attributes (utm_source, client_id …) on their way onto calls: those kept for a number and a time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from pbxhub.calls.stages import CallReport
from pbxhub.delivery.calls import CallNow
from pbxhub.store.api import Attributes
from pbxhub.store.bulk import Query
from pbxhub.webhooks.catalogue import ENTRIES

NAMES = frozenset(
    entry.name for entry in ENTRIES if entry.source == "API" and "incoming.before" in entry.stages
)  # what may be attached: of the catalogue, and nothing the PBX tells


@lru_cache(maxsize=10_000)
def digits(number: str) -> str:
    """A number as it is looked up, however it was written."""
    return "".join(letter for letter in number if letter.isascii() and letter.isdigit())[:40]


_KNOWN = Query(
    select(Attributes.project_id, Attributes.number, Attributes.valid_from, Attributes.valid_until, Attributes.values)
    .where(Attributes.project_id.in_(bindparam("project_ids", expanding=True)))
    .where(Attributes.number.in_(bindparam("numbers", expanding=True)))
    .where(Attributes.valid_until >= bindparam("earliest"))
    .order_by(Attributes.created_on.desc())
    .limit(1000)
)


def attach_attributes(session: Session, calls: Mapping[str, CallNow], reports: Sequence[CallReport]) -> None:
    """Gives calls that have just begun what is known of their number. What is known of a call already stays."""
    begun = {report.linkedid: report for report in reversed(reports) if calls[report.linkedid].is_new}
    asked = {
        (calls[linkedid].project_id, digits(number))
        for linkedid, report in begun.items()
        for number in (report.caller, report.dst)
        if digits(number)
    }
    if not asked:
        return
    rows = _KNOWN.all(
        session,
        project_ids=list({project_id for project_id, _ in asked}),
        numbers=list({number for _, number in asked}),
        earliest=min(report.started_on for report in begun.values()),
    )
    for linkedid, report in begun.items():
        call = calls[linkedid]
        for row in rows:
            if row.project_id == call.project_id and _is_for(row, report):
                call.data = {**row.values, **call.data}


def _is_for(row: Any, report: CallReport) -> bool:
    begins: datetime = report.started_on
    return row.number in (digits(report.caller), digits(report.dst)) and row.valid_from <= begins <= row.valid_until


def known_names(values: Mapping[str, Any]) -> list[str]:
    """Those of the names that cannot be attached."""
    return [name for name in values if name not in NAMES]
