"""Sends deliveries again, one or many, as they were or with the current settings of their webhooks.

The id of a delivery, and so webhook-id, stays the same, so that a receiver recognizes the message.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, literal_column, select
from sqlalchemy.orm import Session

from pbxhub.calls.stages import JSON
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.missing import Missing, step_missing, take_out_missing
from pbxhub.delivery.outbox.own_webhooks import RESTHOOK
from pbxhub.delivery.outbox.put_back import as_it_is, put_back
from pbxhub.delivery.outbox.render import request_columns
from pbxhub.delivery.outbox.selection import Selection, load_selection
from pbxhub.delivery.outbox.sequence import hold_resent
from pbxhub.delivery.outbox.stored_stages import values_of_stored
from pbxhub.delivery.prune import PAUSE
from pbxhub.delivery.stage_values import DeliveryValues, Lookups
from pbxhub.delivery.webhook_cache import LiveWebhook
from pbxhub.store.delivery_rows import BULK, FIRST_ATTEMPTS, PENDING, WAITING, Delivery
from pbxhub.store.history import StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.questions import KIND
from pbxhub.store.resends import DONE, RUNNING, STOPPED, BeforeResend, Resend
from pbxhub.translatable import say
from pbxhub.webhooks.request import NotSent, Request

STEP = 200  # deliveries put in the queue in one transaction
_IS_RUNNING = literal_column("state") == literal_column("'running'")  # as text: the partial index is used
_QUIETLY = {"synchronize_session": False}


_NO_VALUES = say("The content of its call was removed, so it cannot be sent with the current settings.")
_NO_ANSWER = say("The answer that it goes on from was removed, so it cannot be sent with the current settings.")


class CannotResendError(Exception):
    """A delivery cannot be sent again. The message says why."""


def resend_one(
    context: DeliveryContext, session: Session, project_id: int, delivery_id: UUID, now: datetime,
    current_settings: bool = False,
) -> None:  # fmt: skip
    """Queues one delivery at once. Raises CannotResendError with a sentence for the user."""
    row = session.get(Delivery, delivery_id, with_for_update=True, populate_existing=True)
    if row is None or row.project_id != project_id:
        raise CannotResendError(say("There is no such delivery."))
    if row.state in (PENDING, WAITING):
        raise CannotResendError(say("It is pending already."))
    again = _Again(context, session, now, current_settings)
    problem = again.put(row, FIRST_ATTEMPTS, None)
    if problem:
        raise CannotResendError(problem)
    again.finish()
    context.wakeups.send(session)


def order_resend(
    session: Session, project_id: int, selection: Selection, total: int, now: datetime, *, rate: int = 20,
    current_settings: bool = False, author_id: int | None = None,
) -> Resend:  # fmt: skip
    """Orders that everything selected is sent again, `rate` deliveries a second. step_resends does the work. total: by
    count_by_webhook, which takes its time, before this transaction."""
    return _order(session, project_id, selection.dump(), total, now, rate, current_settings, author_id)


def order_missing(
    session: Session, project_id: int, wanted: Missing, total: int, now: datetime, *, rate: int = 20,
    author_id: int | None = None,
) -> Resend:  # fmt: skip
    """Orders that everything missing is sent, `rate` deliveries a second, behind live calls and retries. The same
    step_resends and stop_resend serve it; what is skipped was refused by the conditions. total: by count_missing, which
    takes its time, before this transaction."""
    return _order(session, project_id, wanted.dump(), total, now, rate, True, author_id)


def _order(
    session: Session, project_id: int, selection: dict[str, JSON], total: int, now: datetime, rate: int,
    current_settings: bool, author_id: int | None,
) -> Resend:  # fmt: skip
    order = Resend(
        id=new_id(), project_id=project_id, state=RUNNING, selection=selection, current_settings=current_settings,
        rate=max(1, rate), total=total, stepped_on=now, author_id=author_id, created_on=now, queued=0, skipped=0,
        cursor=None,
    )  # fmt: skip
    session.add(order)
    return order


def stop_resend(session: Session, project_id: int, resend_id: UUID, now: datetime) -> bool:
    """Stops an order. Deliveries that it has queued, and that no worker has sent yet, return to their state before;
    those that it has added are gone. False: all of them were sent, or the order was stopped before."""
    order = session.get(Resend, resend_id, with_for_update=True, populate_existing=True)
    if order is None or order.project_id != project_id or order.state == STOPPED:
        return False
    back = put_back(session, Delivery.resend_id == resend_id, now) + take_out_missing(session, resend_id)
    if order.state == DONE and not back:
        return False
    order.state, order.queued = STOPPED, order.queued - back
    return True


def some_running() -> ColumnElement[bool]:
    """Whether step_resends has work."""
    return exists().where(Resend.id.is_not(None), _IS_RUNNING)


def step_resends(context: DeliveryContext, now: datetime) -> int:
    """Queues the next deliveries of every running order, as many as its rate allows since the last step: each order in
    a transaction of its own, with a pause before the next, so that no writer waits for all of them.

    Call it about once a second, from any number of processes. Returns how many were queued.
    """
    with context.database.read() as session:
        running = session.scalars(select(Resend.id).where(_IS_RUNNING).order_by(Resend.id)).all()
    queued = 0
    for number, resend_id in enumerate(running):
        if number:
            time.sleep(PAUSE)
        with context.database.write() as session:
            queued += step_one(context, session, resend_id, now)
    return queued


def step_one(context: DeliveryContext, session: Session, resend_id: UUID, now: datetime) -> int:
    """Queues the next deliveries of one order; nothing if it has ended or another process works on it."""
    asked = select(Resend).where(Resend.id == resend_id, _IS_RUNNING)
    order = session.scalars(asked.with_for_update(skip_locked=True)).one_or_none()
    queued = _step(context, session, order, now) if order else 0
    if queued:
        context.wakeups.send(session)
    return queued


def _step(context: DeliveryContext, session: Session, order: Resend, now: datetime) -> int:
    allowed = min(STEP, int((now - order.stepped_on).total_seconds() * order.rate))
    if allowed < 1:
        return 0
    if order.adds:
        return _add(context, session, order, allowed, now)
    rows = _next_rows(session, order, allowed)
    again = _Again(context, session, now, order.current_settings)
    queued = sum(not again.put(row, BULK, order.id) for row in rows)
    again.finish()
    order.queued += queued
    order.skipped += len(rows) - queued
    order.stepped_on = now
    if rows:
        order.cursor = rows[-1].id
    if len(rows) < allowed:
        order.state = DONE
    return queued


def _add(context: DeliveryContext, session: Session, order: Resend, allowed: int, now: datetime) -> int:
    before = order.queued
    order.state = RUNNING if step_missing(context, session, order, allowed, now) else DONE
    order.stepped_on = now
    return order.queued - before


def _next_rows(session: Session, order: Resend, number: int) -> Sequence[Delivery]:
    """By id, the order they were published in. Without those that failed after the order was given."""
    query = (
        select(Delivery)
        .where(*load_selection(order.selection).conditions(order.project_id))
        .where(Delivery.finished_on <= order.created_on)
        .order_by(Delivery.id)
        .limit(number)
        .with_for_update()
    )
    if order.cursor:
        query = query.where(Delivery.id > order.cursor)
    return session.scalars(query).all()


class _Again:
    """Puts deliveries back into the queue."""

    def __init__(self, context: DeliveryContext, session: Session, now: datetime, current_settings: bool) -> None:
        self._context = context
        self._session = session
        self._now = now
        self._current = current_settings
        self._lookups = Lookups(session)
        self._put: list[Delivery] = []
        self._before: list[BeforeResend] = []

    def finish(self) -> None:
        """Keeps the state that each had before, and brings them into the order of their calls."""
        ids = [row.id for row in self._put]
        self._session.execute(delete(BeforeResend).where(BeforeResend.delivery_id.in_(ids)), execution_options=_QUIETLY)
        self._session.add_all(self._before)
        hold_resent(self._session, self._put, self._now)

    def put(self, row: Delivery, lane: int, resend_id: UUID | None) -> str:
        """Queues one. Returns "", or the sentence why it cannot be sent again. Call finish() after the last one."""
        if row.kind == KIND:
            return say("The call no longer waits for this answer, so the question is not asked again.")
        project = self._context.webhook_cache.fetch(self._session, {row.project_id})[row.project_id]
        webhook = project.by_id.get(row.webhook_id)
        if webhook is None and row.kind == RESTHOOK:
            return say("Its subscriber was removed. Subscribe the URL again to send it new events.")
        if webhook is None:
            return say("Its webhook is disabled or deleted; enable it first.")
        if row.content_removed_on and not self._current:
            return say("Its content was removed, so it can only be sent with the current settings.")
        columns: dict[str, Any] = {}
        if self._current or not row.method:  # a delivery that could not be rendered has no stored request
            request = self._render(row, webhook)
            if isinstance(request, NotSent):
                return request.sentence
            columns = request_columns(request, self._now) | {"webhook_revision": webhook.revision}
        self._put.append(row)
        self._before.append(as_it_is(row, bool(columns)))
        columns |= {
            "state": PENDING, "lane": lane, "due_at": self._now, "tries": 0, "claim_token": None, "held": False,
            "outcome": "", "message": "", "status_code": None, "duration_ms": None, "finished_on": None,
            "checked_on": None, "resend_id": resend_id, "not_before": None,
            "content_removed_on": None, "content_removed_by": None,
        }  # fmt: skip
        for name, value in columns.items():
            setattr(row, name, value)
        return ""

    def _render(self, row: Delivery, webhook: LiveWebhook) -> Request | NotSent:
        values = values_of_stored(self._context, self._session, row, webhook.name, self._lookups, self._now)
        if values is None:
            return NotSent("render_error", self._why_without_values(row))
        project = values.project
        return webhook.render(DeliveryValues(values, row.id, row.attempts + 1), project.zone, project.country)

    def _why_without_values(self, row: Delivery) -> str:
        event = self._session.get(StageEvent, row.stage_event_id) if row.stage_event_id else None
        if event is None:
            return "Its call was deleted from the history, so it can only be sent as it was."
        return _NO_VALUES if event.content_removed_on else _NO_ANSWER
