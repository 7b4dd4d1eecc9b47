"""How webhooks are doing: one at a glance, whether it is well, since when not and why, and what it sent last; and the
last outcomes of all of them, read in one statement."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import String, cast, func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.deliveries import Listed, listed
from pbxhub.account.statistics import DayOfDeliveries, deliveries_of_day, hour_of
from pbxhub.account.webhook_drafts import live
from pbxhub.account.webhooks import Revision
from pbxhub.delivery.outbox import Selection
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, PENDING, Delivery
from pbxhub.store.webhooks import Webhook

DOTS = 20
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


@dataclass(frozen=True, slots=True)
class Recent:
    """The last outcomes of a webhook, newest last; a state of store/delivery_rows.py each."""

    states: tuple[str, ...]
    durations: tuple[int, ...]

    @property
    def success(self) -> int | None:
        """Per cent delivered of those that are over; None when none is."""
        over = [state for state in self.states if state in (DELIVERED, FAILED)]
        return round(100 * over.count(DELIVERED) / len(over)) if over else None

    @property
    def p95(self) -> int | None:
        """Milliseconds within which 95 % of the last requests were answered."""
        ordered = sorted(self.durations)
        return ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))] if ordered else None


def recent_outcomes(session: Session, access: Access) -> dict[int, Recent]:
    """The last DOTS deliveries of every live webhook of the project, none for one that sent nothing."""
    newest = (
        select(cast(Delivery.id, String).label("id"), Delivery.state, Delivery.duration_ms)
        .where(Delivery.webhook_id == Webhook.id, Delivery.state != CANCELLED)
        .order_by(Delivery.id.desc())
        .limit(DOTS)
        .correlate(Webhook)
        .subquery()
    )
    time = func.coalesce(cast(newest.c.duration_ms, String), "")
    each = newest.c.id + ":" + newest.c.state + ":" + time
    packed = select(func.aggregate_strings(each, " ")).scalar_subquery()
    return {row.id: _unpacked(row[1] or "") for row in session.execute(select(Webhook.id, packed).where(*live(access)))}


def _unpacked(text: str) -> Recent:
    rows = sorted(each.split(":") for each in text.split())  # by their ids: an aggregate has no order of its own
    return Recent(tuple(row[1] for row in rows), tuple(int(row[2]) for row in rows if row[2]))
