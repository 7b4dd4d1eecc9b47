"""Rows of deliveries on their way into the table: whoever publishes something makes them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table, bindparam, false, insert, select, text
from sqlalchemy.orm import Session

from pbxhub.store.bulk import Bulk, Query
from pbxhub.store.history import PENDING, Delivery
from pbxhub.store.session import Base

FIRST_ATTEMPTS, RETRIES, BULK = 1, 2, 3
HOLD = timedelta(seconds=30)  # how long a stage waits for the first attempt of the one before
_DELIVERY: Table = Base.metadata.tables["delivery"]
_FILLED = (
    "id", "project_id", "webhook_id", "webhook_revision", "stage_event_id", "call_id", "kind", "lane", "due_at",
    "held", "created_on", "state", "method", "url", "headers", "body", "outcome", "message", "finished_on",
)  # fmt: skip
_NEW: dict[str, Any] = {name: bindparam(name) for name in _FILLED} | {
    "attempts": text("0"), "tries": text("0"), "out_of_order": false(),
}  # fmt: skip
_INSERT_DELIVERIES = Bulk(insert(_DELIVERY).values(_NEW))
_INSERT_CALLBACK = Bulk(insert(_DELIVERY).values(_NEW | {"ordered_call_id": bindparam("ordered_call_id")}))


_BEFORE = Query(
    select(Delivery.webhook_id, Delivery.call_id)
    .where(Delivery.call_id.in_(bindparam("call_ids", expanding=True)))
    .where(Delivery.state == PENDING, Delivery.outcome == "")
    .order_by(Delivery.id)
    .with_for_update()
)


def hold_back(session: Session, rows: list[dict[str, Any]], now: datetime) -> None:
    """Within a call, a webhook's next delivery waits for the first attempt of the one before, HOLD at most.

    The rows before are locked, so that whoever records their attempt afterwards sees what waits for it.
    """
    waiting: set[tuple[int, UUID | None]] = set()
    call_ids = {row["call_id"] for row in rows if row["call_id"] is not None}
    if call_ids:
        session.flush()
        waiting = set(_BEFORE.all(session, call_ids=list(call_ids)))
    for row in rows:
        place = (row["webhook_id"], row["call_id"])
        if row["state"] != PENDING or row["call_id"] is None:
            continue
        if place in waiting:
            row["held"], row["due_at"] = True, now + HOLD
        waiting.add(place)


_CALLBACK_BEFORE = Query(
    select(Delivery.id)
    .where(Delivery.ordered_call_id == bindparam("order_id"), Delivery.state == PENDING, Delivery.outcome == "")
    .order_by(Delivery.id)
    .with_for_update()
)


def hold_back_callback(session: Session, row: dict[str, Any], now: datetime) -> None:
    """The same for callbacks of an order, which may have no call yet, or never one: told in order, whatever is slow."""
    session.flush()
    if _CALLBACK_BEFORE.first(session, order_id=row["ordered_call_id"]) is not None:
        row["held"], row["due_at"] = True, now + HOLD


def insert_deliveries(session: Session, rows: list[dict[str, Any]]) -> None:
    """Writes rows of render_row."""
    _INSERT_DELIVERIES.run(session, rows)


def insert_callback(session: Session, row: dict[str, Any]) -> None:
    """Writes a row that has ordered_call_id, too."""
    _INSERT_CALLBACK.run(session, [row])
