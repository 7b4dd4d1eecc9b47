"""Names for what calls carry as digits: the employee of an extension, the label of a DID."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.employees import employee_names
from pbxhub.store.accounts import Employee, Number
from pbxhub.store.columns import one_of
from pbxhub.store.history import Call

MOST_SUGGESTED = 500


@dataclass(frozen=True, slots=True)
class Names:
    """employees: by extension. numbers: labels by DID. Those without a name are missing."""

    employees: dict[str, str]
    numbers: dict[str, str]

    def caller(self, call: Call) -> str:
        """The outside party of a call: by name as far as one is known, else the number; "" when it is hidden."""
        return self.employees.get(call.caller) or call.caller_name or call.caller

    def ours(self, call: Call) -> str:
        """Our side of a call: the employee, the label of the DID that was called, or the number."""
        if call.extension:
            return self.employees.get(call.extension, call.extension)
        return self.numbers.get(call.dst) or self.employees.get(call.dst, call.dst)


def names_of(session: Session, project_id: int, calls: Iterable[Call], extensions: Collection[str] = ()) -> Names:
    """The names in these calls, and of these extensions."""
    rows = list(calls)
    people = {text for row in rows for text in (row.caller, row.extension, row.dst)}
    return Names(
        employee_names(session, project_id, {*people, *extensions} - {""}),
        _number_labels(session, project_id, {row.dst for row in rows} - {""}),
    )


def choices(session: Session, access: Access) -> Names:
    """What a filter suggests: employees and numbers of the project with their names, MOST_SUGGESTED of each."""
    people = select(Employee.extension, Employee.name).where(Employee.project_id == access.project.id)
    numbers = select(Number.did, Number.label).where(Number.project_id == access.project.id)
    employees = session.execute(people.order_by(Employee.extension).limit(MOST_SUGGESTED))
    labels = session.execute(numbers.order_by(Number.did).limit(MOST_SUGGESTED))
    return Names({row.extension: row.name for row in employees}, {row.did: row.label for row in labels})


def names_of_keys(
    session: Session, project_id: int, keys: Collection[str], of: Literal["employee", "number"]
) -> dict[str, str]:
    """The names of these extensions, or the labels of these DIDs. Those without a name are missing."""
    return (employee_names if of == "employee" else _number_labels)(session, project_id, keys)


def _number_labels(session: Session, project_id: int, dids: Collection[str]) -> dict[str, str]:
    labelled = select(Number.did, Number.label).where(Number.project_id == project_id, Number.label != "")
    rows = session.execute(labelled.where(one_of(Number.did, dids)))
    return {row.did: row.label for row in rows}
