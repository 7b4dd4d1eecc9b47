"""Within a call, a webhook's next delivery goes after the first attempt of the one before: who lets it go."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import bindparam, select, text, update
from sqlalchemy.orm import Session

from pbxhub.store.bulk import Query
from pbxhub.store.history import Delivery

_IS_HELD = text("delivery.held")  # as the partial index has it; the column itself would be written held = 1
_ANY_HELD = Query(text("SELECT 1 AS there FROM delivery WHERE held LIMIT 1"))
_HELD = Query(
    select(Delivery.webhook_id, Delivery.call_id, Delivery.id)
    .where(_IS_HELD, Delivery.call_id.in_(bindparam("call_ids", expanding=True)))
    .order_by(Delivery.id.desc())
)


def release_next(session: Session, places: Iterable[tuple[int, UUID | None]], now: datetime) -> bool:
    """places: (webhook, call) whose delivery has had its first attempt, or will never have one. True: one goes now."""
    wanted = set(places)
    call_ids = {call_id for _, call_id in wanted if call_id is not None}
    if not call_ids or _ANY_HELD.first(session) is None:
        return False
    held = _HELD.all(session, call_ids=list(call_ids))
    oldest = {(webhook_id, call_id): delivery_id for webhook_id, call_id, delivery_id in held}
    going = [delivery_id for place, delivery_id in oldest.items() if place in wanted]
    if going:
        session.execute(
            update(Delivery)
            .where(Delivery.id.in_(going))
            .values(held=False, due_at=now)
            .execution_options(synchronize_session=False)
        )
    return bool(going)
