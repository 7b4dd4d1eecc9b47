"""Callbacks of ordered calls: the body, and its delivery.

The body has one shape whatever the status: {"status": "success", "data": {…}, "message": "Call Details"}.
"""

import json
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from pbxhub.delivery.call_rows import CallNow
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.links import AS_LONG_AS_KEPT, LinkRule
from pbxhub.delivery.outbox.enqueue import enqueue
from pbxhub.delivery.outbox.own_webhooks import CALLBACK, callbacks_of
from pbxhub.delivery.outbox.restored import fail_if_reported_before
from pbxhub.store.delivery_rows import NewDelivery
from pbxhub.store.ids import new_id
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.webhooks.encoders import percent
from pbxhub.webhooks.urls import join_query


def callback_data(
    context: DeliveryContext, order: OrderedCall, call: CallNow | None, now: datetime, rule: LinkRule = AS_LONG_AS_KEPT
) -> dict[str, Any]:
    """The fields, and where each comes from:

    call_id the order; call_direction outbound, always; status of the order; call_duration seconds of talk;
    recording_url a signed link of the hub; transcript and analysis as given later by API; agent_id, from_number,
    to_number and custom_args_values as ordered; retry always 0: the hub does not dial again.

    rule: how the project wants links to recordings.
    """
    values = call.data if call else {}
    name = str(values.get("recording_file") or "")
    return {
        "call_id": str(order.id),
        "call_direction": "outbound",
        "status": order.status,
        "call_duration": values.get("billsec"),
        "recording_url": context.links.recording(call.id, call.pbx_id, name, rule, now) if call and name else None,
        "transcript": order.transcript,
        "agent_id": order.agent_id,
        "retry": 0,
        "from_number": order.from_number,
        "to_number": order.mobile_number,
        "custom_args_values": order.custom,
    }


def send_callback(
    context: DeliveryContext,
    session: Session,
    order: OrderedCall,
    data: dict[str, Any],
    now: datetime,
    call: CallNow | None = None,
) -> None:
    """Queues a callback, in the transaction that changes the order. Does nothing for an order without an address."""
    if not order.callback_url:
        return
    webhook = callbacks_of(session, order.project_id, now)
    body = {"status": "success", "data": data, "message": "Call Details"}
    query = "&".join(f"{percent(name)}={percent(value)}" for name, value in order.callback_params.items())
    delivery = NewDelivery(
        new_id(), order.project_id, webhook.id, webhook.revision, CALLBACK, now, now,
        call_id=call.id if call else order.call_id, sequence_id=order.id, method="POST",
        url=join_query(order.callback_url, query), headers=tuple(order.callback_headers.items()),
        body=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
    )  # fmt: skip
    project = context.webhook_cache.fetch(session, [order.project_id])[order.project_id]
    fail_if_reported_before([delivery], order.created_on, project.restored_on, now)
    enqueue(context, session, [delivery], now)
