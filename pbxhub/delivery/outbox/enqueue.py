"""Puts rendered deliveries into the queue, in the transaction that writes the stage or event they report."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.sequence import hold_back
from pbxhub.delivery.outbox.write_attempts import begin_attempts
from pbxhub.store.delivery_rows import FAILED, PENDING, NewDelivery, insert_deliveries
from pbxhub.store.events import NewEvent, keep


def enqueue(
    context: DeliveryContext,
    session: Session,
    deliveries: Sequence[NewDelivery],
    now: datetime,
    hand_over: bool = False,
) -> None:
    """Inserts them, held if another delivery is ahead in their sequence, and wakes the workers.

    hand_over: lets the worker of this process claim them in this transaction, if it can. Then this comes last in it,
    because nobody else claims meanwhile.

    A delivery that could not be rendered is inserted as failed, with an error event.
    """
    if not deliveries:
        return
    hold_back(session, deliveries, now)
    claimed = context.handoff.claim(session, deliveries) if hand_over else ()
    insert_deliveries(session, deliveries)
    begin_attempts(session, claimed)
    keep(session, [_error_event(one) for one in deliveries if one.state == FAILED])
    pending = [one for one in deliveries if one.state == PENDING]
    if any(one.claim_token is None and not one.held for one in pending) or (pending and not claimed):
        context.wakeups.send(session)


def _error_event(failed: NewDelivery) -> NewEvent:
    data = {"text": failed.message or failed.outcome, "fatal": False, "delivery_id": str(failed.id)}
    return NewEvent(failed.project_id, "error", failed.created_on, data, failed.call_id)
