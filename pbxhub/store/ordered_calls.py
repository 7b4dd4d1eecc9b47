"""Calls that programs order, and the rules by which a PBX places them.

Status of an ordered call (only delivery/outbox/ordered_call_status.py changes it):

registered  entered by the order. taken_on: a listener has it, and nobody else will ever place it. Left by what follows.
ongoing     entered when the outside number has picked up.
completed   final: the call is over and the two have talked.
failed      final: not answered, busy or declined, by the employee or by the number.
error       final: could not be connected, or the outcome is unknown.
cancelled   final: cancelled by API, before it rang or while it was in progress.
"""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, Integer, String, Uuid
from sqlalchemy.orm import Mapped, Session, mapped_column

from pbxhub.calls.stages import JSON
from pbxhub.steering.number_rules import EVERY_NUMBER
from pbxhub.store.columns import JsonColumn, UtcDateTime, partial_index
from pbxhub.store.session import Base

REGISTERED, ONGOING, COMPLETED, FAILED, ERROR, CANCELLED = (
    "registered", "ongoing", "completed", "failed", "error", "cancelled",
)  # fmt: skip
STATUSES = (REGISTERED, ONGOING, COMPLETED, FAILED, ERROR, CANCELLED)
FINAL = frozenset({COMPLETED, FAILED, ERROR, CANCELLED})
CHANNEL_PREFIX = "pbxhub-"


class OrderedCall(Base):
    """One call ordered by API. It is recognized by the uniqueid "pbxhub-<id>" of its first channel."""

    __tablename__ = "ordered_call"
    __table_args__ = (
        Index("ix_ordered_call_project", "project_id", "id"),
        partial_index("ix_ordered_call_open", "pbx_id", where="status IN ('registered', 'ongoing')"),
        Index("ix_ordered_call_call", "call_id"),
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    pbx_id: Mapped[int | None] = mapped_column(ForeignKey("pbx.id", ondelete="SET NULL"))
    name: Mapped[str] = mapped_column(String(200), default="")
    mobile_number: Mapped[str] = mapped_column(String(40))
    from_number: Mapped[str] = mapped_column(String(40), default="")
    agent_id: Mapped[str] = mapped_column(String(80))
    callback_url: Mapped[str] = mapped_column(String(8192), default="")
    callback_headers: Mapped[dict[str, str]] = mapped_column(JsonColumn, default=dict)
    callback_params: Mapped[dict[str, str]] = mapped_column(JsonColumn, default=dict)
    custom: Mapped[dict[str, JSON]] = mapped_column(JsonColumn, default=dict)
    status: Mapped[str] = mapped_column(String(12), default=REGISTERED)
    reason: Mapped[str] = mapped_column(String(500), default="")
    call_id: Mapped[UUID | None] = mapped_column(ForeignKey("call.id", ondelete="SET NULL"))
    transcript: Mapped[JSON] = mapped_column(JsonColumn, default=None)
    analysis: Mapped[JSON] = mapped_column(JsonColumn, default=None)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    taken_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    answered_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancel_asked_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    cancel_sent_on: Mapped[datetime | None] = mapped_column(UtcDateTime)

    @property
    def channel_id(self) -> str:
        return f"{CHANNEL_PREFIX}{self.id}"


class DialPlan(Base):
    """How a PBX places ordered calls, and which it refuses.

    channel: what rings first, with {extension}. context: where the outside number is dialled from then on.
    allowed: rules of steering/number_rules.py; no other number is ever dialled.
    """

    __tablename__ = "dial_plan"
    pbx_id: Mapped[int] = mapped_column(ForeignKey("pbx.id", ondelete="CASCADE"), primary_key=True)
    channel: Mapped[str] = mapped_column(String(100), default="PJSIP/{extension}")
    context: Mapped[str] = mapped_column(String(80), default="from-internal")
    allowed: Mapped[list[str]] = mapped_column(JsonColumn, default=lambda: list(EVERY_NUMBER))
    at_once: Mapped[int] = mapped_column(Integer, default=10)
    per_minute: Mapped[int] = mapped_column(Integer, default=60)
    ring_seconds: Mapped[int] = mapped_column(Integer, default=30)


def dial_plan_of(session: Session, pbx_id: int) -> DialPlan:
    """The rules of a PBX; the defaults, in no session, when nobody has set any."""
    return session.get(DialPlan, pbx_id) or DialPlan(
        pbx_id=pbx_id, channel="PJSIP/{extension}", context="from-internal", allowed=list(EVERY_NUMBER), at_once=10,
        per_minute=60, ring_seconds=30,
    )  # fmt: skip
