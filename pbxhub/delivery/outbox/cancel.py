"""Deliveries that need no more attention: cancelled with their webhook, or failed and checked by a user."""

from datetime import datetime

from sqlalchemy import and_, literal_column, select, update
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.lost_attempts import end_lost
from pbxhub.delivery.outbox.put_back import WAS_RESENT, is_free, put_back
from pbxhub.delivery.outbox.selection import Selection
from pbxhub.sending.outcomes import OUTCOMES
from pbxhub.store.delivery_rows import CANCELLED, FAILED, LANES, WAITING, Delivery

_IS_PENDING = Delivery.state == literal_column("'pending'")  # a literal, so that the partial index can be used


def cancel_pending(session: Session, webhook_id: int, now: datetime) -> int:
    """Cancels the pending deliveries of a webhook. Call it in the transaction that disables or deletes the webhook.
    Returns how many are no longer pending.

    A delivery that was to be sent again returns to the state it had before. A request in flight is recorded when it
    ends, and not retried. A row that is locked at this moment is cancelled by the next claim.
    tests/test_work_beside_locked_rows.py
    """
    waits = and_(_IS_PENDING, Delivery.lane.in_(LANES), Delivery.webhook_id == webhook_id)
    back = put_back(session, waits, now, skip_locked=True)
    free = select(Delivery.id).where(waits, is_free(now), ~WAS_RESENT).with_for_update(skip_locked=True)
    end_lost(session, free.where(Delivery.claim_token.is_not(None)), now)
    for_an_answer = and_(Delivery.webhook_id == webhook_id, Delivery.state == WAITING)
    cancelled = {
        "state": CANCELLED, "claim_token": None, "held": False, "outcome": "cancelled", "finished_on": now,
        "message": OUTCOMES["cancelled"].sentence,
    }  # fmt: skip
    for which in (Delivery.id.in_(free), for_an_answer):
        ended = update(Delivery).where(which).values(cancelled).execution_options(synchronize_session=False)
        back += session.execute(ended).rowcount  # type: ignore[attr-defined]
    return back


def uncheck(session: Session, project_id: int, moment: datetime) -> int:
    """Puts back on the error page what `check` took off it at that moment. Returns how many."""
    seen = (
        update(Delivery)
        .where(Delivery.project_id == project_id, Delivery.state == FAILED, Delivery.checked_on == moment)
        .values(checked_on=None)
        .execution_options(synchronize_session=False)
    )
    return session.execute(seen).rowcount  # type: ignore[attr-defined,no-any-return]


def check(session: Session, project_id: int, selection: Selection, now: datetime) -> int:
    """Takes the selected failed deliveries off the error page; they stay in the history. Returns how many."""
    seen = (
        update(Delivery)
        .where(*selection.conditions(project_id), Delivery.state == FAILED, Delivery.checked_on.is_(None))
        .values(checked_on=now)
        .execution_options(synchronize_session=False)
    )
    return session.execute(seen).rowcount  # type: ignore[attr-defined,no-any-return]
