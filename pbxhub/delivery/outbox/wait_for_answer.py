"""Deliveries that wait for the answer of another webhook of their call (WebhookSpec.wait_for).

Such a delivery is written with its stage, but without a request, in the state "waiting". It is rendered when nothing
that leads to the answer is pending for its call: neither the named webhook nor those before it in its chain. If the
named webhook was delivered, its saved values are there. If not, WebhookSpec.unanswered decides: send without, or skip.

The order of events that must not leave a delivery waiting: 1. publish reads that *register* is pending; 2. record ends
*register* and finds nothing that waits; 3. publish commits the waiting *finish*. Nobody would render it. So
release_all looks at everything that waits every few seconds; it also finds those whose *register* was cancelled.
tests/test_wait_for_an_answer.py
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, exists, literal_column, select
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.enqueue import enqueue
from pbxhub.delivery.outbox.render import render_chain, request_columns
from pbxhub.delivery.outbox.sequence import hold_resent
from pbxhub.delivery.outbox.stored_stages import values_of_stored
from pbxhub.delivery.stage_values import Lookups, StageValues
from pbxhub.delivery.webhook_cache import LiveWebhook, ProjectWebhooks
from pbxhub.sending.outcomes import OUTCOMES
from pbxhub.store.columns import one_of
from pbxhub.store.database_errors import is_away
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, PENDING, WAITING, Delivery, NewDelivery
from pbxhub.store.ids import new_id
from pbxhub.translatable import say
from pbxhub.webhooks.rendered_request import SKIPPED, NotSent

log = structlog.get_logger(__name__)

MOST_AT_ONCE = 200  # calls whose waiting deliveries release_all looks at in one transaction
_IS_WAITING = Delivery.state == literal_column(f"'{WAITING}'")  # a literal, so that the partial index can be used
_COPIED = (
    *request_columns(NotSent("", ""), datetime.min.replace(tzinfo=UTC)),
    "webhook_revision",
    "due_at",
    "not_before",
)


class StatesOfCalls:
    """The states of the deliveries of calls: call -> webhook -> states. Each call is read once."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._states: dict[UUID, dict[int, set[str]]] = {}

    def of(self, call_id: UUID, made: Iterable[NewDelivery] = ()) -> Mapping[int, set[str]]:
        """made: deliveries that this transaction is about to write."""
        states = self._states.get(call_id)
        if states is None:
            states = self._states[call_id] = {}
            query = select(Delivery.webhook_id, Delivery.state).where(Delivery.call_id == call_id)
            for webhook_id, state in self._session.execute(query):
                states.setdefault(webhook_id, set()).add(state)
        for one in made:
            if one.call_id == call_id:
                states.setdefault(one.webhook_id, set()).add(one.state)
        return states

    def forget(self, call_id: UUID) -> None:
        """Reads the call again when it is asked for next."""
        self._states.pop(call_id, None)


def last_those_that_wait(webhooks: Sequence[LiveWebhook]) -> Sequence[LiveWebhook]:
    """In their order, but each after those that it waits for, so that these have their deliveries."""
    return sorted(webhooks, key=lambda webhook: webhook.waits_after)


def make_deliveries(
    webhook: LiveWebhook, values: StageValues, call_id: UUID | None, stage_event_id: UUID, kind: str, now: datetime,
    states: StatesOfCalls, made: Sequence[NewDelivery],
) -> list[NewDelivery]:  # fmt: skip
    """The delivery of a webhook, rendered, or waiting for an answer, or skipped; and what follows in its chain."""
    what: Literal["send", "wait", "skip"] = "send"
    if webhook.waits_after and call_id:
        known = states.of(call_id, made)
        is_behind = WAITING in known.get(webhook.id, ())  # its earlier stage is not released yet and goes first
        what = "wait" if is_behind else _decide(values.project, webhook, known)
    if what == "send":
        wanted = not webhook.waits_after or webhook.accepts_answer(values)
        return render_chain(webhook, values, call_id, stage_event_id, kind, now) if wanted else []
    one = NewDelivery(
        new_id(), webhook.project_id, webhook.id, webhook.revision, kind, now, now, stage_event_id, call_id, call_id,
        state=WAITING, stage=values.stage,
    )  # fmt: skip
    if what == "skip":
        one.state, one.outcome, one.message, one.finished_on = CANCELLED, SKIPPED, _unanswered(webhook), now
    return [one]


