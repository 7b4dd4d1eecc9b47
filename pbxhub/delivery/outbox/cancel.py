"""Deliveries that will not be sent: their webhook was deleted or disabled."""

from datetime import datetime

from sqlalchemy import and_, literal_column, select, update
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.lost_attempts import end_lost
from pbxhub.delivery.outbox.put_back import WAS_RESENT, is_free, put_back
from pbxhub.sending.outcomes import OUTCOMES
from pbxhub.store.delivery_rows import CANCELLED, Delivery

_IS_PENDING = Delivery.state == literal_column("'pending'")  # spelled out, so that the partial index serves it


def cancel_pending(session: Session, webhook_id: int, now: datetime) -> int:
    """Cancels what waits for that webhook; call it in the transaction that disables or deletes it. Returns how many.

    What was delivered or had failed and waits to be sent again is what it was before. A request that is in flight at
    this moment is recorded as it ends; it is not tried again. What somebody else has locked at this moment is
    cancelled by the next claim.
    """
    waits = and_(_IS_PENDING, Delivery.lane.in_((1, 2, 3)), Delivery.webhook_id == webhook_id)
    back = put_back(session, waits, now, skip_locked=True)
    free = select(Delivery.id).where(waits, is_free(now), ~WAS_RESENT).with_for_update(skip_locked=True)
    end_lost(session, free.where(Delivery.claim_token.is_not(None)), now)
    waiting = (
        update(Delivery)
        .where(Delivery.id.in_(free))
        .values(
            state=CANCELLED, claim_token=None, held=False, outcome="cancelled", finished_on=now,
            message=OUTCOMES["cancelled"].sentence,
        )
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    return back + session.execute(waiting).rowcount  # type: ignore[attr-defined,no-any-return]
