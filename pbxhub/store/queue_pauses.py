"""Pauses of queue members that programs have ordered.

Status of an order (only delivery/outbox/queue_pause_status.py changes it):

waiting     entered by the order. taken_on: a listener has it, and nobody else will ever send it to the PBX.
paused      final: the member gets no calls of the queue, or of all of its queues.
unpaused    final: the member gets them again.
not_found   final: the PBX has no such member in that queue, or in any.
error       final: the PBX refused, or could not be asked; message says why.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, String, Uuid
from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.store.columns import UtcDateTime, partial_index
from pbxhub.store.session import Base

WAITING, PAUSED, UNPAUSED, NOT_FOUND, REFUSED = "waiting", "paused", "unpaused", "not_found", "error"


class QueuePause(Base):
    """One order. queue: "" for every queue of the member. paused: whether to pause, or to end the pause."""

    __tablename__ = "queue_pause"
    __table_args__ = (
        Index("ix_queue_pause_project", "project_id", "id"),
        partial_index("ix_queue_pause_waiting", "pbx_id", where="status = 'waiting'"),
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    pbx_id: Mapped[int] = mapped_column(ForeignKey("pbx.id", ondelete="CASCADE"))
    member: Mapped[str] = mapped_column(String(160))
    queue: Mapped[str] = mapped_column(String(80))
    paused: Mapped[bool]
    reason: Mapped[str] = mapped_column(String(80))
    status: Mapped[str] = mapped_column(String(12), default=WAITING)
    message: Mapped[str] = mapped_column(String(200), default="")
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    taken_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
