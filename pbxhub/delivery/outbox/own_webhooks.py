"""Webhooks that the hub makes itself, so that callbacks of ordered calls and REST hooks are deliveries like others."""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.webhooks.spec import Limits, RequestSpec, Retry, WebhookSpec

CALLBACK, RESTHOOK = "callback", "resthook"
_RESTHOOK_NAME = "Resthook "


def name_for(resthook: str) -> str:
    """The name of the webhooks behind the subscribers of a REST hook."""
    return f"{_RESTHOOK_NAME}{resthook}"


def resthook_of(webhook: Webhook) -> str:
    """The name of the REST hook whose subscriber this webhook serves, also after it was removed; "" for all others."""
    return webhook.name.removeprefix(_RESTHOOK_NAME) if webhook.kind == RESTHOOK else ""


def callbacks_of(session: Session, project_id: int, now: datetime) -> Webhook:
    """The webhook of all callbacks of a project."""
    found = session.scalar(
        select(Webhook)
        .where(Webhook.project_id == project_id, Webhook.kind == CALLBACK, Webhook.deleted_on.is_(None))
        .order_by(Webhook.id)
        .limit(1)
    )
    return found or add_own_webhook(session, project_id, CALLBACK, "Callbacks of ordered calls", "", now, in_flight=50)


def add_own_webhook(
    session: Session, project_id: int, kind: str, name: str, url: str, now: datetime, in_flight: int = 8
) -> Webhook:
    """Adds a webhook that no page shows and nobody can edit. Deadline 10 s; the retry profile "minutes"."""
    spec = WebhookSpec(
        request=RequestSpec(url=url), retry=Retry("minutes"), limits=Limits(in_flight=in_flight, deadline=10)
    )
    return add_hidden(session, project_id, kind, name, kind, spec, now)


def add_hidden(
    session: Session, project_id: int, kind: str, name: str, stage: str, spec: WebhookSpec, now: datetime
) -> Webhook:
    """Adds a webhook of the hub's own for a stage, or for the kind itself where the hub makes the requests."""
    webhook = Webhook(
        project_id=project_id, kind=kind, name=name[:200], stage=stage, spec=spec, enabled=True, position=0,
        locked=True, created_on=now,
    )  # fmt: skip
    session.add(webhook)
    touch_webhooks(session, project_id)
    session.flush()
    return webhook
