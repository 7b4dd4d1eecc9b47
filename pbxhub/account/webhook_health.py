"""One webhook at a glance: whether it is well, since when not and why, and what it sent last."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.deliveries import Listed, listed
from pbxhub.account.statistics import DayOfDeliveries, deliveries_of_day, hour_of
from pbxhub.account.webhooks import Revision
from pbxhub.delivery.outbox import Selection
from pbxhub.store.delivery_rows import DELIVERED, FAILED, PENDING, Delivery
from pbxhub.store.webhooks import Webhook

_LATEST = 20
_MOST_FAILURES = 10_000


@dataclass(frozen=True, slots=True)
class Trouble:
    """Failures without a success between them. outcome, status_code: of the newest. count: up to _MOST_FAILURES."""

    since: datetime
    count: int
    outcome: str
    status_code: int | None


@dataclass(frozen=True, slots=True)
class WebhookHealth:
    """latest: the newest deliveries. trouble: None while it is well. last_good: when it last succeeded."""

    day: DayOfDeliveries
    latest: list[Listed]
    trouble: Trouble | None
    last_good: datetime | None
    pending: int


def health_of(session: Session, access: Access, webhook: Webhook) -> WebhookHealth:
    """How a webhook of the project is doing."""
    of_webhook = Selection(webhook_id=webhook.id)
    latest = listed(session, access.project.id, of_webhook, "", None, _LATEST)
    good = _newest(session, webhook, DELIVERED)
    pending = select(Delivery.id).where(Delivery.webhook_id == webhook.id, Delivery.state == PENDING).limit(1000)
    return WebhookHealth(
        deliveries_of_day(session, access.project.id, access.now, webhook.id), latest,
        _trouble(session, webhook, good), good.created_on if good else None,
        session.scalar(select(func.count()).select_from(pending.subquery())) or 0,
    )  # fmt: skip


def edits_by_hour(revisions: Iterable[Revision], since: datetime) -> dict[datetime, list[Revision]]:
    """The revisions made since then, newest first, by the beginning of their hour: marks in the chart of the day. The
    first one is how the webhook was made, and no mark."""
    found: dict[datetime, list[Revision]] = defaultdict(list)
    for row in revisions:
        if row.version.created_on >= since and row.version.revision > 1:
            found[hour_of(row.version.created_on)].append(row)
    return dict(found)


def _newest(session: Session, webhook: Webhook, state: str) -> Delivery | None:
    query = select(Delivery).where(Delivery.webhook_id == webhook.id, Delivery.state == state)
    return session.scalars(query.order_by(Delivery.id.desc()).limit(1)).first()


def _trouble(session: Session, webhook: Webhook, good: Delivery | None) -> Trouble | None:
    newest = _newest(session, webhook, FAILED)
    if newest is None or (good and good.id > newest.id):
        return None
    failed = select(Delivery.created_on).where(Delivery.webhook_id == webhook.id, Delivery.state == FAILED)
    failed = failed.where(Delivery.id > good.id) if good else failed
    rows = failed.order_by(Delivery.id.desc()).limit(_MOST_FAILURES).subquery()
    count, since = session.execute(select(func.count(), func.min(rows.c.created_on)).select_from(rows)).one()
    return Trouble(since, count, newest.outcome, newest.status_code)
