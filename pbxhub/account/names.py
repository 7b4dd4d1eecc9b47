"""Names for what calls carry as digits: the employee of an extension, the label of a DID."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.employees import employee_names
from pbxhub.store.accounts import Number
from pbxhub.store.columns import one_of
from pbxhub.store.history import Call


@dataclass(frozen=True, slots=True)
class Names:
    """employees: by extension. numbers: labels by DID. Those without a name are missing."""

    employees: dict[str, str]
    numbers: dict[str, str]


def names_of(session: Session, project_id: int, calls: Iterable[Call], extensions: Collection[str] = ()) -> Names:
    """The names in these calls, and of these extensions."""
    rows = list(calls)
    people = {text for row in rows for text in (row.caller, row.extension, row.dst)}
    return Names(
        employee_names(session, project_id, {*people, *extensions} - {""}),
        _number_labels(session, project_id, {row.dst for row in rows} - {""}),
    )


def _number_labels(session: Session, project_id: int, dids: Collection[str]) -> dict[str, str]:
    labelled = select(Number.did, Number.label).where(Number.project_id == project_id, Number.label != "")
    rows = session.execute(labelled.where(one_of(Number.did, dids)))
    return {row.did: row.label for row in rows}
