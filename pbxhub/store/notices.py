"""Notices for the members of a project, and whether they were sent."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.store.columns import Id, JsonColumn, UtcDateTime, partial_index
from pbxhub.store.session import Base

PAUSED, RECOVERED, FIRST_FAILURE, UNSUBSCRIBED = "paused", "recovered", "first_failure", "unsubscribed"
CONNECTION_REFUSED = "connection_refused"
PBX_LOST, PBX_BACK = "pbx_lost", "pbx_back"


class Notice(Base):
    """One sentence about a webhook or a PBX. due_on is empty once it was sent or given up (error says why)."""

    __tablename__ = "notice"
    __table_args__ = (
        partial_index("ix_notice_due", "due_on", where="due_on IS NOT NULL"),
        Index("ix_notice_project", "project_id", "id"),
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    webhook_id: Mapped[int | None] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"), index=True)
    pbx_id: Mapped[int | None] = mapped_column(Id)  # for the reader only: the PBX may have been deleted since
    kind: Mapped[str] = mapped_column(String(20))
    text: Mapped[str] = mapped_column(String(1000))
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    due_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    tries: Mapped[int] = mapped_column(Integer, default=0)
    missed: Mapped[list[str] | None] = mapped_column(JsonColumn)  # targets without it; empty: not tried yet
    error: Mapped[str] = mapped_column(String(500), default="")


class NoticeTarget(Base):
    """A target for a project's notices: an e-mail address, or a URL that gets them as JSON."""

    __tablename__ = "notice_target"
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"), index=True)
    address: Mapped[str] = mapped_column(String(2000))
