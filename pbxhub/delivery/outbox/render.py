"""Deliveries with their rendered requests. One that cannot be rendered has failed, and its chain continues at once."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pbxhub.delivery.stage_values import DeliveryValues, StageValues
from pbxhub.delivery.webhook_cache import LiveWebhook
from pbxhub.sending.outcomes import describe
from pbxhub.storable import clip
from pbxhub.store.delivery_rows import CANCELLED, FAILED, PENDING, NewDelivery
from pbxhub.store.ids import new_id
from pbxhub.webhooks.attached import dump_files
from pbxhub.webhooks.rendered_request import SKIPPED, NotSent, Request
from pbxhub.webhooks.saved_values import Answered, chain_values

CHAINED = "chain"
"""The kind of deliveries that follow another one in a chain."""


def render_chain(
    webhook: LiveWebhook,
    values: StageValues,
    call_id: UUID | None,
    stage_event_id: UUID | None,
    kind: str,
    now: datetime,
    delivery_id: UUID | None = None,
) -> list[NewDelivery]:
    """The delivery of a webhook. If it cannot be rendered, also that of its on_failure webhook, and so on.

    delivery_id: of a delivery that is there already; None for a new one.
    """
    chain = [render_delivery(webhook, values, call_id, stage_event_id, kind, now, delivery_id)]
    while chain[-1].state == FAILED and (following := values.project.by_name.get(webhook.spec.on_failure)):
        values = values.after(_never_sent(chain[-1], values))
        if following.id in {one.webhook_id for one in chain} or not following.matches(values):
            break
        webhook = following
        chain.append(render_delivery(webhook, values, call_id, stage_event_id, CHAINED, now))
    return chain


def _never_sent(failed: NewDelivery, values: StageValues) -> Mapping[str, Any]:
    saved: Any = values.get("webhook.saved")
    return chain_values(Answered(None, (), b"", 0.0, describe(failed.outcome).reason, failed.message, saved or {}))


def render_delivery(
    webhook: LiveWebhook,
    values: StageValues,
    call_id: UUID | None,
    stage_event_id: UUID | None,
    kind: str,
    now: datetime,
    delivery_id: UUID | None = None,
) -> NewDelivery:
    """A delivery with its rendered request; a failed or skipped one, with the reason, if it cannot be rendered."""
    delivery_id = delivery_id or new_id()
    request = webhook.render(DeliveryValues(values, delivery_id), values.project.zone, values.project.country)
    not_before = now + timedelta(seconds=delay) if (delay := webhook.spec.limits.delay) else None
    return NewDelivery(
        delivery_id, webhook.project_id, webhook.id, webhook.revision, kind, now, not_before or now, stage_event_id,
        call_id, call_id, not_before=not_before, stage=values.stage, **request_columns(request, now),
    )  # fmt: skip


def request_columns(request: Request | NotSent, now: datetime) -> dict[str, Any]:
    """The columns that depend on the rendering: pending with the request, or failed or skipped with the reason."""
    if isinstance(request, NotSent):
        return {
            "state": CANCELLED if request.code == SKIPPED else FAILED,
            "method": "",
            "url": "",
            "headers": [],
            "body": b"",
            "files": [],
            "outcome": request.code,
            "message": clip(request.sentence, 1000),
            "finished_on": now,
        }
    return {
        "state": PENDING,
        "method": request.method,
        "url": request.url,
        "headers": request.headers,
        "body": request.body,
        "files": dump_files(request.files),
        "outcome": "",
        "message": "",
        "finished_on": None,
    }


def once_in_a_chain(
    deliveries: Iterable[NewDelivery], there: Collection[tuple[UUID | None, int]] = ()
) -> list[NewDelivery]:
    """Without repeated webhooks: a stage sends each webhook once in a chain. there: (stage, webhook) in the table."""
    seen = set(there)
    fresh = []
    for one in deliveries:
        place = (one.stage_event_id, one.webhook_id)
        if one.kind == CHAINED and place in seen:
            continue
        if one.kind == CHAINED:
            seen.add(place)
        fresh.append(one)
    return fresh
