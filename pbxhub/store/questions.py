"""Questions that the dialplan asked webhooks, and what the calls did with the answers."""

from uuid import UUID

from sqlalchemy import ForeignKey, SmallInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.calls.stages import JSON
from pbxhub.store.columns import JsonColumn, partial_index
from pbxhub.store.session import Base

KIND = "question"
"""Delivery.kind of a question."""


class Question(Base):
    """One webhook asked while a call waited. Its delivery, of kind "question", has the request and the answer."""

    __tablename__ = "question"
    __table_args__ = (partial_index("ix_question_unlinked", "pbx_id", "linkedid", where="linkedid <> ''"),)
    delivery_id: Mapped[UUID] = mapped_column(ForeignKey("delivery.id", ondelete="CASCADE"), primary_key=True)
    line: Mapped[int] = mapped_column(SmallInteger)  # PBXHUB_LINE: 0 after a success, 1 otherwise
    # [{"step": "dial 101 for 30 s", "result": "ANSWER"}]: in order; result is empty for what was not done
    steps: Mapped[list[dict[str, JSON]]] = mapped_column(JsonColumn, default=list)
    # of which call, until that is written and the delivery has its id (delivery/outbox/question.py); empty from then on
    pbx_id: Mapped[int | None] = mapped_column(ForeignKey("pbx.id", ondelete="SET NULL"))
    linkedid: Mapped[str] = mapped_column(String(200), default="")
