"""The deliveries of a project: found by a filter, counted, exported."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, and_, func, or_, select
from sqlalchemy.orm import Session, defer

from pbxhub.account.access import Access
from pbxhub.delivery.outbox import Selection, list_conditions
from pbxhub.store.delivery_rows import PENDING, Attempt, Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook

MOST_EXPORTED = 50_000
MOST_NEWER = 100
_EXPORT_GROUP = 1000


class Listed(NamedTuple):
    """A delivery with what its list shows of webhook, stage and call; without body and headers, and without the values
    of the call."""

    delivery: Delivery
    webhook: str
    stage: str | None
    call: Call | None


def listed(
    session: Session, project_id: int, selection: Selection, state: str, before: UUID | None, limit: int
) -> list[Listed]:
    """The deliveries of a filter, newest first. state: only this one, "" for all. before: only those older."""
    query = (
        select(Delivery, Webhook.name, StageEvent.stage, Call)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .outerjoin(StageEvent, StageEvent.id == Delivery.stage_event_id)
        .outerjoin(Call, Call.id == Delivery.call_id)
        .where(*list_conditions(session, project_id, selection, state))
        .options(defer(Delivery.body), defer(Delivery.headers), defer(Call.data), defer(Call.answers))
        .order_by(Delivery.id.desc())
        .limit(limit)
    )
    query = query.where(Delivery.id < before) if before else query
    return [Listed(*row) for row in session.execute(query)]


def count_newer(session: Session, project_id: int, selection: Selection, state: str, newest: UUID | None) -> int:
    """How many deliveries of a filter are newer than this one, up to MOST_NEWER."""
    found: Select[Any] = select(Delivery.id).where(*list_conditions(session, project_id, selection, state))
    found = found.where(Delivery.id > newest) if newest else found
    return session.scalar(select(func.count()).select_from(found.limit(MOST_NEWER).subquery())) or 0


def exported(database: Database, project_id: int, selection: Selection, state: str) -> Iterator[Listed]:
    """The same as listed, MOST_EXPORTED at most. Read in groups, each in a short transaction of its own, so that a slow
    download holds nothing."""
    before: UUID | None = None
    for _group in range(0, MOST_EXPORTED, _EXPORT_GROUP):
        with database.read() as session:
            rows = listed(session, project_id, selection, state, before, _EXPORT_GROUP)
        yield from rows
        if len(rows) < _EXPORT_GROUP:
            return
        before = rows[-1].delivery.id


def calls_of(rows: Iterable[Listed]) -> list[Call]:
    """The calls of some rows of the list, for their names."""
    return [row.call for row in rows if row.call]


def attempts_of(session: Session, delivery: Delivery, limit: int | None = None) -> list[Attempt]:
    """The requests of a delivery that left, newest first."""
    query = select(Attempt).where(Attempt.delivery_id == delivery.id).order_by(Attempt.number.desc()).limit(limit)
    return list(session.scalars(query))


def sent_since(session: Session, deliveries: Iterable[Delivery], now: datetime) -> dict[UUID, datetime]:
    """Since when those of which a request is on its way now are being sent. The others are missing."""
    leased = [row for row in deliveries if row.state == PENDING and row.claim_token and row.due_at > now]
    if not leased:
        return {}
    newest = or_(*(and_(Attempt.delivery_id == row.id, Attempt.number == row.attempts) for row in leased))
    begun = select(Attempt.delivery_id, Attempt.started_on).where(newest, Attempt.finished_on.is_(None))
    return {row.delivery_id: row.started_on for row in session.execute(begun)}


def webhook_names(session: Session, access: Access) -> list[tuple[int, str]]:
    """The webhooks to choose from in a filter; deleted ones, too, while they have deliveries."""
    rows = session.execute(
        select(Webhook.id, Webhook.name)
        .where(Webhook.project_id == access.project.id)
        .order_by(Webhook.position, Webhook.id)
    )
    return [(row.id, row.name) for row in rows]
