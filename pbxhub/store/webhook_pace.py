"""The table of how soon a webhook with a rate may send again."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.store.columns import Id, UtcDateTime
from pbxhub.store.session import Base


class WebhookPace(Base):
    """When the next request of a webhook with a rate (spec.limits.per_minute) may leave. Written by claim and record.

    No foreign key: the first row of a webhook would wait for everybody who changes that webhook, and the claim with all
    its other deliveries, too. prune deletes the rows whose time has passed.
    """

    __tablename__ = "webhook_pace"
    webhook_id: Mapped[int] = mapped_column(Id, primary_key=True, autoincrement=False)
    next_on: Mapped[datetime] = mapped_column(UtcDateTime)
