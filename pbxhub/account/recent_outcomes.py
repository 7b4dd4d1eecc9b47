"""How webhooks are doing: their last outcomes, read for all of them in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import literal, select, union_all
from sqlalchemy.orm import Session

from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, Delivery

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


def recent_outcomes(session: Session, webhook_ids: Sequence[int]) -> dict[int, Recent]:
    """The last DOTS deliveries of each webhook. Asks in groups, because SQLite joins at most 500 statements."""
    found: dict[int, Recent] = {}
    for start in range(0, len(webhook_ids), 250):
        found |= _of_group(session, webhook_ids[start : start + 250])
    return found


def _of_group(session: Session, webhook_ids: Sequence[int]) -> dict[int, Recent]:
    parts = [
        select(
            select(literal(webhook_id).label("webhook_id"), Delivery.id, Delivery.state, Delivery.duration_ms)
            .where(Delivery.webhook_id == webhook_id, Delivery.state != CANCELLED)
            .order_by(Delivery.id.desc())
            .limit(DOTS)
            .subquery()
        )
        for webhook_id in webhook_ids
    ]
    grouped: dict[int, list[tuple[str, int | None]]] = {}
    for webhook_id, _id, state, duration in session.execute(union_all(*parts)):
        grouped.setdefault(webhook_id, []).append((state, duration))
    return {
        webhook_id: Recent(
            tuple(state for state, _ in reversed(rows)), tuple(duration for _, duration in rows if duration is not None)
        )
        for webhook_id, rows in grouped.items()
    }
