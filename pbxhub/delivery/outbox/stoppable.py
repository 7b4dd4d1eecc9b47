"""What orders to send again (store/resends.py) have queued and no worker has begun: stop_resend takes it back."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, and_, case, func, literal_column, select, union_all

from pbxhub.store.delivery_rows import BULK, Delivery
from pbxhub.store.webhooks import Webhook

_STATE: ColumnElement[str] = literal_column("delivery.state")  # as text: the partial indexes are used
_QUEUED = and_(literal_column("'pending'") == _STATE, Delivery.lane == BULK)
_WAITING = literal_column("'waiting'") == _STATE


def unsent_of(project_id: int) -> CTE:
    """By order of the project, without those that have sent everything: resend_id; count: deliveries; held: how many of
    these wait because their webhook is paused."""
    rows = union_all(_of(project_id, _QUEUED), _of(project_id, _WAITING)).subquery()
    counted = select(rows.c.resend_id, func.count().label("count"), func.sum(rows.c.held).label("held"))
    return counted.group_by(rows.c.resend_id).cte("unsent")


def _of(project_id: int, state: ColumnElement[bool]) -> Select[Any]:
    held = case((Webhook.paused_on.is_not(None), 1), else_=0).label("held")
    begun = (Delivery.tries > 0) | Delivery.claim_token.is_not(None)
    return (
        select(Delivery.resend_id, held)
        # + 0, so that SQLite does not read the whole history of each webhook
        .join(Webhook, Webhook.id == Delivery.webhook_id + 0)
        .where(Webhook.project_id == project_id, state, Delivery.resend_id.is_not(None), ~begun)
    )
