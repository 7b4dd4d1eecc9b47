"""Within a call, a webhook's next delivery goes after the first attempt of the one before: who lets it go."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Uuid, bindparam, select, text, update
from sqlalchemy.orm import Session, aliased

from pbxhub.delivery.outbox.rows import HOLD
from pbxhub.store.bulk import Query
from pbxhub.store.columns import UtcDateTime
from pbxhub.store.history import Delivery

_QUIETLY = {"synchronize_session": False}
_IS_HELD = text("delivery.held")  # as the partial index has it; the column itself would be written held = 1
_ANY_HELD = Query(text("SELECT 1 AS there FROM delivery WHERE held LIMIT 1"))
_HELD = Query(
    select(Delivery.webhook_id, Delivery.call_id, Delivery.id)
    .where(_IS_HELD, Delivery.call_id.in_(bindparam("call_ids", expanding=True)))
    .order_by(Delivery.id.desc())
)


_BEFORE = Query(
    text("""
    SELECT h.id AS raw, h.id, min(CASE WHEN p.claim_token IS NULL THEN :now ELSE a.started_on END) AS since
      FROM delivery h
      JOIN delivery p ON p.call_id = h.call_id AND p.webhook_id = h.webhook_id AND p.id < h.id
                     AND p.state = 'pending' AND p.outcome = ''
      LEFT JOIN attempt a ON a.delivery_id = p.id AND a.number = p.attempts
     WHERE h.id IN :ids AND h.ordered_call_id IS NULL GROUP BY h.id
    UNION ALL
    SELECT h.id AS raw, h.id, min(CASE WHEN p.claim_token IS NULL THEN :now ELSE a.started_on END) AS since
      FROM delivery h
      JOIN delivery p ON p.ordered_call_id = h.ordered_call_id AND p.id < h.id
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
        session.execute(
            update(Delivery).where(Delivery.id == delivery_id).values(due_at=until), execution_options=_QUIETLY
        )
    return [row for row in rows if row.id not in waiting]


def release_next(session: Session, places: Iterable[tuple[int, UUID | None]], now: datetime) -> bool:
    """places: (webhook, call) whose delivery has had its first attempt, or will never have one. True: one goes now."""
    wanted = set(places)
    call_ids = {call_id for _, call_id in wanted if call_id is not None}
    if not call_ids or _ANY_HELD.first(session) is None:
        return False
    held = _HELD.all(session, call_ids=list(call_ids))
    oldest = {(webhook_id, call_id): delivery_id for webhook_id, call_id, delivery_id in held}
    going = [delivery_id for place, delivery_id in oldest.items() if place in wanted]
    return _let_go(session, going, now)


_BEHIND = aliased(Delivery)
_HELD_CALLBACKS = Query(
    select(_BEHIND.ordered_call_id, _BEHIND.id)
    .join(Delivery, Delivery.ordered_call_id == _BEHIND.ordered_call_id)
    .where(Delivery.id.in_(bindparam("ids", expanding=True)), _BEHIND.held)
    .order_by(_BEHIND.id.desc())
)


def release_callbacks(session: Session, delivery_ids: Sequence[UUID], now: datetime) -> bool:
    """The same for callbacks of ordered calls: delivery_ids have had their first attempt, or will never have one."""
    if not delivery_ids or _ANY_HELD.first(session) is None:
        return False
    oldest = dict(_HELD_CALLBACKS.all(session, ids=list(delivery_ids)))
    return _let_go(session, list(oldest.values()), now)


def _let_go(session: Session, going: Sequence[UUID], now: datetime) -> bool:
    if going:
        session.execute(
            update(Delivery).where(Delivery.id.in_(going)).values(held=False, due_at=now),
            execution_options=_QUIETLY,
        )
    return bool(going)
