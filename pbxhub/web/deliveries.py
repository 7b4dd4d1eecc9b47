"""The list of deliveries, shared by the deliveries page, the error check and the exports."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, defer

from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.web.delivery_filter import DeliveryFilter
from pbxhub.web.paging import PAGE, Page, uuid_key

MOST_EXPORTED = 50_000
MOST_NEWER = 100
_EXPORT_GROUP = 1000


def delivery_rows(session: Session, project_id: int, wanted: DeliveryFilter) -> Page[Any]:
    """One page of rows (delivery, webhook name, stage, caller, dst), newest first; without bodies."""
    rows = session.execute(_query(session, project_id, wanted, uuid_key()).limit(PAGE + 1)).all()
    return Page(rows[:PAGE], str(rows[PAGE - 1][0].id) if len(rows) > PAGE else "")


def newer_rows(session: Session, project_id: int, wanted: DeliveryFilter, newest: UUID | None) -> int:
    """How many of the list came after this one, up to MOST_NEWER."""
    found = select(Delivery.id).where(*wanted.conditions(session, project_id))
    found = found.where(Delivery.id > newest) if newest else found
    return session.scalar(select(func.count()).select_from(found.limit(MOST_NEWER).subquery())) or 0


def _query(
    session: Session, project_id: int, wanted: DeliveryFilter, before: UUID | None
) -> Select[Delivery, str, str, str, str, str]:
    query = (
        select(Delivery, Webhook.name, StageEvent.stage, Call.caller, Call.dst, Call.direction)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .outerjoin(StageEvent, StageEvent.id == Delivery.stage_event_id)
        .outerjoin(Call, Call.id == Delivery.call_id)
        .where(*wanted.conditions(session, project_id))
        .options(defer(Delivery.body), defer(Delivery.headers))
        .order_by(Delivery.id.desc())
    )
    return query.where(Delivery.id < before) if before else query


def export_rows(database: Database, project_id: int, wanted: DeliveryFilter) -> Iterator[Any]:
    """Rows as in delivery_rows, newest first, MOST_EXPORTED at most, read in groups."""
    before: UUID | None = None
    for _group in range(0, MOST_EXPORTED, _EXPORT_GROUP):
        with database.read() as session:
            rows = session.execute(_query(session, project_id, wanted, before).limit(_EXPORT_GROUP)).all()
        yield from (row[:5] for row in rows)
        if len(rows) < _EXPORT_GROUP:
            return
        before = rows[-1][0].id
