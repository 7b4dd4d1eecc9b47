"""What orders to send again (store/resends.py) have queued and no worker has begun: stop_resend takes it back."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, func, literal_column, select, union_all
from sqlalchemy.orm import Session

from pbxhub.store.delivery_rows import BULK, Delivery
from pbxhub.store.webhooks import Webhook

_STATE: ColumnElement[str] = literal_column("delivery.state")  # as text: the partial indexes are used
_QUEUED = and_(literal_column("'pending'") == _STATE, Delivery.lane == BULK)
_WAITING = literal_column("'waiting'") == _STATE


@dataclass(frozen=True, slots=True)
class Unsent:
    """count: deliveries. held: how many of these wait because their webhook is paused."""

    count: int = 0
    held: int = 0


def count_unsent(session: Session, project_id: int) -> dict[UUID, Unsent]:
    """By order of the project, without those that have sent everything."""
    rows = union_all(_of(project_id, _QUEUED), _of(project_id, _WAITING)).subquery()
    counted = select(rows.c.resend_id, func.count(), func.sum(rows.c.held)).group_by(rows.c.resend_id)
    return {resend_id: Unsent(count, int(held)) for resend_id, count, held in session.execute(counted)}


def _of(project_id: int, state: ColumnElement[bool]) -> Select[Any]:
    held = case((Webhook.paused_on.is_not(None), 1), else_=0).label("held")
    begun = (Delivery.tries > 0) | Delivery.claim_token.is_not(None)
    return (
        select(Delivery.resend_id, held)
        # + 0, so that SQLite does not read the whole history of each webhook
        .join(Webhook, Webhook.id == Delivery.webhook_id + 0)
        .where(Webhook.project_id == project_id, state, Delivery.resend_id.is_not(None), ~begun)
    )