def release(context: DeliveryContext, session: Session, call_ids: Collection[UUID], now: datetime) -> None:
    """Renders what waits in these calls and need not wait any longer. Rows that somebody has locked are left out."""
    query = select(Delivery).where(one_of(Delivery.call_id, call_ids), _IS_WAITING).order_by(Delivery.id)
    session.flush()
    rows = session.scalars(query.with_for_update(skip_locked=True)).all()
    if not rows:
        return
    projects = context.webhook_cache.fetch(session, {row.project_id for row in rows})
    states, lookups = StatesOfCalls(session), Lookups(session)
    ranked = sorted(rows, key=lambda row: _rank(projects[row.project_id], row))
    for row in ranked:
        _release_one(context, session, projects[row.project_id], row, states, lookups, now)
    if released := [row for row in ranked if row.state == PENDING]:
        hold_resent(session, released, now)
        context.wakeups.send(session)


def some_waiting() -> ColumnElement[bool]:
    """Whether release_all has work."""
    return exists().where(Delivery.id.is_not(None), _IS_WAITING)


def release_all(context: DeliveryContext, now: datetime) -> None:
    """Looks once at every call in which something waits. One that cannot be released is left out and logged."""
    after = UUID(int=0)
    while True:
        query = select(Delivery.call_id).distinct().where(_IS_WAITING, Delivery.call_id > after)
        with context.database.read() as session:
            call_ids = session.scalars(query.order_by(Delivery.call_id).limit(MOST_AT_ONCE)).all()
        if not call_ids:
            return
        _release_group(context, [one for one in call_ids if one], now)
        after = call_ids[-1] or after


def _release_group(context: DeliveryContext, call_ids: Sequence[UUID], now: datetime) -> None:
    """If the group fails, one call at a time, so that the others are released."""
    try:
        with context.database.write() as session:
            release(context, session, call_ids, now)
    except Exception as error:
        if is_away(error):
            raise
        log.exception("waiting deliveries could not be released", calls=[str(one) for one in call_ids[:10]])
        if len(call_ids) > 1:
            for one in call_ids:
                _release_group(context, [one], now)


def _release_one(
    context: DeliveryContext, session: Session, project: ProjectWebhooks, row: Delivery, states: StatesOfCalls,
    lookups: Lookups, now: datetime,
) -> None:  # fmt: skip
    webhook = project.by_id.get(row.webhook_id)
    if webhook is None:
        _end(row, "cancelled", OUTCOMES["cancelled"].sentence, now)
        return
    assert row.call_id  # only deliveries of calls wait
    what = _decide(project, webhook, states.of(row.call_id))
    if what == "wait":
        return
    values = values_of_stored(context, session, row, webhook.name, lookups, now)
    if what == "skip":
        _end(row, SKIPPED, _unanswered(webhook), now)
    elif values is None:
        _end(row, "cancelled", "Its call was deleted from the history.", now)
    elif not webhook.accepts_answer(values):
        _end(row, SKIPPED, say("Skipped: the filters exclude the answer of %(name)s.", name=webhook.spec.wait_for), now)
    else:
        first, *rest = render_chain(webhook, values, row.call_id, row.stage_event_id, row.kind, now, delivery_id=row.id)
        for name in _COPIED:
            setattr(row, name, getattr(first, name))
        enqueue(context, session, rest, now)
    states.forget(row.call_id)
    session.flush()


def _decide(
    project: ProjectWebhooks, webhook: LiveWebhook, states: Mapping[int, set[str]]
) -> Literal["send", "wait", "skip"]:
    if any(states.get(one, set()) & {PENDING, WAITING} for one in project.awaited.get(webhook.id, ())):
        return "wait"
    named = project.by_name.get(webhook.spec.wait_for)
    if named and DELIVERED in states.get(named.id, ()):
        return "send"
    return webhook.spec.unanswered


def _rank(project: ProjectWebhooks, row: Delivery) -> int:
    webhook = project.by_id.get(row.webhook_id)
    return webhook.waits_after if webhook else 0


def _end(row: Delivery, outcome: str, message: str, now: datetime) -> None:
    row.state, row.outcome, row.message, row.finished_on = CANCELLED, outcome, message, now


def _unanswered(webhook: LiveWebhook) -> str:
    return say("Skipped: %(name)s has not answered in this call.", name=webhook.spec.wait_for)
