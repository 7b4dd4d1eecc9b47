"""Which listener has which PBX, on PostgreSQL: leases with a heartbeat, and the fence that keeps others from writing.

Every listener says once in BEAT seconds that it lives. One that has not said so for LAPSE has lost its PBXs: another
one takes them. All times are the database's: the clocks of the hosts do not matter.

The order of events when a host stands still: 1. A has PBX 7 with the token 3, and is frozen; 2. LAPSE passes; 3. B
takes the lease, which gets the token 4, and lists the live channels; 4. A wakes and writes: still_held() finds the
token 4 in the same transaction that would write, and A writes nothing but what nobody else can know (publish). The row
stays locked until that transaction ends, so no lease changes hands while its holder writes. tests/test_share_pbxs.py

Why leases and not pg_try_advisory_lock on a connection of its own: such a lock is lost with its session, so a failover
or a restart of the server takes all PBXs from everybody at once; it is not there behind a pooler in transaction mode;
and the kernel of a frozen host answers for its processes, so the lock of a frozen listener is never released.
"""

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, String, Uuid, bindparam, func, select, text
from sqlalchemy.orm import Mapped, Session, mapped_column

from pbxhub.store.bulk import Query
from pbxhub.store.columns import AMONG, ListOf, UtcDateTime
from pbxhub.store.postgresql import HURRIED
from pbxhub.store.session import Base

if TYPE_CHECKING:
    import psycopg

BEAT = 0.8  # seconds
LAPSE = 3.2  # seconds; with a beat, a look and the login, a PBX is heard again within 5
_SETTLED = 5.0  # seconds that a listener lives before others hand it PBXs: one that dies at its start gets none
_FORGOTTEN = "1 hour"
LeaseTokens = Mapping[int, int]
"""The leases that somebody has: PBX -> token. On SQLite, which has none, the token is the number of the PBX's salt."""


class ListenerProcess(Base):
    """A process that listens to PBXs."""

    __tablename__ = "listener"
    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True)
    host: Mapped[str] = mapped_column(String(255))
    started_on: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_on: Mapped[datetime] = mapped_column(UtcDateTime)


class PbxLease(Base):
    """Who listens to a PBX; nobody when it has no listener. token: grows each time it changes hands."""

    __tablename__ = "pbx_lease"
    pbx_id: Mapped[int] = mapped_column(ForeignKey("pbx.id", ondelete="CASCADE"), primary_key=True)
    listener_id: Mapped[UUID | None] = mapped_column(ForeignKey("listener.id", ondelete="SET NULL"), index=True)
    token: Mapped[int] = mapped_column(BigInteger)
    since: Mapped[datetime] = mapped_column(UtcDateTime)


@dataclass(frozen=True, slots=True)
class Held:
    """The lease of an enabled PBX. listener: who lives and has it; None when it is free, or its listener is dead."""

    pbx_id: int
    token: int
    listener: UUID | None
    released: bool  # nobody has it; otherwise somebody dead may have it


@dataclass(frozen=True, slots=True)
class Sight:
    """What a listener sees at a beat. settled: the listeners that live, but for those that have just started."""

    settled: frozenset[UUID]
    leases: tuple[Held, ...]


_FENCE = Query(
    text(f"""
    SELECT pbx_id, token, {HURRIED} AS hurried
      FROM pbx_lease WHERE pbx_id = ANY(:pbx_ids) ORDER BY pbx_id FOR SHARE
""").bindparams(bindparam("pbx_ids", type_=ListOf(BigInteger())))  # noqa: S608
)


_SALTS = Query(
    text(f"SELECT id, salt FROM pbx WHERE id {AMONG['sqlite'].format('pbx_ids')}")  # noqa: S608
    .bindparams(bindparam("pbx_ids", type_=ListOf(BigInteger())))
)  # fmt: skip


def token_of_salt(salt: str) -> int:
    """The token under which SQLite's one listener hears a PBX. The order of events that needs it: 1. PBX 7 is deleted;
    2. another project adds one, which SQLite gives the id 7; 3. the listener, which has not read the rows since,
    hears a call of the former one, and would write it into the project of the new one."""
    return zlib.crc32(salt.encode())


def still_held(session: Session, tokens: LeaseTokens) -> frozenset[int]:
    """Those of the PBXs whose leases these tokens still are. Nobody takes them before this transaction ends; should its
    process freeze or its host be cut off, PostgreSQL ends it after 3 s. On SQLite: those that are still the same."""
    if not tokens:
        return frozenset()
    if session.get_bind().dialect.name == "sqlite":
        salts = _SALTS.all(session, pbx_ids=list(tokens))
        return frozenset(row.id for row in salts if token_of_salt(row.salt) == tokens[row.id])
    rows = _FENCE.all(session, pbx_ids=list(tokens))
    return frozenset(row.pbx_id for row in rows if row.token == tokens[row.pbx_id])


_THERE = Query(
    text("SELECT id FROM pbx WHERE id = ANY(:pbx_ids)").bindparams(bindparam("pbx_ids", type_=ListOf(BigInteger())))
)


def deleted(session: Session, lost: Collection[int]) -> frozenset[int]:
    """Those of the PBXs not still_held that were deleted. On SQLite all were: nobody else takes a PBX there."""
    if not lost or session.get_bind().dialect.name == "sqlite":
        return frozenset(lost)
    return frozenset(lost) - {row.id for row in _THERE.all(session, pbx_ids=list(lost))}


def may_write(session: Session, pbx_id: int, token: int | None) -> bool:
    """Whether this listener still has the PBX. Without a token nobody else can have it."""
    return token is None or bool(still_held(session, {pbx_id: token}))


