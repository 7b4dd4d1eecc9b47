"""Marks failed deliveries as checked, or sends them again, one or many."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.refusals import BusyError, ConflictError, NotFoundError
from pbxhub.delivery.outbox import CannotResendError, Selection, check, order_resend, resend_one, stop_resend, uncheck
from pbxhub.store.accounts import lock_project
from pbxhub.store.resends import RUNNING, Resend
from pbxhub.translatable import say

MOST_SELECTED = 1000  # deliveries chosen one by one
FASTEST = 1000  # deliveries a second
USUAL_RATE = 20
MOST_RUNNING = 5  # orders of one project: each takes a turn of the database about once a second
_RETRY_AFTER = 60  # seconds


def mark_checked(session: Session, access: Access, selection: Selection) -> int:
    """Removes failed deliveries from the error page; they stay in the history. Returns how many."""
    count = check(session, access.project.id, selection, access.now)
    note(session, access, "failures checked", str(count))
    return count


def unmark_checked(session: Session, access: Access, moment: datetime) -> int:
    """Puts what mark_checked took off the error page at that moment back on it. Returns how many."""
    count = uncheck(session, access.project.id, moment)
    note(session, access, "failures put back", str(count))
    return count


def send_again(session: Session, access: Access, selection: Selection, rate: int, current_settings: bool) -> Resend:
    """Orders the sending again of all failed deliveries selected. rate: deliveries a second, 1 to FASTEST.

    current_settings: rendered anew by the webhook as it is now; else sent as they were. Raises BusyError when
    MOST_RUNNING are running.
    """
    refuse_many(session, access)
    order = order_resend(
        session, access.project.id, selection, access.now, rate=min(rate, FASTEST), current_settings=current_settings,
        author_id=access.user.id,
    )  # fmt: skip
    note(session, access, "sent again", str(order.total))
    session.flush()
    return order


def refuse_many(session: Session, access: Access) -> None:
    """Before an order is added. Raises BusyError when MOST_RUNNING of the project are running."""
    lock_project(session, access.project.id)  # of two at the same moment the second counts the first
    mine = Resend.project_id == access.project.id, Resend.state == RUNNING
    running = session.scalar(select(func.count()).select_from(Resend).where(*mine)) or 0
    if running >= MOST_RUNNING:
        sentence = say("%(n)s such orders are running already. Stop one, or wait until one has ended.", n=running)
        raise BusyError(sentence, _RETRY_AFTER)


def send_one_again(session: Session, access: Access, delivery_id: UUID, current_settings: bool) -> None:
    """Puts one delivery in the queue at once. Raises ConflictError when it cannot be sent again."""
    try:
        resend_one(access.hub.context, session, access.project.id, delivery_id, access.now, current_settings)
    except CannotResendError as error:
        raise ConflictError(error.args[0]) from None
    note(session, access, "sent again", str(delivery_id))


def resend_of(session: Session, access: Access, resend_id: UUID) -> Resend:
    """An order of the project. Raises NotFoundError for anything else."""
    row = session.get(Resend, resend_id)
    if row is None or row.project_id != access.project.id:
        raise NotFoundError
    return row


def newest_resends(session: Session, access: Access, limit: int) -> list[Resend]:
    """The newest orders with their progress."""
    query = select(Resend).where(Resend.project_id == access.project.id).order_by(Resend.id.desc()).limit(limit)
    return list(session.scalars(query))


def stop_sending(session: Session, access: Access, resend_id: UUID) -> None:
    """Stops an order; what was not sent yet is what it was before. Raises NotFoundError, or ConflictError when it is
    over."""
    resend_of(session, access, resend_id)
    if not stop_resend(session, access.project.id, resend_id, access.now):
        raise ConflictError(say("It has ended already: everything was sent, or it was stopped."))
    note(session, access, "sending again stopped", str(resend_id))
