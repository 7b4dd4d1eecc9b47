"""Opens the database and hands out transactions. SQLite serves one host, PostgreSQL many; the code is the same."""

import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, ExceptionContext, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

CONNECTION = "pbxhub_connection"
"""Where a session of write() has the connection of its one transaction, for those who run many small statements."""

_WRITE = "pbxhub_write"
_SQLITE_PATIENCE = 5  # seconds for a lock of another process; whoever writes tries again, and a stop must not hang
_SQLITE_STATEMENTS = 512  # kept compiled by each connection; those of store/bulk.py come in ten lengths
# SQLSTATEs of a PostgreSQL that is away without an OperationalError: read-only, and ended for saying nothing for long
_AWAY = frozenset({"25006", "25P03"})
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

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str, pool_size: int = 10) -> Database:
    """Opens the database behind a SQLAlchemy URL. Nothing is connected before the first transaction."""
    # what is bound is the customers' own: keys in URLs, phone numbers, answers; none of it may get into a log
    options: dict[str, Any] = {
        "json_serializer": _json, "pool_size": pool_size, "max_overflow": 20, "hide_parameters": True,
    }  # fmt: skip
    if make_url(url).get_backend_name() == "sqlite":
        options["connect_args"] = {
            "timeout": _SQLITE_PATIENCE, "check_same_thread": False, "cached_statements": _SQLITE_STATEMENTS,
        }  # fmt: skip
    else:
        options["pool_pre_ping"] = True
        options["connect_args"] = {"connect_timeout": 5}
    engine = create_engine(url, **options)
    event.listen(engine, "handle_error", _drop_details)
    event.listen(engine, "handle_error", _tell_away)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _prepare_postgresql)
    writing = engine.execution_options(**{_WRITE: True})
    # SQLite lets one write at a time and makes the others sleep and try again: within a process a lock is faster
    turn = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
    return Database(
        engine, turn, sessionmaker(engine, expire_on_commit=False), sessionmaker(writing, expire_on_commit=False)
    )


def is_away(error: Exception) -> bool:
    """Whether the database failed as a whole: not there, full, locked, damaged, its tables or rights missing for now.

    False: what was written is to blame, and would be refused again.
    """
    if isinstance(error, (OperationalError, InterfaceError, PoolTimeoutError)) or type(error) is DatabaseError:
        return True
    # the others say it with a code of PostgreSQL: without one, the driver did not like a value
    return type(error) not in _TO_BLAME and getattr(getattr(error, "orig", None), "sqlstate", None) is not None


_TO_BLAME = (DataError, IntegrityError)


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
    return OperationalError(context.statement, None, error)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we begin transactions ourselves, see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    """A process that was frozen in the middle of a transaction holds its locks: the others get an error they repeat,
    and after a minute the locks themselves; sooner where somebody calls hurry(). One that is gone, or does not take
    what it has asked for, is not waited for either."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '10s'")
        cursor.execute("SET idle_in_transaction_session_timeout = '60s'")
        cursor.execute("SET tcp_user_timeout = '10s'")
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITE) else "BEGIN")
