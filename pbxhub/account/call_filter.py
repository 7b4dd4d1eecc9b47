"""Which calls a list, an export or a report is about."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.store.accounts import Employee, Pbx
from pbxhub.store.call_numbers import of_number, spellings
from pbxhub.store.columns import one_of, unindexed
from pbxhub.store.history import COMMON_DISPOSITIONS, RARE_DISPOSITION, RESULTS, Call
from pbxhub.webhooks.phones import person_of

_MANY = 1000


@dataclass(frozen=True, slots=True)
class CallFilter:
    """All that is given must match; "" and None are not given.

    number: what people type into a search, or, if whole_number, what programs look up: see below. result: a key of
    store/history.RESULTS. since, until: when the call began, until not included. extensions: each of them is that of
    the call. did: our number that was called, however it is written; only incoming calls have one. least_talk,
    most_talk: seconds; a call in progress has no result and no talk time yet. recorded: whether the file of its
    recording is known.
    """

    number: str = ""
    whole_number: bool = False
    direction: str = ""
    result: str = ""
    disposition: str = ""
    since: datetime | None = None
    until: datetime | None = None
    extensions: Sequence[str] = ()
    did: str = ""
    least_talk: int | None = None
    most_talk: int | None = None
    recorded: bool | None = None

    def conditions(self, session: Session, access: Access) -> list[ColumnElement[bool]]:
        """What a row of Call has to meet."""
        of_number = self._of_number(session, access) if self.number else [Call.project_id == access.project.id]
        of_did = [_of_did(session, access, self.did)] if self.did else []
        return [*of_number, *of_did, *self._plain()]

    def _of_number(self, session: Session, access: Access) -> list[ColumnElement[bool]]:
        """Of the project and the number. By the ids of the calls where they are few: with several conditions, SQLite
        would use no index, and read all calls. Many are found soon, whatever is read."""
        ours = Call.project_id == access.project.id
        country = access.project.country
        ways = _is_party(self.number, country) if self.whole_number else _matches(self.number, country)
        known = set[UUID]() if self.whole_number else set(_of_linkedid(session, self.number))
        for way in ways:
            found = session.scalars(select(Call.id).where(ours, way).limit(_MANY)).all()
            if len(found) == _MANY:
                return [ours, or_(*ways, *([one_of(Call.id, known)] if known else ()))]
            known.update(found)
        return [unindexed(Call.project_id) == access.project.id, one_of(Call.id, known)]

    def _plain(self) -> list[ColumnElement[bool]]:
        found = [Call.extension == extension for extension in self.extensions]
        found += [Call.direction == self.direction] if self.direction else []
        found += [RESULTS[self.result]] if self.result else []
        found += [Call.disposition == self.disposition] if self.disposition else []
        found += [RARE_DISPOSITION] if self.disposition not in COMMON_DISPOSITIONS else []
        found += [Call.started_on >= self.since] if self.since else []
        found += [Call.started_on < self.until] if self.until else []
        found += [Call.talk >= self.least_talk] if self.least_talk is not None else []
        found += [Call.talk <= self.most_talk] if self.most_talk is not None else []
        return found + ([Call.recorded.is_(self.recorded)] if self.recorded is not None else [])


def _matches(text: str, country: str) -> list[ColumnElement[bool]]:
    """Calls whose outside number is this one however it is written, or ends in it; whose outside number or DID begins
    with it; or whose extension it is."""
    numbers = (Call.caller, Call.person, Call.dst)
    starts = spellings(text, country)
    ranges = [and_(column >= start, column < start + "\U0010ffff") for column in numbers for start in starts]
    return [*ranges, *of_number(text, country), Call.extension == text]


def _of_linkedid(session: Session, text: str) -> Sequence[UUID]:
    """Of any project. With the PBXs, by which the index of linkedids begins."""
    pbxs = one_of(Call.pbx_id, session.scalars(select(Pbx.id)).all())
    return session.scalars(select(Call.id).where(pbxs, Call.linkedid == text)).all()


def _is_party(number: str, country: str) -> list[ColumnElement[bool]]:
    """Calls whose outside number or DID is this one, however either is written."""
    written = spellings(number, country)
    return [Call.caller.in_(written), Call.person == person_of(number, country), Call.dst.in_(written)]


def extension_of(session: Session, access: Access, employee_id: int) -> str | None:
    """The extension on a card of the project."""
    card = select(Employee.extension).where(Employee.id == employee_id, Employee.project_id == access.project.id)
    return session.scalar(card)


def _of_did(session: Session, access: Access, did: str) -> ColumnElement[bool]:
    """By the one spelling that calls have, as a rule: then the index has them in the order of the list."""
    ours = Call.project_id == access.project.id
    found = [
        form
        for form in spellings(did, access.project.country)
        if session.scalar(select(exists().where(ours, Call.dst == form)))
    ]
    is_called = Call.dst == found[0] if len(found) == 1 else Call.dst.in_(found)
    return and_(is_called, Call.direction == "incoming")
