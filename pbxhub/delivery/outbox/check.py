"""Takes failed deliveries off the error page."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.selection import Selection
from pbxhub.store.delivery_rows import FAILED, Delivery


def check(session: Session, project_id: int, selection: Selection, now: datetime) -> int:
    """Marks the selected failed deliveries as seen; they stay in the history. Returns how many."""
    seen = (
        update(Delivery)
        .where(*selection.conditions(project_id), Delivery.state == FAILED, Delivery.checked_on.is_(None))
        .values(checked_on=now)
        .execution_options(synchronize_session=False)
    )
    return session.execute(seen).rowcount  # type: ignore[attr-defined,no-any-return]
