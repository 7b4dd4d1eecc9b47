"""Rows of deliveries on their way into the table: whoever publishes something makes them."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table, select, text
from sqlalchemy.orm import Session

from pbxhub.store.bulk import Insert, Query
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import PENDING, Delivery
from pbxhub.store.session import Base

FIRST_ATTEMPTS, RETRIES, BULK = 1, 2, 3
HOLD = timedelta(seconds=30)  # how long a stage waits for the first attempt of the one before
_DELIVERY: Table = Base.metadata.tables["delivery"]
_FILLED = (
    "id", "project_id", "webhook_id", "webhook_revision", "stage_event_id", "call_id", "sequence_id", "kind", "lane",
    "due_at", "held", "created_on", "state", "method", "url", "headers", "body", "outcome", "message", "finished_on",
)  # fmt: skip
_INSERT_DELIVERIES = Insert(_DELIVERY, _FILLED, {"attempts": "0", "tries": "0", "out_of_order": "false"})


_BEFORE = Query(
    select(Delivery.webhook_id, Delivery.sequence_id)
    .where(one_of(Delivery.sequence_id, "sequence_ids"))
    .where(text("delivery.state = 'pending' AND delivery.outcome = ''"))  # as the partial index has it
    .where(Delivery.lane <= FIRST_ATTEMPTS)
    .order_by(Delivery.id)
    .with_for_update(key_share=True)
)


def hold_back(session: Session, rows: list[dict[str, Any]], now: datetime) -> None:
    """New rows of the lane FIRST_ATTEMPTS: within a sequence, a webhook's next delivery waits for the first attempt of
    the one before. See order.py for the rule.

    The rows before are locked, so that whoever records their attempt afterwards sees what waits for it.
    """
    waiting: set[tuple[int, UUID | None]] = set()
    sequence_ids = {row["sequence_id"] for row in rows if row["sequence_id"] is not None}
    if sequence_ids:
        session.flush()
        waiting = set(_BEFORE.all(session, sequence_ids=list(sequence_ids)))
    for row in rows:
        place = (row["webhook_id"], row["sequence_id"])
        if row["state"] != PENDING or row["sequence_id"] is None:
            continue
        if place in waiting:
            row["held"], row["due_at"] = True, now + HOLD
        waiting.add(place)


def insert_deliveries(session: Session, rows: list[dict[str, Any]]) -> None:
    """Writes rows of render_row."""
    _INSERT_DELIVERIES.run(session, rows)
