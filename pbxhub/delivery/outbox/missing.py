"""Stages for which a webhook has no delivery: a condition refused them, it was switched off, or it came later. They are
counted, and an order of a user (store/resends.py) sends them after all, like a bulk resend."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pbxhub.calls.stages import JSON
from pbxhub.delivery.call_rows import no_call, read_call
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.enqueue import enqueue
from pbxhub.delivery.outbox.render import once_in_a_chain
from pbxhub.delivery.outbox.sequence import hold_resent
from pbxhub.delivery.outbox.wait_for_answer import StatesOfCalls, make_deliveries
from pbxhub.delivery.stage_values import Lookups, StageValues
from pbxhub.delivery.webhook_cache import LiveWebhook, ProjectWebhooks
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import BULK, PENDING, WAITING, Delivery, NewDelivery
from pbxhub.store.history import StageEvent
from pbxhub.store.ids import first_id_at
from pbxhub.store.resends import BeforeResend, Resend
from pbxhub.webhooks.params import from_json

MOST_MISSING = 10_000  # stages that one order may be about
_APART = 3600  # seconds: Asterisk's clock may be ahead of the one that made the id
_QUIETLY = {"synchronize_session": False}


@dataclass(frozen=True, slots=True)
class Missing:
    """The stages of one kind without a delivery of this webhook. since, until: when they happened, until not included.
    refused: also those that its conditions refuse now."""

    webhook_id: int
    stage: str
    since: datetime
    until: datetime
    refused: bool = False

    def conditions(self, project_id: int) -> list[ColumnElement[bool]]:
        """On stage events. A stage may be written long after it happened (from CEL), never long before."""
        sent = exists().where(Delivery.stage_event_id == StageEvent.id, Delivery.webhook_id == self.webhook_id)
        return [
            StageEvent.project_id == project_id, StageEvent.stage == self.stage,
            StageEvent.id >= first_id_at(self.since, -_APART),
            StageEvent.created_on >= self.since, StageEvent.created_on < self.until, ~sent,
            StageEvent.content_removed_on.is_(None),
        ]  # fmt: skip

    def dump(self) -> dict[str, JSON]:
        """As JSON, for Resend.selection."""
        times = {"since": self.since.isoformat(), "until": self.until.isoformat()}
        return {"missing": {"webhook_id": self.webhook_id, "stage": self.stage, "refused": self.refused, **times}}


def first_known(context: DeliveryContext, now: datetime) -> datetime:
    """The first moment whose stages are missing if they have no delivery. Of older ones it may have been sent and then
    deleted (prune.py), so they are not sent again."""
    return now - context.kept + timedelta(seconds=_APART)


def _load(order: Resend, first: datetime) -> Missing:
    """first: by first_known, at each step: an order may run for hours, or after a day on which the hub was off."""
    data: Any = order.selection["missing"]
    since, until = (datetime.fromisoformat(data[name]) for name in ("since", "until"))
    return Missing(data["webhook_id"], data["stage"], max(since, first), until, data["refused"])


def count_missing(session: Session, project_id: int, wanted: Missing) -> int:
    """How many there are; MOST_MISSING + 1 for more."""
    some = select(StageEvent.id).where(*wanted.conditions(project_id)).limit(MOST_MISSING + 1)
    return session.scalar(select(func.count()).select_from(some.subquery())) or 0


def step_missing(context: DeliveryContext, session: Session, order: Resend, number: int, now: datetime) -> bool:
    """Queues the next stages of an order, `number` at most, by id: the order they were written in. False: there are no
    more, or the webhook takes none any longer.

    Two may want to send the same stage: 1. this one reads that it is missing; 2. a user presses Send it after all;
    3. this one inserts it and gets an IntegrityError. It then leaves everything as it was for the next step, which no
    longer finds that stage. tests/test_send_what_is_missing.py
    """
    wanted = _load(order, first_known(context, now))
    project = context.webhook_cache.fetch(session, {order.project_id})[order.project_id]
    webhook = project.by_id.get(wanted.webhook_id)
    if webhook is None or webhook.stage != wanted.stage:
        return False
    query = select(StageEvent).where(*wanted.conditions(order.project_id)).order_by(StageEvent.id).limit(number)
    query = query.where(StageEvent.id > order.cursor) if order.cursor else query
    events = session.scalars(query).all()
    making = _Making(context, session, project, webhook, now)
    queued = sum(making.add(event, wanted.refused) for event in events)
    if not _insert(context, session, making.made, order.id, now):
        return True
    order.queued += queued
    order.skipped += len(events) - queued
    if events:
        order.cursor = events[-1].id
    return len(events) == number


def take_out_missing(session: Session, resend_id: UUID) -> int:
    """Deletes what an order has added and no worker has begun to send: it is missing again. Returns how many."""
    before = exists().where(BeforeResend.delivery_id == Delivery.id)
    free = (
        select(Delivery.id)
        .where(Delivery.resend_id == resend_id, Delivery.state.in_((PENDING, WAITING)), Delivery.attempts == 0)
        .where(Delivery.claim_token.is_(None), ~before)
        .order_by(Delivery.id)
        .with_for_update()
    )
    gone = delete(Delivery).where(Delivery.id.in_(free))
    return session.execute(gone, execution_options=_QUIETLY).rowcount  # type: ignore[attr-defined,no-any-return]


def _insert(
    context: DeliveryContext, session: Session, made: Sequence[NewDelivery], resend_id: UUID, now: datetime
) -> bool:
    """False: somebody else has written one of them meanwhile, and nothing was changed."""
    made = once_in_a_chain(list(made))
    try:
        with session.begin_nested():
            session.connection()  # sets the savepoint: enqueue inserts past the session, which would set it later
            enqueue(context, session, made, now)
    except IntegrityError:  # stage_event_id, webhook_id, kind
        return False
    rows = session.scalars(select(Delivery).where(one_of(Delivery.id, [one.id for one in made]))).all() if made else ()
    for row in rows:
        row.resend_id = resend_id
    hold_resent(session, rows, now)
    return True


class _Making:
    """Makes the deliveries that a webhook would have got of stages, with the values that are known now."""

    def __init__(
        self, context: DeliveryContext, session: Session, project: ProjectWebhooks, webhook: LiveWebhook, now: datetime
    ) -> None:
        self._context, self._session, self._project, self._webhook = context, session, project, webhook
        self._now = now
        self._lookups, self._states = Lookups(session), StatesOfCalls(session)
        self.made: list[NewDelivery] = []

    def add(self, event: StageEvent, refused: bool) -> bool:
        """Whether something is sent. refused: also if the conditions of the webhook refuse it."""
        call = read_call(self._session, event.call_id) if event.call_id else no_call(event.project_id)
        if call is None:
            return False
        known = from_json(event.data)
        values = StageValues(
            known, self._project, call, event.stage, event.id, self._lookups, self._context.links, self._now
        )
        if not refused and not self._webhook.matches(values):
            return False
        found = make_deliveries(
            self._webhook, values, event.call_id, event.id, "stage", self._now, self._states, self.made
        )
        for one in found:
            one.lane = BULK
        self.made += found
        return bool(found)
