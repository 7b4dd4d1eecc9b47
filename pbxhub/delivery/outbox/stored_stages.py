"""The values of a stage that was written earlier, as its delivery would be rendered now."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.calls.stages import Value
from pbxhub.delivery.call_rows import CallNow, no_call, read_call
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.render import CHAINED
from pbxhub.delivery.read_answer import read
from pbxhub.delivery.stage_values import Lookups, StageValues
from pbxhub.sending.exchange import Answer
from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.history import StageEvent
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.params import from_json


def values_of_stored(
    context: DeliveryContext, session: Session, row: Delivery, name: str, lookups: Lookups, now: datetime
) -> StageValues | None:
    """name: of its webhook. None if the stage or its call was deleted from the history, or its content was removed,
    or that of the answer it goes on from."""
    event = session.get(StageEvent, row.stage_event_id) if row.stage_event_id else None
    call = read_call(session, row.call_id) if row.call_id else no_call(row.project_id)
    if event is None or event.content_removed_on or call is None:
        return None
    project = context.webhook_cache.fetch(session, {row.project_id})[row.project_id]
    known = from_json(event.data)
    if row.kind == CHAINED:
        answer = answer_before(session, call, event.id, name)
        if answer is None:
            return None
        known |= answer
    return StageValues(known, project, call, event.stage, event.id, lookups, context.links, now)


def with_saved(answer: Mapping[str, Value], call: CallNow) -> Mapping[str, Value]:
    """The answer, with everything that webhooks of the call have saved so far."""
    own: Any = answer.get("webhook.saved") or {}
    return {**answer, "webhook.saved": {**own, **(call.answers.get("webhook.saved") or {})}}


def answer_before(session: Session, call: CallNow, stage_event_id: UUID, name: str) -> Mapping[str, Value] | None:
    """The last answer at this stage to the webhook that has `name` as its next one; {} if there is none, None if its
    content was removed."""
    rows = session.execute(
        select(Attempt, Webhook, Delivery.content_removed_on)
        .join(Delivery, Delivery.id == Attempt.delivery_id)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(Delivery.stage_event_id == stage_event_id, Attempt.finished_on.is_not(None))
        .order_by(Attempt.finished_on.desc())
    )
    for attempt, webhook, removed_on in rows:
        if name in (webhook.spec.on_success, webhook.spec.on_failure):
            if removed_on:
                return None
            return with_saved(read(webhook.spec, _answer_of(attempt)).values, call)
    return {}


def _answer_of(attempt: Attempt) -> Answer:
    headers = tuple((name, text) for name, text in attempt.response_headers)
    return Answer(
        attempt.outcome, attempt.message, attempt.status_code, headers, attempt.response_body, total_us=attempt.total_us
    )