def pbxs_by_host(session: Session) -> dict[str, int]:
    """How many PBXs the listeners of each host have; none on SQLite."""
    count = select(ListenerProcess.host, func.count(PbxLease.pbx_id).label("number")).outerjoin(
        PbxLease, PbxLease.listener_id == ListenerProcess.id
    )
    living = count.where(ListenerProcess.seen_on > func.clock_timestamp() - text(f"interval '{LAPSE} s'"))
    if session.get_bind().dialect.name == "sqlite":
        return {}
    rows = session.execute(living.group_by(ListenerProcess.host))
    return {row.host: row.number for row in rows}


class Leases:
    """The statements of one listener, on a connection of its own: it must beat while the pool waits for the database.

    What they write need not be on the disk when they return: a later commit of this listener that relies on it is
    flushed with it. Every method raises psycopg.Error.
    """

    def __init__(self, connection: "psycopg.Connection[Any]", me: UUID, host: str) -> None:
        limits = "SET synchronous_commit = off; SET lock_timeout = '1s'; SET statement_timeout = '2s'"
        connection.execute(f"SET application_name = 'pbxhub heartbeat'; {limits}; LISTEN {_RELEASED}")
        self._connection, self._me, self._host = connection, me, host

    def beat(self) -> Sight:
        """Says that this listener lives, and looks who else does and who has which PBX."""
        self.was_rung()  # what has been released by now this beat sees
        rows = self._connection.execute(_BEAT, {"me": self._me, "host": self._host}).fetchall()
        return Sight(
            frozenset(listener for pbx_id, listener, _, _ in rows if pbx_id is None),
            tuple(Held(pbx_id, token, listener, free) for pbx_id, listener, token, free in rows if pbx_id is not None),
        )

    def take(self, pbx_ids: Sequence[int]) -> None:
        """Takes those that are free or whose listener is dead. A lease that is locked is left for the next beat: its
        holder is writing at this moment."""
        self._connection.execute(_MAKE, {"ids": list(pbx_ids)})
        self._connection.execute(_TAKE, {"me": self._me, "ids": list(pbx_ids)})

    def release(self, pbx_ids: Sequence[int]) -> None:
        """Lets others have these PBXs, and wakes them."""
        self._connection.execute(_RELEASE, {"me": self._me, "ids": list(pbx_ids)})

    def was_rung(self) -> bool:
        """Whether somebody has released PBXs since this was asked last."""
        return bool(list(self._connection.notifies(timeout=0)))

    def fileno(self) -> int | None:
        """Readable when somebody releases PBXs. None: the connection is broken."""
        return None if self._connection.closed else self._connection.fileno()

    def retire(self) -> None:
        """Others count on this listener no more, and take what it releases. Until then it keeps what it has."""
        self._connection.execute(_RETIRE, {"me": self._me})

    def leave(self) -> None:
        """Releases everything at once."""
        self._connection.execute(_LEAVE, {"me": self._me})

    def close(self) -> None:
        self._connection.close()

    def forget_the_dead(self) -> None:
        self._connection.execute(f"DELETE FROM listener WHERE seen_on < clock_timestamp() - interval '{_FORGOTTEN}'")  # noqa: S608


_RELEASED = "pbxhub_released"  # channel of NOTIFY
_LIVES = f"seen_on > clock_timestamp() - interval '{LAPSE} s'"
_BEAT = f"""
    WITH beat AS (
        INSERT INTO listener (id, host, started_on, seen_on)
        VALUES (%(me)s, %(host)s, clock_timestamp(), clock_timestamp())
        ON CONFLICT (id) DO UPDATE SET seen_on = excluded.seen_on)
    SELECT NULL::bigint, id, NULL::bigint, NULL::boolean FROM listener
     WHERE {_LIVES} AND started_on < clock_timestamp() - interval '{_SETTLED} s'
    UNION ALL
    SELECT p.id, CASE WHEN h.{_LIVES} OR h.id = %(me)s THEN h.id END, coalesce(l.token, 0), l.listener_id IS NULL
      FROM pbx p LEFT JOIN pbx_lease l ON l.pbx_id = p.id LEFT JOIN listener h ON h.id = l.listener_id
     WHERE p.enabled"""  # noqa: S608
_MAKE = """
    INSERT INTO pbx_lease (pbx_id, token, since) SELECT id, 0, clock_timestamp() FROM pbx
     WHERE id = ANY(%(ids)s) AND NOT EXISTS (SELECT FROM pbx_lease WHERE pbx_id = pbx.id) ON CONFLICT DO NOTHING"""
_TAKE = f"""
    UPDATE pbx_lease SET listener_id = %(me)s, token = token + 1, since = clock_timestamp()
     WHERE pbx_id IN (SELECT pbx_id FROM pbx_lease l WHERE pbx_id = ANY(%(ids)s) AND NOT EXISTS
                      (SELECT FROM listener WHERE id = l.listener_id AND {_LIVES})
                      ORDER BY pbx_id FOR UPDATE SKIP LOCKED)"""  # noqa: S608
_RELEASE = f"""
    WITH released AS (UPDATE pbx_lease SET listener_id = NULL WHERE pbx_id = ANY(%(ids)s) AND listener_id = %(me)s)
    SELECT pg_notify('{_RELEASED}', '')"""  # noqa: S608
_RETIRE = f"UPDATE listener SET started_on = clock_timestamp() + interval '{_FORGOTTEN}' WHERE id = %(me)s"  # noqa: S608
_LEAVE = f"WITH gone AS (DELETE FROM listener WHERE id = %(me)s) SELECT pg_notify('{_RELEASED}', '')"  # noqa: S608
