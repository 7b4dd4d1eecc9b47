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
        select(Delivery.state, Delivery.duration_ms)
        .where(Delivery.webhook_id == Webhook.id, Delivery.state != CANCELLED)
        .order_by(Delivery.id.desc())
        .limit(DOTS)
        .correlate(Webhook)
        .subquery()
    )
    time = func.coalesce(cast(newest.c.duration_ms, String), "")
    packed = select(func.aggregate_strings(newest.c.state + ":" + time, " ")).scalar_subquery()
    return {row.id: _unpacked(row[1] or "") for row in session.execute(select(Webhook.id, packed).where(*live(access)))}


def _unpacked(text: str) -> Recent:
    pairs = [each.partition(":") for each in text.split()]
    return Recent(tuple(pair[0] for pair in reversed(pairs)), tuple(int(pair[2]) for pair in pairs if pair[2]))
