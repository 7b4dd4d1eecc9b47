"""Opens the database and hands out transactions. SQLite serves one host, PostgreSQL many; the code is the same."""

import json
import select
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

import orjson
import psycopg
from sqlalchemy import Connection, Dialect, Engine, ExceptionContext, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from pbxhub.database_url import connect_arguments
from pbxhub.store.sqlite_file import SqliteFile

CONNECTION = "pbxhub_connection"
"""Where a session of write() has the connection of its one transaction, for those who run many small statements."""

_WRITE = "pbxhub_write"
_SQLITE_PATIENCE = 5  # seconds for a lock of another process; whoever writes tries again, and a stop must not hang
# libpq's own words: seconds to connect to each host, milliseconds and probes until one that is silent counts as gone
_PATIENCE = {
    "connect_timeout": 5, "tcp_user_timeout": 10_000,
    "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
}  # fmt: skip
_FRESH = 1.0  # seconds after its last use for which a connection need not be asked whether it still is one
_USED, _POOLED = "pbxhub_used", "pbxhub_pooled"
_SQLITE_STATEMENTS = 512  # kept compiled by each connection; those of store/bulk.py come in ten lengths
# SQLSTATEs of a PostgreSQL that is away without an OperationalError: read-only, and ended for saying nothing for long
_READ_ONLY = "25006"
_AWAY = frozenset({_READ_ONLY, "25P03"})
# of every transaction
_LIMITS = {"lock_timeout": "10s", "idle_in_transaction_session_timeout": "60s"}
STALLED = "3s"  # of a transaction whose locks others wait for; there are milliseconds between its statements


class Base(DeclarativeBase):
    """Every table. Constraints carry names, so that a migration can drop them on both databases."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


@dataclass(frozen=True, slots=True)
class Database:
    """One open database. Every read and every change goes through one of its two transactions."""

    engine: Engine
    _turn: AbstractContextManager[object]
    _reads: sessionmaker[Session]
    _writes: sessionmaker[Session]
    direct_url: str = field(repr=False)  # past a pooler; empty without one; it may hold a password

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and writes nothing."""
        with self._reads() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction, committed at the end of the block. On SQLite it takes the write lock at once, so that it
        never fails half-way for having read something that changed meanwhile."""
        with self._turn, self._writes.begin() as session:
            session.info[CONNECTION] = session.connection()
            yield session

    def own_connection(self) -> "psycopg.Connection[Any]":
        """A connection to PostgreSQL outside the pools, in autocommit, for what belongs to a connection and not to a
        transaction: LISTEN. It goes past a pooler where the settings say how. Raises psycopg.Error."""
        arguments = connect_arguments(self.direct_url or self.engine.url)
        return psycopg.connect(**{**_PATIENCE, **arguments, "autocommit": True})

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str, pool_size: int = 10, direct_url: str = "") -> Database:
    """Opens the database behind a SQLAlchemy URL. Nothing is connected before the first transaction.

    direct_url: the same database past a pooler such as PgBouncer; empty without one.
    """
    # what is bound is the customers' own: keys in URLs, phone numbers, answers; none of it may get into a log
    options: dict[str, Any] = {
        "json_serializer": _json, "pool_size": pool_size, "max_overflow": 20, "hide_parameters": True,
    }  # fmt: skip
    if make_url(url).get_backend_name() == "sqlite":
        options["connect_args"] = {
            "timeout": _SQLITE_PATIENCE, "check_same_thread": False, "cached_statements": _SQLITE_STATEMENTS,
        }  # fmt: skip
    else:
        options["connect_args"] = {name: value for name, value in _PATIENCE.items() if name not in make_url(url).query}
        options["isolation_level"] = "READ COMMITTED"  # whatever the server's default: store/events.py relies on it
    engine = create_engine(url, **options)
    event.listen(engine, "handle_error", _drop_details)
    event.listen(engine, "handle_error", _tell_away)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        _watch_file(engine)
    else:
        event.listen(engine, "connect", _prepare_postgresql)
        event.listen(engine, "begin", _begin_postgresql)
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", partial(_look_before_use, engine.dialect))
    writing = engine.execution_options(**{_WRITE: True})
    # SQLite lets one write at a time and makes the others sleep and try again: within a process a lock is faster
    turn = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
    reads, writes = (sessionmaker(bind, expire_on_commit=False) for bind in (engine, writing))
    return Database(engine, turn, reads, writes, direct_url)


def is_away(error: Exception) -> bool:
    """Whether the database failed as a whole: not there, full, locked, damaged, its tables or rights missing for now.

    False: what was written is to blame, and would be refused again.
    """
    if isinstance(error, (OperationalError, InterfaceError, PoolTimeoutError)) or type(error) is DatabaseError:
        return True
    # the others say it with a code of PostgreSQL: without one, the driver did not like a value
    return type(error) not in _TO_BLAME and getattr(getattr(error, "orig", None), "sqlstate", None) is not None


_TO_BLAME = (DataError, IntegrityError)


def have_collided(error: Exception) -> bool:
    """Whether two transactions stood in each other's way: they have written the same, deleted what the other one refers
    to, or locked rows the other way round. Begun again, the one that was undone sees what the other has done."""
    sqlstate = getattr(getattr(error, "orig", None), "sqlstate", None)
    return isinstance(error, IntegrityError) or sqlstate in _COLLISIONS


_COLLISIONS = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected


def hurry(session: Session) -> None:
    """From here on PostgreSQL ends this transaction when its process says nothing for STALLED: call it before locking
    what workers and listeners wait for. The process finds the database away, and does it again."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection().exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{STALLED}'")


