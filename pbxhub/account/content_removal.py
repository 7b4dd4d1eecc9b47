"""What deliveries and calls contain is removed for good, for one delivery, for some, for a call, or for a caller."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.refusals import ConflictError, Refusal
from pbxhub.delivery.attributes import lookup_key
from pbxhub.delivery.outbox import (
    CALL_HAS_CONTENT,
    CALL_STAYS,
    HAS_CONTENT,
    STAYS,
    callbacks_without_call,
    empty_answers,
    orders_without_call,
    remove_of_calls,
    remove_of_deliveries,
    remove_of_orders,
)
from pbxhub.store.api import Attributes
from pbxhub.store.call_numbers import spellings
from pbxhub.store.columns import one_of, unindexed
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.ordered_calls import ONGOING, REGISTERED, OrderedCall
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
    """How much there is, or was removed. orders: ordered calls that never began. attributes: sets of them, kept for
    calls to come. left: deliveries that are still to be sent, or whose call is going on or has something to be sent.
    calls_left: the same of calls, and ordered calls that are open."""

    deliveries: int
    calls: int
    orders: int
    attributes: int
    left: int
    calls_left: int


def content_of(session: Session, access: Access, which: ToRemove) -> Content:
    """What remove_content would remove."""
    calls = 0 if which.ids else _count(session, Call, *_calls(access, which), *CALL_HAS_CONTENT)
    orders = _count(session, OrderedCall, *_orders(access, which)) if which.number else 0
    attributes = _count(session, Attributes, *_attributes(access, which)) if which.number else 0
    deliveries = _count(session, Delivery, *_deliveries(access, which), *HAS_CONTENT)
    return Content(deliveries, calls, orders, attributes, *_left(session, access, which))


def has_content(session: Session, access: Access, number: str) -> bool:
    """Whether remove_content would find anything of calls of this caller."""
    which = ToRemove(number=number)
    calls = select(Call.id).where(*_calls(access, which), *CALL_HAS_CONTENT)
    mine = unindexed(Delivery.project_id) == access.project.id  # else SQLite reads the whole project
    deliveries = select(Delivery.id).where(*HAS_CONTENT, mine)
    asked = (calls, *(deliveries.where(one) for one in _of_number(access, which)))  # both at once: PostgreSQL reads all
    return any(session.scalar(found.limit(1)) for found in asked)


def remove_content(database: Database, access: Access, which: ToRemove) -> Content:
    """Removes it in transactions of _BATCH, each with its entry in the audit log, so that a caller of many years holds
    up nobody. There is no way back."""
    deliveries = _remove(database, access, which, of_calls=False)
    calls = _remove(database, access, which, of_calls=True) if which.calls and not which.ids else 0
    orders, attributes = _remove_others(database, access, which) if which.calls and which.number else (0, 0)
    with database.read() as session:
        return Content(deliveries, calls, orders, attributes, *_left(session, access, which))


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
    with database.read() as session:
        orders = session.scalars(select(OrderedCall.id).where(one_of(OrderedCall.call_id, ids if of_calls else [])))
        told = [*ids, *orders]
    empty_answers(database, access.project.id, told)
    return total


def _remove_others(database: Database, access: Access, which: ToRemove) -> tuple[int, int]:
    """What belongs to no call: ordered calls that never began, and attributes for calls to come."""
    with database.write() as session:
        orders = session.scalars(select(OrderedCall.id).where(*_orders(access, which))).all()
        remove_of_orders(session, [one_of(OrderedCall.id, orders)])
        attributes = session.scalars(select(Attributes.id).where(*_attributes(access, which))).all()
        session.execute(delete(Attributes).where(one_of(Attributes.id, attributes)))
        if orders or attributes:
            what = f"{len(orders)} ordered calls, {len(attributes)} attributes"
            note(session, access, "content removed", what)
    empty_answers(database, access.project.id, [*orders, *attributes])
    return len(orders), len(attributes)


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


def _left(session: Session, access: Access, which: ToRemove) -> tuple[int, int]:
    """Of deliveries, of calls."""
    calls = 0 if which.ids else _count(session, Call, *_calls(access, which), CALL_STAYS)
    if which.number:
        numbers = spellings(which.number, access.project.country)
        of_project = (OrderedCall.project_id == access.project.id, OrderedCall.call_id.is_(None))
        is_open = OrderedCall.status.in_((REGISTERED, ONGOING))
        calls += _count(session, OrderedCall, *of_project, one_of(OrderedCall.mobile_number, numbers), is_open)
    return _count(session, Delivery, *_deliveries(access, which), STAYS), calls


def _count(session: Session, table: type, *which: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*which)) or 0


def _orders(access: Access, which: ToRemove) -> tuple[ColumnElement[bool], ...]:
    return orders_without_call(access.project.id, spellings(which.number, access.project.country))


def _attributes(access: Access, which: ToRemove) -> tuple[ColumnElement[bool], ...]:
    number = lookup_key(which.number, access.project.country)
    return Attributes.project_id == access.project.id, Attributes.number == number, Attributes.number != ""


def _deliveries(access: Access, which: ToRemove) -> list[ColumnElement[bool]]:
    if which.ids:
        return [*_of_project(access), one_of(Delivery.id, which.ids)]
    if which.number:
        return [*_of_project(access), or_(*_of_number(access, which))]
    return [*_of_project(access), _of_calls(access, which)]


def _of_number(access: Access, which: ToRemove) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    never_began = callbacks_without_call(access.project.id, spellings(which.number, access.project.country))
    return _of_calls(access, which), never_began


def _of_calls(access: Access, which: ToRemove) -> ColumnElement[bool]:
    return Delivery.call_id.in_(select(Call.id).where(*_calls(access, which)))


def _of_project(access: Access) -> list[ColumnElement[bool]]:
    return [Delivery.project_id == access.project.id]


def _calls(access: Access, which: ToRemove) -> list[ColumnElement[bool]]:
    """Of the outside party only, not of the number that was called: that is the project's own."""
    mine = Call.project_id == access.project.id
    if which.number:
        country = access.project.country
        person = person_of(which.number, country)
        same = [Call.caller.in_(spellings(which.number, country)), *([Call.person == person] if person else [])]
        return [or_(*(and_(mine, one) for one in same))]  # SQLite takes an index for each only if both are complete
    return [mine, Call.id == which.call_id] if which.call_id else []
