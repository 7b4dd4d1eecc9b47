"""Typed events as they are kept: one row each, in an order in which a reader misses nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    ForeignKey,
    Index,
    String,
    Table,
    Uuid,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.orm import Mapped, Session, mapped_column

from pbxhub.calls.stages import JSON
from pbxhub.store.accounts import Id
from pbxhub.store.bulk import Insert
from pbxhub.store.columns import JsonColumn, UtcDateTime
from pbxhub.store.session import Base


class EventRow(Base):
    """One event of a project. data: its own fields; of a delivery's attempt only which one it was.

    Two transactions may commit in another order than they took their ids. On PostgreSQL a reader therefore goes by
    the transaction's number and stops before the oldest one still open; SQLite lets only one write at a time.
    """

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_stream", "project_id", "xid", "id"),
        Index("ix_event_call", "call_id", "id"),
        {"sqlite_autoincrement": True},  # a reader stands at an id: it never comes again, even when all are gone
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    xid: Mapped[int] = mapped_column(BigInteger)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    call_id: Mapped[UUID | None] = mapped_column(Uuid)
    type: Mapped[str] = mapped_column(String(60))
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    data: Mapped[dict[str, JSON]] = mapped_column(JsonColumn)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event about to be kept. data: everything but type and created_on."""

    project_id: int
    type: str
    created_on: datetime
    data: dict[str, Any]
    call_id: UUID | None = None


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a reader of the stream stands: everything up to here is read."""

    xid: int = 0
    id: int = 0

    def __str__(self) -> str:
        return f"{self.xid}.{self.id}"


_EVENT: Table = Base.metadata.tables["event"]
_FIELDS = ("project_id", "call_id", "type", "created_on", "data")
_XID = {"postgresql": "CAST(CAST(pg_current_xact_id() AS text) AS bigint)", "sqlite": "0"}
_KEEP = {dialect: Insert(_EVENT, _FIELDS, {"xid": xid}) for dialect, xid in _XID.items()}


def keep(session: Session, events: Sequence[NewEvent]) -> None:
    """Writes events in the caller's transaction: they exist if and only if what they tell of does."""
    if events:
        rows = ({name: getattr(event, name) for name in _FIELDS} for event in events)
        _KEEP[session.get_bind().dialect.name].run(session, rows)


def read_after(
    session: Session, project_id: int, after: Position, limit: int, *which: ColumnElement[bool]
) -> list[EventRow]:
    """The next events in the order of the stream; never one before which another may still appear."""
    query = select(EventRow).where(
        EventRow.project_id == project_id, tuple_(EventRow.xid, EventRow.id) > (after.xid, after.id)
    )
    query = query.where(*_settled(session), *which)
    return list(session.scalars(query.order_by(EventRow.xid, EventRow.id).limit(limit)))


def newest(session: Session, project_id: int) -> Position:
    """Where somebody begins who wants only what happens from now on; what is being written now is to come."""
    last = (
        select(EventRow.xid, EventRow.id)
        .where(EventRow.project_id == project_id, *_settled(session))
        .order_by(EventRow.xid.desc(), EventRow.id.desc())
        .limit(1)
    )
    found = session.execute(last).first()
    return Position(found.xid, found.id) if found else Position()


def _settled(session: Session) -> list[ColumnElement[bool]]:
    """Of transactions before the oldest one still open."""
    if session.get_bind().dialect.name != "postgresql":
        return []
    oldest_open: ColumnElement[int] = literal_column(
        "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)"
    )
    return [EventRow.xid < oldest_open]


def position_of(text: str) -> Position | None:
    """What str(Position) wrote; None for anything else."""
    xid, dot, number = text.partition(".")
    if not dot or not all(part.isascii() and part.isdigit() and len(part) < 19 for part in (xid, number)):
        return None
    return Position(int(xid), int(number))
