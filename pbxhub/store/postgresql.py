"""Connections to PostgreSQL: how long anything is waited for, poolers in between, and connections that are dead."""

import select
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from pbxhub import __version__
from pbxhub.paths import MIGRATIONS

if TYPE_CHECKING:
    import psycopg

# libpq's parameters: seconds to connect to each host; milliseconds and probes until a silent host counts as gone
NETWORK_TIMEOUTS = {
    "connect_timeout": 5, "tcp_user_timeout": 10_000,
    "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
}  # fmt: skip
_NEWEST_TABLES = max(path.name for path in (MIGRATIONS / "versions").glob("[0-9]*.py"))[:4]
CLIENT_NAME = f"pbxhub {__version__} {_NEWEST_TABLES}"
"""What sessions are called in pg_stat_activity, unless the URL or PGAPPNAME names them: the version, and the migration
of the tables that it needs, because two builds of one version may differ in it. other_processes.py."""
_CONNECTION = {**NETWORK_TIMEOUTS, "fallback_application_name": CLIENT_NAME}
STALLED = "3s"  # of a transaction whose locks others wait for; between its statements there are milliseconds
_HURRY = {
    "idle_in_transaction_session_timeout": STALLED,
    # That limit does not count between the statements of one executemany(), which psycopg sends as a pipeline. A host
    # that is lost in between answers no keepalives
    "tcp_user_timeout": STALLED, "tcp_keepalives_idle": "1s", "tcp_keepalives_interval": "1s",
}  # fmt: skip
HURRIED = " || ".join(f"set_config('{name}', '{value}', true)" for name, value in _HURRY.items())
"""An expression that does what hurry() does, for a statement that locks rows."""

_LIMITS = {"lock_timeout": "10s", "idle_in_transaction_session_timeout": "60s"}  # of every transaction
_FRESH = 1.0  # seconds after its last use during which a connection is not pinged
_USED, _POOLED = "pbxhub_used", "pbxhub_pooled"


def options_of(url: str) -> dict[str, Any]:
    """For create_engine."""
    return {
        "connect_args": {name: value for name, value in _CONNECTION.items() if name not in make_url(url).query},
        "isolation_level": "READ COMMITTED",  # whatever the server's default is: store/events.py relies on it
    }


def install(engine: Engine) -> None:
    """Prepares and checks the connections of an engine."""
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", partial(_check_before_use, engine.dialect))


def hurry(session: Session) -> None:
    """Lets PostgreSQL end this transaction if its process, or its host, is silent for STALLED. Call it before locking
    what workers and listeners wait for. The process then finds the database away, and repeats the transaction."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection().exec_driver_sql(f"SELECT {HURRIED}")


def _prepare(connection: "psycopg.Connection[Any]", record: ConnectionPoolEntry) -> None:
    """Sets limits for a process that is frozen in the middle of a transaction and holds locks: others get an error and
    try again, and after a minute the locks are released; sooner after hurry(). A process that is gone, or does not read
    its results, is not waited for either.

    Behind a pooler in transaction mode, each transaction is on another connection to the server. Nothing that one sets
    or prepares is there in the next: each sets its own limits, and nothing is prepared.
    """
    record.info[_POOLED] = is_pooled(connection)
    if record.info[_POOLED]:
        connection.prepare_threshold = None
    else:
        limits = {**_LIMITS, "tcp_user_timeout": "10s"}
        connection.execute("; ".join(f"SET {name} = '{value}'" for name, value in limits.items()))
    connection.commit()


def is_pooled(connection: "psycopg.Connection[Any]") -> bool:
    """Whether a pooler is between: it gives clients process ids of its own."""
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return row is not None and row[0] != connection.info.backend_pid


def _begin(connection: Connection) -> None:
    if connection.connection.info.get(_POOLED):
        chosen = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _LIMITS.items())
        connection.exec_driver_sql(f"SELECT {chosen}")


def _note_use(_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[_USED] = _now()


def _check_before_use(
    dialect: Dialect, connection: "psycopg.Connection[Any]", record: ConnectionPoolEntry, _fairy: object
) -> None:
    """Finds dead connections before they are used. After a restart of the server, the kernel knows which ones were
    closed: that costs microseconds, a ping in every transaction would cost a round trip. Connections that were idle are
    pinged all the same, because a host that lost power closes nothing."""
    used = record.info.get(_USED)
    if used is None or (_now() - used < _FRESH and not _has_input(dialect, connection)):
        return
    try:
        dialect.do_ping(connection)  # type: ignore[arg-type]
    except dialect.loaded_dbapi.Error:
        raise InvalidatePoolError from None  # SQLAlchemy connects again, and discards older connections


def _has_input(dialect: Dialect, connection: "psycopg.Connection[Any]") -> bool:
    """Whether something has arrived without a query: usually the end of the connection."""
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))
    except dialect.loaded_dbapi.Error:
        return True


def _now() -> float:
    """Seconds, including those in which the machine sleeps: connections may be gone when it wakes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
