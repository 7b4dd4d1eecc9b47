"""What deliveries and calls contain is removed for good, for one delivery, for some, for a call, or for a caller."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.refusals import ConflictError, Refusal
from pbxhub.delivery.outbox import (
    CALL_HAS_CONTENT,
    HAS_CONTENT,
    STAYS,
    empty_answers,
    remove_of_calls,
    remove_of_deliveries,
)
from pbxhub.store.call_numbers import spellings
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.session import Database
from pbxhub.translatable import Sentence, say
from pbxhub.webhooks.phones import person_of

_BATCH = 200  # in one transaction: nobody waits long to write


@dataclass(frozen=True, slots=True)
class ToRemove:
    """Whose content: of the deliveries with these ids, of all of a call, or of all calls of a caller; one of the three.
    calls: also what those calls themselves contain; without meaning for ids."""

    ids: tuple[UUID, ...] = ()
    call_id: UUID | None = None
    number: str = ""
    calls: bool = False

    def refusal(self) -> Refusal | None:
        """Why this says nothing, or too much."""
        if sum(map(bool, (self.ids, self.call_id, self.number))) == 1:
            return None
        return Refusal(
            "ids",
            say("It is not clear whose content is removed."),
            say("Give ids, a call or a number: one of the three."),
        )


@dataclass(frozen=True, slots=True)
class Content:
    """How much there is, or was removed. left: deliveries that are still to be sent, or whose call is going on."""

    deliveries: int
    calls: int
    left: int


def content_of(session: Session, access: Access, which: ToRemove) -> Content:
    """What remove_content would remove."""
    calls = _calls(access, which)
    count = select(func.count()).select_from(Call).where(*calls, *CALL_HAS_CONTENT) if calls else None
    return Content(
        session.scalar(select(func.count()).select_from(Delivery).where(*_deliveries(access, which), *HAS_CONTENT))
        or 0,
        (session.scalar(count) or 0) if count is not None else 0,
        _left(session, access, which),
    )


def remove_content(database: Database, access: Access, which: ToRemove) -> Content:
    """Removes it in transactions of _BATCH, each with its entry in the audit log, so that a caller of many years holds
    up nobody. There is no way back."""
    deliveries = _remove(database, access, which, of_calls=False)
    calls = _remove(database, access, which, of_calls=True) if which.calls and not which.ids else 0
    with database.read() as session:
        return Content(deliveries, calls, _left(session, access, which))


def refuse_one(session: Session, access: Access, delivery_id: UUID) -> None:
    """Raises ConflictError with the reason why the content of this delivery cannot be removed."""
    one = session.get_one(Delivery, delivery_id)
    mine = select(Delivery.id).where(Delivery.id == delivery_id, Delivery.project_id == access.project.id)
    if one.content_removed_on:
        raise ConflictError(say("Its content was removed already."))
    if session.scalar(mine.where(STAYS)):
        raise ConflictError(_TOO_EARLY)


_TOO_EARLY: Sentence = say(
    "It is still to be sent, or its call is going on or has another delivery that is to be sent. Remove its content "
    "when that has ended; switching the webhook off cancels what is still to be sent."
)


def _remove(database: Database, access: Access, which: ToRemove, *, of_calls: bool) -> int:
    ids = _found(database, access, which, of_calls)
    remove, total = (remove_of_calls if of_calls else remove_of_deliveries), 0
    for start in range(0, len(ids), _BATCH):
        with database.write() as session:
            done = remove(session, access.project.id, ids[start : start + _BATCH], access.user.email, access.now)
            if done:
                note(session, access, "content removed", _subject(which, done, of_calls))
        total += done
    empty_answers(database, access.project.id, ids)
    return total


def _found(database: Database, access: Access, which: ToRemove, of_calls: bool) -> Sequence[UUID]:
    query = (
        select(Call.id).where(*_calls(access, which), *CALL_HAS_CONTENT).order_by(Call.id)
        if of_calls
        else select(Delivery.id).where(*_deliveries(access, which), *HAS_CONTENT).order_by(Delivery.id)
    )
    with database.read() as session:
        return session.scalars(query).all()


def _subject(which: ToRemove, count: int, of_calls: bool) -> str:
    """Without the number: the log outlives what was removed."""
    whose = str(which.ids[0]) if len(which.ids) == 1 else f"call {which.call_id}" if which.call_id else ""
    what = f"{count} {'calls' if of_calls else 'deliveries'}"
    return f"{what}: {whose}" if whose else what


def _left(session: Session, access: Access, which: ToRemove) -> int:
    query = select(func.count()).select_from(Delivery).where(*_deliveries(access, which), STAYS)
    return session.scalar(query) or 0


def _deliveries(access: Access, which: ToRemove) -> list[ColumnElement[bool]]:
    mine = [Delivery.project_id == access.project.id]
    if which.ids:
        return [*mine, one_of(Delivery.id, which.ids)]
    return [*mine, Delivery.call_id.in_(select(Call.id).where(*_calls(access, which)))]


def _calls(access: Access, which: ToRemove) -> list[ColumnElement[bool]]:
    """Of the outside party only, not of the number that was called: that is the project's own."""
    mine = [Call.project_id == access.project.id]
    if which.number:
        country = access.project.country
        person = person_of(which.number, country)
        same = [Call.caller.in_(spellings(which.number, country)), *([Call.person == person] if person else [])]
        return [*mine, or_(*same)]
    return [*mine, Call.id == which.call_id] if which.call_id else []
