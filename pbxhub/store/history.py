"""The history of calls and their stages, written by publish; and the AMI events of each call."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    UniqueConstraint,
    Uuid,
    and_,
    case,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from pbxhub.calls.stages import JSON
from pbxhub.store.columns import JsonColumn, UtcDateTime, one_of, partial_index
from pbxhub.store.session import Base

COMMON_DISPOSITIONS = ("", "ANSWERED", "NO ANSWER")
RARE_DISPOSITION: ColumnElement[bool] = literal_column("disposition NOT IN ('', 'ANSWERED', 'NO ANSWER')")
"""Part of a query for another disposition: then the small index of those calls serves it."""

ANSWERED = ("ANSWERED", "PROPER", "REPEATED")
"""Dispositions of a call in which somebody talked."""
_SHOWN = ("direction", "disposition", "talk", "recorded")


class Call(Base):
    """One call on one PBX. Open while ended_on is empty."""

    __tablename__ = "call"
    __table_args__ = (
        UniqueConstraint("pbx_id", "linkedid"),
        # account/call_filter.py and call_report.py decide by these columns, and read the rest of chosen calls only
        Index("ix_call_project_started", "project_id", "started_on", *_SHOWN, "extension", "dst", "wait"),
        partial_index("ix_call_open", "pbx_id", where="ended_on IS NULL"),
        Index("ix_call_project_caller", "project_id", "caller"),
        Index("ix_call_project_person_started", "project_id", "person", "started_on"),
        Index("ix_call_project_tail", "project_id", text("substr(person, length(person) - 6)")),  # call_numbers.py
        Index("ix_call_project_dst_started", "project_id", "dst", "started_on", *_SHOWN, "extension"),
        Index("ix_call_project_extension_started", "project_id", "extension", "started_on", *_SHOWN),
        partial_index("ix_call_rare_disposition", "project_id", "disposition", "started_on", where=RARE_DISPOSITION),
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    pbx_id: Mapped[int | None] = mapped_column(ForeignKey("pbx.id", ondelete="SET NULL"))
    linkedid: Mapped[str] = mapped_column(String(150))
    direction: Mapped[str] = mapped_column(String(10))
    caller: Mapped[str] = mapped_column(String(80))  # number of the outside party
    # the same however it was written (webhooks/phones.person_of); "" = hidden, None = not known yet: caller_persons.py
    person: Mapped[str | None] = mapped_column(String(80))
    caller_name: Mapped[str] = mapped_column(String(200), default="")
    dst: Mapped[str] = mapped_column(String(80))  # the DID (incoming), the outside number (outgoing)
    extension: Mapped[str] = mapped_column(String(80), default="")
    started_on: Mapped[datetime] = mapped_column(UtcDateTime)
    answered_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    disposition: Mapped[str] = mapped_column(String(40), default="")
    talk: Mapped[int | None] = mapped_column(Integer)  # seconds, 1 or more if answered; None while it is in progress
    wait: Mapped[int | None] = mapped_column(Integer)  # seconds to the first pickup, or to the end; None: not known
    recorded: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())  # its file is known
    # catalogue values as JSON (times as ISO 8601 UTC); grows with each stage
    data: Mapped[dict[str, JSON]] = mapped_column(JsonColumn, default=dict)
    # what the webhooks of this call answered, for the next ones and the dialplan (webhook.*, response_*, saved names)
    answers: Mapped[dict[str, JSON]] = mapped_column(JsonColumn, default=dict)
    # whoever removed what it contained for good (delivery/outbox/remove_content.py), and when
    content_removed_on: Mapped[datetime | None] = mapped_column(UtcDateTime)
    content_removed_by: Mapped[str | None] = mapped_column(String(255))


IS_OVER: ColumnElement[bool] = Call.talk.is_not(None)
"""The same as ended_on, and in the indexes."""
_IS_INCOMING = Call.direction == "incoming"
_IS_ANSWERED = or_(Call.disposition.in_(ANSWERED), func.coalesce(Call.talk, 0) > 0)
RESULTS: Mapping[str, ColumnElement[bool]] = {
    "answered": and_(IS_OVER, _IS_ANSWERED),
    "missed": and_(IS_OVER, _IS_INCOMING, not_(_IS_ANSWERED)),
    "unanswered": and_(IS_OVER, not_(_IS_INCOMING), not_(_IS_ANSWERED)),
}
"""What came of a call that is over; the dashboard, the report, the lists, the search and the API all ask here.

answered: a person talked, an employee or the party called. Voicemail and a menu are no persons; yet a dialplan may
report VOICEMAIL for a call that an employee answered, so its seconds of talk count too. missed: an incoming call that
nobody answered, whatever its disposition: NO ANSWER, BUSY, DECLINE, FAILED, or NO-FORWARD, when the caller hung up
before a phone rang. unanswered: an outgoing or internal call that nobody answered.
The same as the parameters is_answered and is_missed (calls/values.py). All columns asked for are in the indexes."""
RESULT: ColumnElement[str] = case(*((condition, name) for name, condition in RESULTS.items()), else_="")


class LiveCall(Base):
    """The tracker's notes on a live call (Tracker.restore), from its first second to its end, even before it is in
    the history. Written with each of its stages, and within a second of any other change."""

    __tablename__ = "live_call"
    pbx_id: Mapped[int] = mapped_column(ForeignKey("pbx.id", ondelete="CASCADE"), primary_key=True)
    linkedid: Mapped[str] = mapped_column(String(150), primary_key=True)
    memory: Mapped[dict[str, JSON]] = mapped_column(JsonColumn)


class StageEvent(Base):
    """One stage of one call. Written once, however many listeners report it."""

    __tablename__ = "stage_event"
    __table_args__ = (
        UniqueConstraint("call_id", "stage", "key"),
        partial_index("ix_stage_event_other", "project_id", "stage", "key", where="call_id IS NULL", unique=True),
        Index("ix_stage_event_recent", "project_id", "stage", "id"),  # the editor: the last calls that had this stage
    )
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    call_id: Mapped[UUID | None] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"))  # none: not about a call
    stage: Mapped[str] = mapped_column(String(100))
    key: Mapped[str] = mapped_column(String(200))
    ordinal: Mapped[int] = mapped_column(Integer)
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)  # Asterisk's time of the stage
    data: Mapped[dict[str, JSON]] = mapped_column(JsonColumn)
    content_removed_on: Mapped[datetime | None] = mapped_column(UtcDateTime)  # with that of its call


class CallEvents(Base):
    """Events of a few seconds of one call. Found by linkedid, because the events come before the call is a row.

    Written by the listener only (ami/event_log.py), read by account/call_events.py, pruned by age.
    """

    __tablename__ = "call_events"
    __table_args__ = (Index("ix_call_events_call", "pbx_id", "linkedid"),)
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)  # begins with the time it was written
    pbx_id: Mapped[int] = mapped_column(ForeignKey("pbx.id", ondelete="CASCADE"))
    linkedid: Mapped[str] = mapped_column(String(150))
    recorded: Mapped[bytes] = mapped_column(LargeBinary)  # the text that `pbxhub replay` reads, by zlib


def open_calls(session: Session, pbx_ids: Collection[int]) -> dict[int, int]:
    """How many calls are live now, by PBX. PBXs without a call are missing."""
    counted = select(Call.pbx_id, func.count()).where(Call.ended_on.is_(None), one_of(Call.pbx_id, pbx_ids))
    return {pbx_id: count for pbx_id, count in session.execute(counted.group_by(Call.pbx_id)) if pbx_id is not None}
