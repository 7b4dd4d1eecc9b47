"""A worker that stops gives back what it could not finish, instead of letting the lease run out."""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.claim import Claimed
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import Delivery


def give_back(context: DeliveryContext, session: Session, claimed: Iterable[Claimed], now: datetime) -> None:
    """The next claim finds them at once, marks the attempt worker_lost (nobody knows how it ended) and sends again."""
    leases = {one.id: one.token for one in claimed}
    if not leases:
        return
    session.execute(
        update(Delivery)
        .where(one_of(Delivery.id, leases), one_of(Delivery.claim_token, set(leases.values())))
        .values(due_at=now)
        .execution_options(synchronize_session=False)
    )
    context.wakeups.send(session)
