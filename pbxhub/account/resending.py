"""Marks failed deliveries as checked, or sends them again, one or many, and says what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import and_, func, or_, select, union_all
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, row_of
from pbxhub.account.audit_log import note
from pbxhub.account.refusals import BusyError, ConflictError
from pbxhub.delivery.outbox import (
    CannotResendError,
    Selection,
    check,
    order_resend,
    resend_one,
    stop_resend,
    uncheck,
    unsent_of,
)
from pbxhub.store.accounts import lock_project
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import DELIVERED, FAILED, PENDING, WAITING, Delivery
from pbxhub.store.resends import DONE, RUNNING, Resend
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import say

MOST_SELECTED = 1000  # deliveries chosen one by one
FASTEST = 1000  # deliveries a second
USUAL_RATE = 20
MOST_RUNNING = 5  # orders of one project: each takes a turn of the database about once a second
MOST_SHOWN = 20
MOST_ENDED = 3  # orders whose end is told
MOST_COUNTED = 5000  # deliveries of an order that are looked at to tell it
_TOLD = timedelta(hours=24)


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


def send_again(
    session: Session, access: Access, selection: Selection, total: int, rate: int, current_settings: bool
) -> Resend:
    """Orders the sending again of all failed deliveries selected. rate: deliveries a second, 1 to FASTEST. total: by
    count_by_webhook, in a reading transaction before this one, so that nobody waits while it is counted.

    current_settings: rendered anew by the webhook as it is now; else sent as they were. Raises BusyError when
    MOST_RUNNING are running.
    """
    refuse_many(session, access)
    order = order_resend(
        session, access.project.id, selection, total, access.now, rate=min(rate, FASTEST),
        current_settings=current_settings, author_id=access.user.id,
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
        raise BusyError(sentence)


def send_one_again(session: Session, access: Access, delivery_id: UUID, current_settings: bool) -> None:
    """Puts one delivery in the queue at once. Raises ConflictError when it cannot be sent again."""
    try:
        resend_one(access.hub.context, session, access.project.id, delivery_id, access.now, current_settings)
    except CannotResendError as error:
        raise ConflictError(error.args[0]) from None
    note(session, access, "sent again", str(delivery_id))


@dataclass(frozen=True, slots=True)
class Sending:
    """An order that can be stopped. unsent: deliveries that it has queued and no worker has begun; held: how many of
    these wait because their webhook is paused."""

    order: Resend
    unsent: int
    held: int


@dataclass(frozen=True, slots=True)
class FailedAgain:
    """Deliveries of one webhook that have failed for one reason."""

    webhook: Webhook
    outcome: str
    status_code: int | None
    count: int


@dataclass(frozen=True, slots=True)
class OrderResult:
    """What became of an order. sent: what it has queued, and nobody has sent again or taken back since; on_their_way:
    of these, those that are being sent or will be tried again. More than MOST_COUNTED are not counted: None."""

    order: Resend
    sent: int
    delivered: int | None = None
    on_their_way: int | None = None
    failed: Sequence[FailedAgain] = ()

    @property
    def failures(self) -> int | None:
        return None if self.delivered is None else sum(one.count for one in self.failed)


def all_shown(session: Session, access: Access) -> tuple[list[Sending], list[OrderResult]]:
    """The newest MOST_SHOWN orders that queue deliveries or have queued some that no worker has begun; and what became
    of the newest MOST_ENDED others of the last day, without those of which everything was sent again since."""
    unsent = unsent_of(access.project.id)
    goes = or_(Resend.state == RUNNING, and_(Resend.state == DONE, Resend.id.in_(select(unsent.c.resend_id))))
    has_own = select(Delivery.id).where(Delivery.resend_id == Resend.id).exists()
    mine = select(Resend.id).where(Resend.project_id == access.project.id).order_by(Resend.id.desc())
    sending = mine.where(goes).limit(MOST_SHOWN)
    ended = mine.where(~goes, Resend.stepped_on > access.now - _TOLD, has_own).limit(MOST_ENDED)
    shown = union_all(select(sending.subquery().c.id), select(ended.subquery().c.id))
    query = select(Resend, goes.label("goes"), unsent.c.count, unsent.c.held)
    query = query.outerjoin(unsent, unsent.c.resend_id == Resend.id).where(Resend.id.in_(shown))
    rows = session.execute(query.order_by(Resend.id.desc())).all()
    return (
        [Sending(order, count or 0, int(held or 0)) for order, goes, count, held in rows if goes],
        [result_of(session, order) for order, goes, *_ in rows if not goes],
    )


def result_of(session: Session, order: Resend) -> OrderResult:
    """What became of the deliveries of an order so far."""
    columns = (Delivery.webhook_id, Delivery.state, Delivery.outcome, Delivery.status_code)
    rows = select(*columns).where(Delivery.resend_id == order.id).limit(MOST_COUNTED + 1).subquery()
    counted = session.execute(select(*rows.c, func.count().label("number")).group_by(*rows.c)).all()
    sent = sum(row.number for row in counted)
    if sent > MOST_COUNTED:
        return OrderResult(order, order.queued)
    webhooks = {row.webhook_id for row in counted if row.state == FAILED}
    by_id = {one.id: one for one in session.scalars(select(Webhook).where(one_of(Webhook.id, webhooks)))}
    failed = [FailedAgain(by_id[row.webhook_id], row.outcome, row.status_code, row.number)
              for row in counted if row.state == FAILED]  # fmt: skip
    return OrderResult(
        order, sent,
        delivered=sum(row.number for row in counted if row.state == DELIVERED),
        on_their_way=sum(row.number for row in counted if row.state in (PENDING, WAITING)),
        failed=sorted(failed, key=lambda one: -one.count),
    )  # fmt: skip


def stop_sending(session: Session, access: Access, resend_id: UUID) -> Resend:
    """Stops an order; what was not sent yet is what it was before, or gone if the order has added it. Raises
    NotFoundError, or ConflictError when it is over."""
    order = row_of(session, access, Resend, resend_id)
    if not stop_resend(session, access.project.id, resend_id, access.now):
        raise ConflictError(say("It has ended already: everything was sent, or it was stopped."))
    note(session, access, "sending again stopped", str(resend_id))
    return order
