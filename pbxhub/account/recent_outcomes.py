"""How webhooks are doing: their last outcomes, read for all of them in one statement."""

from dataclasses import dataclass

from sqlalchemy import String, cast, func, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.webhook_drafts import live
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, Delivery
from pbxhub.store.webhooks import Webhook

DOTS = 20


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
