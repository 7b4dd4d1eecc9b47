"""What employees and numbers did in a period: calls, answered, missed, time talked, time that callers waited."""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import add
from typing import Literal

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.call_filter import CallFilter
from pbxhub.account.names import names_of_keys
from pbxhub.store.history import IS_OVER, RESULTS, Call
from pbxhub.webhooks.phones import person_of

By = Literal["employee", "number"]
MOST_SHOWN = 500
_Row = tuple[str, list[int]]
_IS_INCOMING = Call.direction == "incoming"


@dataclass(frozen=True, slots=True)
class Counted:
    """The calls of one employee or number that are over. answered, missed: see store/history.RESULTS.

    talk: seconds of all of them. waits: incoming calls whose wait is known. waited: seconds that the callers of these
    waited for an answer, or until they gave up. key: an extension or a DID; name: from its card or its label.
    """

    key: str
    name: str
    calls: int
    answered: int
    missed: int
    talk: int
    waits: int
    waited: int

    @property
    def average_talk(self) -> int | None:
        """Seconds of an answered call."""
        return round(self.talk / self.answered) if self.answered else None

    @property
    def average_wait(self) -> int | None:
        """Seconds of an incoming call whose wait is known."""
        return round(self.waited / self.waits) if self.waits else None

    @property
    def unanswered(self) -> int:
        """Outgoing and internal calls without an answer."""
        return self.calls - self.answered - self.missed


@dataclass(frozen=True, slots=True)
class CallCounts:
    """rows: the busiest first, MOST_SHOWN at most. total: of all of them."""

    rows: Sequence[Counted]
    total: Counted


def report_calls(session: Session, access: Access, wanted: CallFilter, by: By) -> CallCounts:
    """Counts by the extension of the call, which is the one that answered or was called last; or by the DID that was
    called. Calls that reached no employee, or came in by no number, are left out."""
    key = Call.extension if by == "employee" else Call.dst
    counted = (
        func.count(), func.count().filter(RESULTS["answered"]), func.count().filter(RESULTS["missed"]),
        func.coalesce(func.sum(Call.talk), 0), func.count(Call.wait).filter(_IS_INCOMING),
        func.coalesce(func.sum(Call.wait).filter(_IS_INCOMING), 0),
    )  # fmt: skip
    query = select(key, *counted).where(*wanted.conditions(session, access), *_belongs(by)).group_by(key)
    found = [(str(row[0]), [int(number or 0) for number in row[1:]]) for row in session.execute(query)]
    merged = found if by == "employee" else _one_row_a_number(found, access.project.country)
    busiest = sorted(merged, key=lambda one: (-one[1][0], one[0]))[:MOST_SHOWN]
    names = names_of_keys(session, access.project.id, [key for key, _ in busiest], by)
    rows = [Counted(key, names.get(key, ""), *numbers) for key, numbers in busiest]
    sums = [sum(column) for column in zip(*(numbers for _, numbers in merged), strict=True)] or [0] * len(counted)
    return CallCounts(rows, Counted("", "", *sums))


def _one_row_a_number(found: Sequence[_Row], country: str) -> list[_Row]:
    """Together what trunks have written differently, under the spelling of most calls."""
    merged: dict[str, _Row] = {}
    for key, numbers in sorted(found, key=lambda one: -one[1][0]):
        _first, sums = merged.setdefault(person_of(key, country), (key, [0] * len(numbers)))
        sums[:] = map(add, sums, numbers)
    return list(merged.values())


def _belongs(by: By) -> list[ColumnElement[bool]]:
    return [IS_OVER, Call.extension != ""] if by == "employee" else [IS_OVER, Call.dst != "", _IS_INCOMING]
