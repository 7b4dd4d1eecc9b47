"""Deliveries that will not be sent: their webhook was deleted or disabled."""

from datetime import datetime

from sqlalchemy import literal_column, or_, select, update
from sqlalchemy.orm import Session

from pbxhub.delivery.outcomes import OUTCOMES
from pbxhub.store.history import CANCELLED, Delivery

_IS_PENDING = Delivery.state == literal_column("'pending'")  # spelled out, so that the partial index serves it


def cancel_pending(session: Session, webhook_id: int, now: datetime) -> int:
    """Cancels what waits for that webhook; call it in the transaction that disables or deletes it. Returns how many.

    A request that is in flight at this moment is recorded as it ends; it is not tried again. What somebody else has
    locked at this moment is cancelled by the next claim.
    """
    free = (
        select(Delivery.id)
        .where(_IS_PENDING, Delivery.lane.in_((1, 2, 3)), Delivery.webhook_id == webhook_id)
        .where(or_(Delivery.claim_token.is_(None), Delivery.due_at <= now))
        .with_for_update(skip_locked=True)
    )
    waiting = (
        update(Delivery)
        .where(Delivery.id.in_(free))
        .values(
            state=CANCELLED, claim_token=None, held=False, outcome="cancelled", finished_on=now,
            message=OUTCOMES["cancelled"].sentence,
        )
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    return session.execute(waiting).rowcount  # type: ignore[attr-defined,no-any-return]
