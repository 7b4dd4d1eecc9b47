"""Opens the database and provides transactions. SQLite serves one host, PostgreSQL several, with the same code."""

import json
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Connection, Engine, MetaData, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from pbxhub.database_url import connect_arguments
from pbxhub.store import database_errors, postgresql
from pbxhub.store.sqlite_file import SqliteFile

if TYPE_CHECKING:  # the driver of PostgreSQL is loaded when it connects: a command on SQLite starts without it
    import psycopg

CONNECTION = "pbxhub_connection"
"""Key of session.info: the connection of a write(), for store/bulk.py."""

_WRITE = "pbxhub_write"
_SQLITE_LOCK_TIMEOUT = 5  # seconds to wait for a lock of another process: writers try again, and a stop must not hang
_SQLITE_STATEMENTS = 512  # that each connection keeps compiled; those of store/bulk.py exist in ten lengths


class Base(DeclarativeBase):
    """The base class of all tables. Constraints have names, so that migrations can drop them on both databases."""

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
    direct_url: str = field(repr=False)  # past a pooler; "" without one; may contain a password

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def driver_error(self) -> type[Exception]:
        """What own_connection() and its connections raise."""
        return self.engine.dialect.loaded_dbapi.Error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database. Writes nothing."""
        with self._reads() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction, committed at the end of the block. On SQLite it takes the write lock at once: otherwise it
        would fail when it writes after another process has changed what it has read."""
        with self._turn, self._writes.begin() as session:
            session.info[CONNECTION] = session.connection()
            yield session

    def own_connection(self) -> "psycopg.Connection[Any]":
        """A connection to PostgreSQL outside the pool, in autocommit, for LISTEN. It bypasses a pooler if direct_url
        is given. Raises driver_error."""
        import psycopg

        arguments = connect_arguments(self.direct_url or self.engine.url)
        return psycopg.connect(**{**postgresql.NETWORK_TIMEOUTS, **arguments, "autocommit": True})

    def close(self) -> None:
        self.engine.dispose()


def open_database(url: str, pool_size: int = 10, direct_url: str = "") -> Database:
    """Opens the database of a SQLAlchemy URL. Connects with the first transaction.

    direct_url: the same database past a pooler such as PgBouncer; empty without one.
    """
    # parameters are private: keys in URLs, phone numbers, answers. None of them may be logged
    options: dict[str, Any] = {
        "json_serializer": _json, "pool_size": pool_size, "max_overflow": 20, "hide_parameters": True,
    }  # fmt: skip
    if make_url(url).get_backend_name() == "sqlite":
        options["connect_args"] = {
            "timeout": _SQLITE_LOCK_TIMEOUT, "check_same_thread": False, "cached_statements": _SQLITE_STATEMENTS,
        }  # fmt: skip
    else:
        options |= postgresql.options_of(url)
    engine = create_engine(url, **options)
    database_errors.install(engine)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        _watch_file(engine)
    else:
        postgresql.install(engine)
    writing = engine.execution_options(**{_WRITE: True})
    # SQLite lets one connection write, and the others sleep and try again. Within a process, a lock is faster
    turn = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
    reads, writes = (sessionmaker(bind, expire_on_commit=False) for bind in (engine, writing))
    return Database(engine, turn, reads, writes, direct_url)


def insert_into(session: Session, table: type[Base]) -> Any:
    """An INSERT of this database's dialect, which knows ON CONFLICT."""
    if session.get_bind().dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:  # loaded only where it is used: it takes a tenth of the start of a command
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return insert(table)


def _json_time(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be kept as JSON")


_any_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_json_time).encode


def _json(value: Any) -> str:
    """By orjson, which is several times faster, unless there is a number beyond 64 bits."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        return _any_json(value)


def _watch_file(engine: Engine) -> None:
    if engine.url.database and engine.url.database != ":memory:":
        file = SqliteFile(engine.url.database)
        event.listen(engine, "do_connect", file.prepare)
        event.listen(engine, "begin", file.check)
        event.listen(engine, "commit", file.check)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins no transactions: see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-65536"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITE) else "BEGIN")
