"""The calls of a project: those in progress, the history with its search, and what belongs to one call."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, TypeVarTuple
from uuid import UUID

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.call_filter import CallFilter
from pbxhub.account.refusals import NotFoundError
from pbxhub.store.accounts import Pbx
from pbxhub.store.columns import one_of, unindexed
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ordered_calls import CHANNEL_PREFIX, OrderedCall
from pbxhub.store.questions import Question
from pbxhub.store.webhooks import Webhook

Place = tuple[datetime, UUID]
"""Where the next page begins: start and id of the last call of the page before."""

Columns = TypeVarTuple("Columns")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STAMP_DIGITS = 17  # of microseconds: up to the year 5138
_MOST_LIVE = 30
_MOST_NEWER = 100
_MOST_DELIVERIES = 500


def read_place(text: str) -> Place | None:
    """The place that write_place has written; None for any other text."""
    stamp, _, rest = text.partition(".")
    if not stamp.isascii() or not stamp.isdigit() or len(stamp) > _STAMP_DIGITS:
        return None
    try:
        return _EPOCH + timedelta(microseconds=int(stamp)), UUID(rest)
    except ValueError:
        return None


def write_place(call: Call) -> str:
    """Where the page after this call begins."""
    return f"{(call.started_on - _EPOCH) // timedelta(microseconds=1)}.{call.id}"


class CallOrOrder(NamedTuple):
    """A call, its order, or both: an ordered call has no row of its own before it rings."""

    call: Call | None
    ordered: OrderedCall | None


def ended_calls(
    session: Session, access: Access, wanted: CallFilter, before: Place | None, limit: int
) -> Sequence[Call]:
    """The calls that are over, newest first."""
    query = select(Call).where(Call.ended_on.is_not(None), *wanted.conditions(session, access))
    return session.scalars(newest_first(query, before, limit)).all()


def all_calls(session: Session, access: Access, wanted: CallFilter, before: Place | None, limit: int) -> Sequence[Call]:
    """Every call, newest first."""
    query = select(Call).where(*wanted.conditions(session, access))
    return session.scalars(newest_first(query, before, limit)).all()


def newest_first(query: Select[*Columns], before: Place | None, limit: int) -> Select[*Columns]:
    """The next calls of a query after a place, by their start."""
    if before:
        moment, call_id = before
        earlier = or_(Call.started_on < moment, Call.id < call_id)
        query = query.where(Call.started_on <= moment, earlier)
    return query.order_by(Call.started_on.desc(), Call.id.desc()).limit(limit)


def live_calls(session: Session, access: Access) -> list[tuple[Call, str]]:
    """The calls in progress with their last stage, oldest first so that rows keep their place."""
    last = (
        select(StageEvent.stage)
        .where(StageEvent.call_id == Call.id)
        .order_by(StageEvent.created_on.desc(), StageEvent.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    ours = select(Pbx.id).where(Pbx.project_id == access.project.id)
    rows = session.execute(
        select(Call, func.coalesce(last, ""))
        .where(Call.pbx_id.in_(ours), Call.ended_on.is_(None), unindexed(Call.project_id) == access.project.id)
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