def _json_time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")


_any_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_json_time).encode


def _json(value: Any) -> str:
    """orjson is several times faster, and takes no number beyond 64 bits."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return _any_json(value)


def reason(error: SQLAlchemyError) -> str:
    """For a log line: what the driver says, without the statement."""
    return str(getattr(error, "orig", None) or error)


def _drop_details(context: ExceptionContext) -> None:
    """PostgreSQL repeats the failing row in DETAIL and the text it could not read in CONTEXT, hidden parameters or
    not: of its message the first sentence stays, in the driver's exception as in the one made of it."""
    error, shown = context.original_exception, context.sqlalchemy_exception
    first = getattr(getattr(error, "diag", None), "message_primary", None)
    if first:
        if shown:
            shown.args = tuple(str(part).replace(str(error), first) for part in shown.args)
        error.args = (first,)


def _tell_away(context: ExceptionContext) -> OperationalError | None:
    """A PostgreSQL that only reads for now, after a failover for example, is away like one that cannot be reached; so
    is one that has ended the transaction of a process that stood still. The driver calls both internal errors, as if
    one statement were wrong."""
    error = context.original_exception
    if getattr(error, "sqlstate", None) not in _AWAY:
        return None
    # the next transaction connects anew: of several hosts another one may take writes by now
    context.is_disconnect = context.is_disconnect or error.sqlstate == _READ_ONLY  # type: ignore[attr-defined]
    return OperationalError(context.statement, None, error)


def _watch_file(engine: Engine) -> None:
    if engine.url.database and engine.url.database != ":memory:":
        file = SqliteFile(engine.url.database)
        event.listen(engine, "do_connect", file.prepare)
        event.listen(engine, "begin", file.check)
        event.listen(engine, "commit", file.check)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _prepare_postgresql(connection: "psycopg.Connection[Any]", record: ConnectionPoolEntry) -> None:
    """A process that was frozen in the middle of a transaction holds its locks: the others get an error they repeat,
    and after a minute the locks themselves; sooner where somebody calls hurry(). One that is gone, or does not take
    what it has asked for, is not waited for either.

    Behind a pooler in transaction mode the next transaction is on another connection to the server: nothing that is
    set or prepared in one is there in the next, so that each sets its own limits and nothing is prepared.
    """
    record.info[_POOLED] = is_pooled(connection)
    if record.info[_POOLED]:
        connection.prepare_threshold = None
    else:
        limits = {**_LIMITS, "tcp_user_timeout": "10s"}
        connection.execute("; ".join(f"SET {name} = '{value}'" for name, value in limits.items()))
    connection.commit()


def is_pooled(connection: "psycopg.Connection[Any]") -> bool:
    """Whether a pooler answers in the server's place: it gives clients a process number of its own making."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] != connection.info.backend_pid


def _begin_postgresql(connection: Connection) -> None:
    if connection.connection.info.get(_POOLED):
        chosen = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _LIMITS.items())
        connection.exec_driver_sql(f"SELECT {chosen}")


def _note_use(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_USED] = _now()


def _look_before_use(
    dialect: Dialect, connection: "psycopg.Connection[Any]", record: ConnectionPoolEntry, _fairy: object
) -> None:
    """After a restart of the server its old connections are found out before they are used: the kernel knows which
    it has closed, which costs microseconds where a question would cost a round trip in every transaction. Only one that
    was idle is asked, because a host that lost its power closes nothing."""
    used = record.info.get(_USED)
    if used is None or (_now() - used < _FRESH and not _has_news(connection)):
        return
    try:
        dialect.do_ping(connection)  # type: ignore[arg-type]
    except psycopg.Error:
        raise InvalidatePoolError from None  # SQLAlchemy connects anew, and distrusts the older ones


def _has_news(connection: "psycopg.Connection[Any]") -> bool:
    """Whether something has come that nobody asked for: the end of the connection, as a rule."""
    try:
        look = select.poll()
        look.register(connection.fileno(), select.POLLIN)
        return bool(look.poll(0))
    except psycopg.Error:
        return True


def _now() -> float:
    """Seconds that go on while the machine sleeps: its connections may be gone when it wakes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITE) else "BEGIN")
