"""Deliveries that may have been sent between a backup and the restore: a person decides about them.

The order of events: 1. a backup is made; 2. the hub goes on, and sends the pending deliveries, and new ones of calls in
progress and of new calls; 3. it is lost; 4. the backup is restored. What was pending in 1 is pending again, and the
listener finds the calls of 2 in CEL or finds them gone. tests/test_back_up_and_restore.py
"""

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import literal_column, or_, select, true, update
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.lost_attempts import end_lost
from pbxhub.delivery.outbox.put_back import put_back
from pbxhub.sending.outcomes import OUTCOMES, RESTORED
from pbxhub.store.accounts import Project
from pbxhub.store.delivery_rows import FAILED, PENDING, WAITING, Delivery, NewDelivery
from pbxhub.store.resends import RUNNING, STOPPED, Resend

_QUIETLY = {"synchronize_session": False}


def fail_restored(session: Session, now: datetime) -> int:
    """Call it once after a restore, before any worker runs. Returns how many deliveries stand on the error check.

    What was pending in the backup is not sent by itself; Send on the error check does it, with the same webhook-id.
    Resends are stopped, and what they had put into the queue is what it was before.
    """
    session.execute(update(Project).values(restored_on=now), execution_options=_QUIETLY)
    session.execute(update(Resend).where(Resend.state == RUNNING).values(state=STOPPED), execution_options=_QUIETLY)
    session.execute(update(Delivery).where(_IS_PENDING).values(claim_token=None), execution_options=_QUIETLY)
    end_lost(session, select(Delivery.id).where(_IS_PENDING), now)
    put_back(session, true(), now)
    open_ones = or_(_IS_PENDING, Delivery.state == WAITING)
    waiting = update(Delivery).where(open_ones).values(
        state=FAILED, held=False, outcome=RESTORED, message=OUTCOMES[RESTORED].sentence, finished_on=now
    )  # fmt: skip
    return session.execute(waiting, execution_options=_QUIETLY).rowcount  # type: ignore[attr-defined,no-any-return]


def fail_if_reported_before(
    deliveries: Iterable[NewDelivery], began: datetime | None, restored_on: datetime | None, now: datetime
) -> None:
    """Fails new deliveries of a call or an order from before the restore, because the lost hub may have sent them
    already. began: when the call or the order began."""
    if restored_on is None or began is None or began >= restored_on:
        return
    for one in deliveries:
        if one.state in (PENDING, WAITING):
            one.state, one.outcome, one.message, one.finished_on = FAILED, RESTORED, OUTCOMES[RESTORED].sentence, now


_IS_PENDING = Delivery.state == literal_column("'pending'")  # spelled out, so that the partial index serves it
