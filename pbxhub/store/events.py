"""Typed events: one row each, in an order in which a reader misses none."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, ForeignKey, Index, String, Table, Uuid, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from pbxhub.calls.stages import JSON
from pbxhub.store.bulk import Insert, Query
from pbxhub.store.columns import Id, JsonColumn, UtcDateTime
from pbxhub.store.session import Base


class EventRow(Base):
    """One event of a project. data: its own fields; for an attempt of a delivery only its key.

    A reader goes by the ids and skips nothing, although two transactions of PostgreSQL may commit in another order than
    they took their ids:

    1. A writer reads which id was given last, takes a shared advisory lock that carries this number (its *bound*), and
       only then takes ids. All of them are above its bound.
    2. A reader reads which id was given last (U), then the lowest bound among the locks (L), then, in a new snapshot,
       the rows up to the lower of the two.
    3. So each id up to U was taken before step 2, by a writer that had its lock by then. If the reader found the lock,
       the id is above L, and waits. If not, the writer had ended, and PostgreSQL makes a commit visible before it gives
       locks back: the snapshot has the row.

    The locks are of this database alone, and the numbers are the ids' own: neither a transaction elsewhere in the
    cluster nor a restore into another one matters. SQLite lets only one write at a time.

    xid: of rows from before, the transaction that wrote them; readers of that time stood at XID.ID.
    """

    __tablename__ = "event"
    __table_args__ = (
        Index("ix_event_stream", "project_id", "id"),
        Index("ix_event_call", "call_id", "id"),
        {"sqlite_autoincrement": True},  # a reader stands at an id: it never comes again, even when all are gone
    )
    id: Mapped[int] = mapped_column(Id, primary_key=True)
    xid: Mapped[int] = mapped_column(BigInteger, default=0)
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id", ondelete="CASCADE"))
    call_id: Mapped[UUID | None] = mapped_column(Uuid)
    type: Mapped[str] = mapped_column(String(60))
    created_on: Mapped[datetime] = mapped_column(UtcDateTime)
    data: Mapped[dict[str, JSON]] = mapped_column(JsonColumn)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event about to be written. data: everything but type and created_on."""

    project_id: int
    type: str
    created_on: datetime
    data: dict[str, Any]
    call_id: UUID | None = None


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A reader's position in the stream: everything up to this id is read. xid: see EventRow; 0 in new positions."""

    id: int = 0
    xid: int = 0

    def __str__(self) -> str:
        return str(self.id)


_EVENT: Table = Base.metadata.tables["event"]
_KEEP = Insert(_EVENT, NewEvent, {"xid": "0"})
_LOCKED = "pbxhub_events"
_CLASS = 0x7078  # the upper 16 bits of our locks; the bound is in the other 48
_BOUND_BITS = 48
_GIVEN = "SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END FROM event_id_seq"
_LOCK = Query(text(f"SELECT pg_advisory_xact_lock_shared(({_GIVEN}) | ({_CLASS}::bigint << {_BOUND_BITS}))"))
_LOWEST_BOUND = f"""
    SELECT min(((classid::bigint & 65535) << 32) | objid::bigint) FROM pg_locks
     WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = {_CLASS}
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""  # noqa: S608
_OLD_OVERLAP = 100_000  # ids that writers of the same moment may lie apart


def keep(session: Session, events: Sequence[NewEvent]) -> None:
    """Writes events in the caller's transaction, together with what they report."""
    if not events:
        return
    if session.get_bind().dialect.name == "postgresql" and session.info.get(_LOCKED) is not session.get_transaction():
        _LOCK.all(session)
        session.info[_LOCKED] = session.get_transaction()
    _KEEP.run(session, events)


def read_after(
    session: Session, project_id: int, after: Position, limit: int, *which: ColumnElement[bool],
    up_to: Position | None = None,
) -> list[EventRow]:  # fmt: skip
    """The next events of the stream, in order; never one before which another one may still appear.

    up_to: what newest() has said, where it has been asked already.
    """
    end = up_to or newest(session)
    of_project = (EventRow.project_id == project_id, EventRow.id > after.id, EventRow.id <= end.id)
    return list(session.scalars(select(EventRow).where(*of_project, *which).order_by(EventRow.id).limit(limit)))


def newest(session: Session) -> Position:
    """The position for a reader that wants only future events. Events that are being written now are future ones."""
    last = last_given(session)  # first: see EventRow
    if session.get_bind().dialect.name != "postgresql":
        return Position(last)
    bound: int | None = session.connection().exec_driver_sql(_LOWEST_BOUND).scalar()
    return Position(last if bound is None else min(last, bound))


def last_given(session: Session) -> int:
    """The newest id, committed or not; 0 before the first event."""
    postgresql = session.get_bind().dialect.name == "postgresql"
    query = _GIVEN if postgresql else "SELECT seq FROM sqlite_sequence WHERE name = 'event'"
    return int(session.connection().exec_driver_sql(query).scalar() or 0)


def position_of(text: str) -> Position | None:
    """The inverse of str(Position), and of the older form XID.ID; None for anything else."""
    xid, dot, number = text.rpartition(".")
    if not all(part.isascii() and part.isdigit() and len(part) < 19 for part in (number, xid if dot else "0")):
        return None
    return Position(int(number), int(xid or 0))


def today(session: Session, project_id: int, position: Position) -> Position:
    """The same place by the ids alone. Readers of XID.ID went by the transactions first: those with a later one have
    not been read, whatever their ids."""
    if not position.xid:
        return position
    unread = select(func.min(EventRow.id)).where(
        EventRow.project_id == project_id, EventRow.xid > position.xid,
        EventRow.id.between(position.id - _OLD_OVERLAP, position.id),
    )  # fmt: skip
    first = session.scalar(unread)
    return Position(position.id if first is None else first - 1)
