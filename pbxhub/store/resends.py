"""Deliveries that are sent again: bulk orders with their progress, so that a restart continues them, and the state that
each delivery had before."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, SmallInteger, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.calls.stages import JSON
from pbxhub.store.columns import JsonColumn, UtcDateTime, partial_index
from pbxhub.store.session import Base

RUNNING, DONE, STOPPED = "running", "done", "stopped"


class Resend(Base):
    """One order to resend many deliveries, or to send many stages that a webhook has not got.

    running  entered by order_resend; left when the last delivery is queued, or by stop_resend.
    done     everything that matched is queued. Left by stop_resend while some of it has not been sent.
    stopped  entered by stop_resend; deliveries that were not sent are in the state they had before. Final.
    """

    __tablename__ = "resend"
    __table_args__ = (
        partial_index("ix_resend_running", "id", where="state = 'running'"),
        Index("ix_resend_project", "project_id", "id"),
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    state: Mapped[str] = mapped_column(String(10))
    selection: Mapped[dict[str, JSON]] = mapped_column(JsonColumn)  # delivery/outbox/selection.py or missing.py
    current_settings: Mapped[bool] = mapped_column()  # rendered again, or as it was sent
    rate: Mapped[int] = mapped_column(Integer)  # deliveries put in the queue per second
    total: Mapped[int] = mapped_column(BigInteger)  # how many matched when it was ordered
    queued: Mapped[int] = mapped_column(BigInteger, default=0)  # put in the queue and not taken out by stop_resend
    skipped: Mapped[int] = mapped_column(BigInteger, default=0)  # could not be queued: they are unchanged
    cursor: Mapped[UUID | None] = mapped_column(Uuid)  # the last delivery processed
    stepped_on: Mapped[datetime] = mapped_column(UtcDateTime)
    author_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="SET NULL"), index=True)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)

    @property
    def adds(self) -> bool:
        """Whether it sends stages for which there is no delivery yet (delivery/outbox/missing.py)."""
        return "missing" in self.selection


class BeforeResend(Base):
    """The state of a delivery before it was last queued again; restored if it leaves the queue before its next attempt.
    One row for each delivery, deleted with it, and without meaning after that attempt."""

    __tablename__ = "before_resend"
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("delivery.id", ondelete="CASCADE"), primary_key=True)
    state: Mapped[str] = mapped_column(String(10))
    lane: Mapped[int] = mapped_column(SmallInteger)
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    tries: Mapped[int] = mapped_column(Integer)
    outcome: Mapped[str] = mapped_column(String(40))
    message: Mapped[str] = mapped_column(String(1000))
    status_code: Mapped[int | None] = mapped_column(SmallInteger)
    duration_ms: Mapped[int | None] = mapped_column(Integer)
    finished_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    checked_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    content_removed_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    content_removed_by: Mapped[str | None] = mapped_column(String(255))
    # the request, where it was rendered anew; otherwise empty: it is sent as it was
    webhook_revision: Mapped[int | None] = mapped_column(Integer)
    method: Mapped[str | None] = mapped_column(String(10))
    url: Mapped[str | None] = mapped_column(String)
    headers: Mapped[list[list[str]] | None] = mapped_column(JsonColumn)
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    files: Mapped[list[list[Any]] | None] = mapped_column(JsonColumn)
