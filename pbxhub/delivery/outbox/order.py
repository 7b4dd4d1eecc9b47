"""Within a sequence (a call, an ordered call), a webhook sends one delivery after the other: who lets the next go."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Uuid, bindparam, select, text, update
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.rows import HOLD
from pbxhub.store.bulk import Query
from pbxhub.store.columns import UtcDateTime
from pbxhub.store.history import Delivery
from pbxhub.store.session import hurry

_QUIETLY = {"synchronize_session": False}
_IS_HELD = text("delivery.held")  # as the partial index has it; the column itself would be written held = 1
# The order leads to the partial index: without statistics PostgreSQL takes half of the rows for held, and would begin
# to read the table.
_ANY_HELD = Query(text("SELECT 1 AS there FROM delivery WHERE held ORDER BY sequence_id LIMIT 1"))
_HELD = Query(
    select(Delivery.webhook_id, Delivery.sequence_id, Delivery.id)
    .where(_IS_HELD, Delivery.sequence_id.in_(bindparam("sequence_ids", expanding=True)))
    .order_by(Delivery.id.desc())
)


_BEFORE = Query(
    text("""
    SELECT h.id AS raw, h.id, min(CASE WHEN p.claim_token IS NULL THEN :now ELSE a.started_on END) AS since
      FROM delivery h
      JOIN delivery p ON p.sequence_id = h.sequence_id AND +p.webhook_id = h.webhook_id AND p.id < h.id
                     AND p.state = 'pending' AND p.outcome = ''
      LEFT JOIN attempt a ON a.delivery_id = p.id AND a.number = p.attempts
     WHERE h.id IN :ids GROUP BY h.id""")
    .bindparams(bindparam("now", type_=UtcDateTime()), bindparam("ids", expanding=True))
    .columns(id=Uuid(), since=UtcDateTime())
)


def hold_on(session: Session, rows: Sequence[Row[Any]], now: datetime) -> list[Row[Any]]:
    """The rows to send: of those whose time of waiting is over, the ones whose stage before has had its HOLD too.

    A stage before that waits itself (its webhook was paused, its receiver is slow) has not: the order holds until
    HOLD after its request has left.
    """
    held = [row.id for row in rows if row.held]
    before = _BEFORE.all(session, ids=held, now=now) if held else []
    waiting = {row.raw: (row.id, row.since + HOLD) for row in before if row.since + HOLD > now}
    for delivery_id, until in waiting.values():
        free = select(Delivery.id).where(Delivery.id == delivery_id, _IS_HELD).with_for_update(skip_locked=True)
        session.execute(update(Delivery).where(Delivery.id.in_(free)).values(due_at=until), execution_options=_QUIETLY)
    return [row for row in rows if row.id not in waiting]


def release_next(session: Session, places: Iterable[tuple[int, UUID | None]], now: datetime) -> bool:
    """places: (webhook, sequence) whose delivery has had its first attempt or will never have one. True: one goes."""
    wanted = set(places)
    sequence_ids = {sequence_id for _, sequence_id in wanted if sequence_id is not None}
    if not sequence_ids or _ANY_HELD.first(session) is None:
        return False
    held = _HELD.all(session, sequence_ids=list(sequence_ids))
    oldest = {(webhook_id, sequence_id): delivery_id for webhook_id, sequence_id, delivery_id in held}
    going = [delivery_id for place, delivery_id in oldest.items() if place in wanted]
    if going:
        hurry(session)
        session.execute(
            update(Delivery).where(Delivery.id.in_(going)).values(held=False, due_at=now),
            execution_options=_QUIETLY,
        )
    return bool(going)
