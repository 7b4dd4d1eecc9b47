"""REST hooks: each subscriber is a webhook of the hub's own, so its deliveries have lanes, retries and a history."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.attempt_result import AttemptResult
from pbxhub.delivery.outbox.cancel import cancel_pending
from pbxhub.delivery.outbox.enqueue import enqueue
from pbxhub.delivery.outbox.own_webhooks import RESTHOOK, add_hidden, add_own_webhook, name_for
from pbxhub.delivery.outbox.pausing import tell_of_subscriber
from pbxhub.storable import storable
from pbxhub.store.api import Resthook, Subscriber
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import NewDelivery
from pbxhub.store.events import NewEvent, keep
from pbxhub.store.ids import new_id
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.webhooks.spec import Filter
from pbxhub.webhooks.whole_event import SUBSCRIBABLE, whole_event


def subscribe(
    session: Session, hook: Resthook, target_url: str, now: datetime, filters: Sequence[Filter] = ()
) -> Subscriber:
    """Adds a subscriber: to the hook of a stage, for the calls that pass the filters; to another one, for what programs
    send to it. For an address that is subscribed already, returns that subscriber, with these filters from now on."""
    known = select(Subscriber).where(Subscriber.resthook_id == hook.id, Subscriber.target_url == target_url)
    if (there := session.scalar(known)) is not None:
        webhook = session.get_one(Webhook, there.webhook_id)
        if hook.name not in SUBSCRIBABLE or webhook.stage == hook.name:
            _set_filters(session, hook, webhook, filters)
            return there
        unsubscribe(session, hook.project_id, there, now)  # from before 0.2.0, when stages had no hooks
    name = name_for(hook.name)
    if hook.name in SUBSCRIBABLE:
        spec = whole_event(hook.name, target_url, filters)
        webhook = add_hidden(session, hook.project_id, RESTHOOK, name, hook.name, spec, now)
    else:
        webhook = add_own_webhook(session, hook.project_id, RESTHOOK, name, target_url, now)
    one = Subscriber(resthook_id=hook.id, webhook_id=webhook.id, target_url=target_url, created_on=now)
    session.add(one)
    session.flush()
    return one


def _set_filters(session: Session, hook: Resthook, webhook: Webhook, filters: Sequence[Filter]) -> None:
    if webhook.spec.filters != tuple(filters):
        webhook.spec, webhook.revision = replace(webhook.spec, filters=tuple(filters)), webhook.revision + 1
        touch_webhooks(session, hook.project_id)


def unsubscribe(session: Session, project_id: int, subscriber: Subscriber, now: datetime) -> int:
    """Removes a subscriber and cancels its pending deliveries; the history stays. Returns how many were cancelled."""
    webhook = session.get_one(Webhook, subscriber.webhook_id)
    webhook.enabled, webhook.deleted_on = False, now
    touch_webhooks(session, project_id)
    cancelled = cancel_pending(session, webhook.id, now)
    session.delete(subscriber)
    session.flush()
    return cancelled


def call_resthook(
    context: DeliveryContext, session: Session, hook: Resthook, payload: Any, body: bytes, now: datetime
) -> list[UUID]:
    """Writes one event, even without subscribers, and one delivery for each subscriber. Returns the deliveries' ids."""
    data = {"resthook": hook.name, "payload": storable(payload)}
    keep(session, [NewEvent(hook.project_id, "resthook_called", now, data)])
    query = (
        select(Subscriber, Webhook.revision)
        .join(Webhook, Webhook.id == Subscriber.webhook_id)
        .where(Subscriber.resthook_id == hook.id)
        .order_by(Subscriber.id)
    )
    deliveries = [
        NewDelivery(
            new_id(), hook.project_id, one.webhook_id, revision, RESTHOOK, now, now, method="POST", url=one.target_url,
            headers=(("Content-Type", "application/json"),), body=body,
        )
        for one, revision in session.execute(query)
    ]  # fmt: skip
    enqueue(context, session, deliveries, now)
    return [one.id for one in deliveries]


def drop_gone(session: Session, results: Iterable[AttemptResult], now: datetime) -> None:
    """Unsubscribes those that answered 410, with a notice. Results of other webhooks are ignored."""
    gone = {result.finished.claimed.webhook.id for result in results if result.is_gone}
    if not gone:
        return
    query = select(Subscriber, Resthook.project_id).join(Resthook).where(one_of(Subscriber.webhook_id, gone))
    for subscriber, project_id in session.execute(query).all():
        webhook = session.get_one(Webhook, subscriber.webhook_id)
        host = urlsplit(subscriber.target_url).netloc.rpartition("@")[2]  # without the path, which may be a secret
        cancelled = unsubscribe(session, project_id, subscriber, now)
        tell_of_subscriber(session, webhook, host, cancelled, now)
