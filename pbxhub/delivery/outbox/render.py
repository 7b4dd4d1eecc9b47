"""Deliveries with their rendered requests; one that cannot be rendered has failed, and its chain goes on at once."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pbxhub.delivery.outbox.rows import FIRST_ATTEMPTS
from pbxhub.delivery.stage_values import DeliveryValues, StageValues
from pbxhub.delivery.storable import clip
from pbxhub.delivery.webhook_cache import LiveWebhook
from pbxhub.store.delivery_rows import FAILED, PENDING
from pbxhub.store.events import NewEvent
from pbxhub.store.ids import new_id
from pbxhub.webhooks.request import NotSent, Request
from pbxhub.webhooks.saved_values import Answered, chain_values

CHAINED = "chain"
"""Kind of a delivery that another one has set off."""


def render_rows(
    webhook: LiveWebhook,
    values: StageValues,
    call_id: UUID | None,
    stage_event_id: UUID | None,
    kind: str,
    now: datetime,
) -> list[dict[str, Any]]:
    """The delivery of a webhook; when nothing can be sent, also that of its on_failure, and so on."""
    rows = [render_row(webhook, values, call_id, stage_event_id, kind, now)]
    while rows[-1]["state"] == FAILED and (following := values.project.by_name.get(webhook.spec.on_failure)):
        values = values.after(_never_sent(rows[-1], values))
        if following.id in {row["webhook_id"] for row in rows} or not following.matches(values):
            break
        webhook = following
        rows.append(render_row(webhook, values, call_id, stage_event_id, CHAINED, now))
    return rows


def _never_sent(row: Mapping[str, Any], values: StageValues) -> Mapping[str, Any]:
    saved: Any = values.get("webhook.saved")
    return chain_values(Answered(None, (), b"", 0.0, row["outcome"], row["message"], saved or {}))


def render_row(
    webhook: LiveWebhook,
    values: StageValues,
    call_id: UUID | None,
    stage_event_id: UUID | None,
    kind: str,
    now: datetime,
) -> dict[str, Any]:
    """The row of a delivery with its rendered request; a failed one, with the reason, when nothing can be sent."""
    delivery_id = new_id()
    request = webhook.render(DeliveryValues(values, delivery_id), values.project.zone, values.project.country)
    row = {
        "id": delivery_id,
        "project_id": webhook.project_id,
        "webhook_id": webhook.id,
        "webhook_revision": webhook.revision,
        "stage_event_id": stage_event_id,
        "call_id": call_id,
        "sequence_id": call_id,
        "kind": kind,
        "lane": FIRST_ATTEMPTS,
        "due_at": now,
        "held": False,
        "created_on": now,
    }
    return row | request_columns(request, now)


def request_columns(request: Request | NotSent, now: datetime) -> dict[str, Any]:
    """The columns that a rendering fills: the request and pending, or failed and why."""
    if isinstance(request, NotSent):
        return {
            "state": FAILED,
            "method": "",
            "url": "",
            "headers": [],
            "body": b"",
            "outcome": request.code,
            "message": clip(request.sentence, 1000),
            "finished_on": now,
        }
    return {
        "state": PENDING,
        "method": request.method,
        "url": request.url,
        "headers": [list(header) for header in request.headers],
        "body": request.body,
        "outcome": "",
        "message": "",
        "finished_on": None,
    }


def once_in_a_chain(
    rows: Iterable[dict[str, Any]], there: Collection[tuple[UUID | None, int]] = ()
) -> list[dict[str, Any]]:
    """A stage sends a webhook as part of a chain once. there: stage and webhook of those that exist already."""
    seen = set(there)
    fresh = []
    for row in rows:
        place = (row["stage_event_id"], row["webhook_id"])
        if row["kind"] == CHAINED and place in seen:
            continue
        if row["kind"] == CHAINED:
            seen.add(place)
        fresh.append(row)
    return fresh


def error_event(row: Mapping[str, Any]) -> NewEvent:
    """The typed event that tells of a delivery for which nothing can be sent."""
    told = {"text": row["message"] or row["outcome"], "fatal": False, "delivery_id": str(row["id"])}
    return NewEvent(row["project_id"], "error", row["created_on"], told, row["call_id"])
