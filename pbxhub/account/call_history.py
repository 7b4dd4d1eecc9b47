"""The calls of a project: those in progress, the history with its search, and what belongs to one call."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.refusals import NotFoundError
from pbxhub.store.accounts import Pbx
from pbxhub.store.call_numbers import of_number, spellings
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ordered_calls import CHANNEL_PREFIX, OrderedCall
from pbxhub.store.questions import Question
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.phones import person_of

_MOST_LIVE = 30
_MOST_NEWER = 100
_MOST_DELIVERIES = 500


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls: number as `matches` or `is_party` reads it; "" for all. since, until: when they began."""

    number: str = ""
    direction: str = ""
    disposition: str = ""
    since: datetime | None = None
    until: datetime | None = None

    @property
    def active(self) -> bool:
        return bool(self.number or self.direction or self.disposition or self.since or self.until)


class CallOrOrder(NamedTuple):
    """A call, its order, or both: an ordered call has no row of its own before it rings."""

    call: Call | None
    ordered: OrderedCall | None


def ended_calls(
    session: Session, access: Access, wanted: CallFilter, before: tuple[datetime, UUID] | None, limit: int
) -> Sequence[Call]:
    """The calls that are over, by their start, newest first. before: start and id of the last one of the page before.
    wanted.number: as matches reads it."""
    query = select(Call).where(Call.ended_on.is_not(None), *_conditions(access, wanted))
    query = query.where(matches(wanted.number, access.project.country)) if wanted.number else query
    query = query.where(_started_before(*before)) if before else query
    return session.scalars(query.order_by(Call.started_on.desc(), Call.id.desc()).limit(limit)).all()


def all_calls(session: Session, access: Access, wanted: CallFilter, before: UUID | None, limit: int) -> Sequence[Call]:
    """Every call, by the id, newest first. wanted.number: as is_party reads it."""
    query = select(Call).where(*_conditions(access, wanted))
    query = query.where(is_party(wanted.number, access.project.country)) if wanted.number else query
    query = query.where(Call.id < before) if before else query
    return session.scalars(query.order_by(Call.id.desc()).limit(limit)).all()


def matches(text: str, country: str) -> ColumnElement[bool]:
    """What people type into a search: calls whose outside number is this one however it is written, or ends in it;
    whose outside number or DID begins with it; or whose extension or linkedid it is."""
    numbers = (Call.caller, Call.person, Call.dst)
    starts = spellings(text, country)
    ranges = [and_(column >= start, column < start + "\U0010ffff") for column in numbers for start in starts]
    return or_(*ranges, *of_number(text, country), Call.extension == text, Call.linkedid == text)


def is_party(number: str, country: str) -> ColumnElement[bool]:
    """Calls whose outside number or DID is exactly this one, or whose caller is that person, however the number is
    written: what programs look up."""
    return or_(Call.caller == number, Call.person == person_of(number, country), Call.dst == number)


def live_calls(session: Session, access: Access) -> list[tuple[Call, str]]:
    """The calls in progress with their last stage, oldest first so that rows keep their place."""
    last = (
        select(StageEvent.stage)
        .where(StageEvent.call_id == Call.id)
        .order_by(StageEvent.created_on.desc(), StageEvent.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = session.execute(
        select(Call, func.coalesce(last, ""))
        .where(Call.pbx_id.in_(select(Pbx.id)), Call.ended_on.is_(None), Call.project_id == access.project.id)
        .order_by(Call.started_on, Call.id)
        .limit(_MOST_LIVE)
    )
    return [(call, stage) for call, stage in rows]


def count_ended_since(session: Session, access: Access, newest: UUID | None) -> int:
    """How many calls that are over began after this one, up to _MOST_NEWER; 0 for None."""
    if newest is None:
        return 0
    newer = select(Call.id).where(
        Call.project_id == access.project.id, Call.id > newest, Call.ended_on.is_not(None)
    )  # fmt: skip
    return session.scalar(select(func.count()).select_from(newer.limit(_MOST_NEWER).subquery())) or 0


def call_of(session: Session, access: Access, call_id: UUID) -> Call:
    """A call of the project. Raises NotFoundError for anything else."""
    call = session.get(Call, call_id)
    if call is None or call.project_id != access.project.id:
        raise NotFoundError
    return call


def find_call(session: Session, access: Access, call_id: UUID) -> CallOrOrder:
    """A call by its own id or by the id it was ordered under. Raises NotFoundError."""
    ordered = session.get(OrderedCall, call_id)
    call = session.get(Call, ordered.call_id if ordered and ordered.call_id else call_id)
    if call is not None and ordered is None and call.linkedid.startswith(CHANNEL_PREFIX):
        ordered = session.scalar(select(OrderedCall).where(OrderedCall.call_id == call.id))
    rows = [row for row in (call, ordered) if row is not None]
    if not rows or any(row.project_id != access.project.id for row in rows):
        raise NotFoundError
    return CallOrOrder(call, ordered)


def orders_of(session: Session, calls: Sequence[Call]) -> dict[UUID, OrderedCall]:
    """The orders of those calls that were ordered, by the id of the call."""
    ids = [call.id for call in calls if call.linkedid.startswith(CHANNEL_PREFIX)]
    rows = session.scalars(select(OrderedCall).where(one_of(OrderedCall.call_id, ids))) if ids else ()
    return {row.call_id: row for row in rows if row.call_id}


def stages_of(session: Session, call: Call) -> Sequence[StageEvent]:
    """The stages of a call in the order they happened."""
    query = select(StageEvent).where(StageEvent.call_id == call.id)
    return session.scalars(query.order_by(StageEvent.created_on, StageEvent.id)).all()


def deliveries_of(session: Session, call: Call) -> list[tuple[Delivery, str]]:
    """The deliveries of a call with the names of their webhooks, oldest first."""
    query = select(Delivery, Webhook.name).join(Webhook, Webhook.id == Delivery.webhook_id)
    rows = session.execute(query.where(Delivery.call_id == call.id).order_by(Delivery.id).limit(_MOST_DELIVERIES))
    return [(row[0], row[1]) for row in rows]


def questions_of(session: Session, call: Call) -> list[tuple[Delivery, Question, str]]:
    """What the call asked, what the answer was and what was done, with the name of the webhook, in order."""
    rows = session.execute(
        select(Delivery, Question, Webhook.name)
        .join(Question, Question.delivery_id == Delivery.id)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(Delivery.call_id == call.id)
        .order_by(Delivery.id)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def _conditions(access: Access, wanted: CallFilter) -> list[ColumnElement[bool]]:
    found = [Call.project_id == access.project.id]
    found += [Call.direction == wanted.direction] if wanted.direction else []
    found += [Call.started_on >= wanted.since] if wanted.since else []
    found += [Call.started_on < wanted.until] if wanted.until else []
    return found + ([Call.disposition == wanted.disposition] if wanted.disposition else [])


def _started_before(moment: datetime, call_id: UUID) -> ColumnElement[bool]:
    return and_(Call.started_on <= moment, or_(Call.started_on < moment, Call.id < call_id))
