"""Wakes the workers when something is due: directly within a process, through the database between processes."""

import contextlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import structlog
from sqlalchemy import event
from sqlalchemy.orm import Session

from pbxhub.store.postgresql import is_pooled
from pbxhub.store.session import Database

_CHANNEL = "pbxhub_due"
_POLL = 0.005  # seconds between two reads of SQLite's data_version; each takes about 2 µs
_RECONNECT = 1.0
_ASK = 10.0  # seconds between two checks whether PostgreSQL still answers
log = structlog.get_logger(__name__)


class Wakeups:
    """Wakes the workers of one open database when something is due. All its users must share one object.

    The order of events: 1. a transaction makes something due and calls send(); 2. it commits; 3. PostgreSQL delivers
    its NOTIFY, SQLite's after_commit calls the workers of this process; 4. a worker wakes and claims. A worker woken
    before step 2 would find nothing and sleep on. tests/test_deliver_calls.py
    """

    def __init__(self) -> None:
        self._wake: list[Callable[[], None]] = []

    def add(self, wake: Callable[[], None]) -> None:
        self._wake.append(wake)

    def remove(self, wake: Callable[[], None]) -> None:
        self._wake.remove(wake)

    def send(self, session: Session) -> None:
        """Call it in a transaction that makes something due: the workers wake once it is committed."""
        if session.get_bind().dialect.name == "postgresql":
            session.connection().exec_driver_sql(f"NOTIFY {_CHANNEL}")
        elif self._wake:
            event.listen(session, "after_commit", self._wake_all, once=True)

    def _wake_all(self, _session: Session) -> None:
        for wake in self._wake:
            wake()


class WakeupListener:
    """Calls wake() from its own thread whenever another transaction may have made something due.

    SQLite: at once after a commit of this process, within milliseconds after one of another process. PostgreSQL:
    LISTEN. While the database is away it keeps trying, and calls wake() once the database is back.
    """

    def __init__(self, database: Database, wakeups: Wakeups, wake: Callable[[], None]) -> None:
        self._database = database
        self._wakeups = wakeups
        self._wake = wake
        self._stopping = threading.Event()
        self._trouble = ""  # why no wakeups arrive at this moment; logged already
        self._thread = threading.Thread(target=self._run, name="wakeup listener", daemon=True)

    def start(self) -> None:
        self._wakeups.add(self._wake)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._wakeups.remove(self._wake)
        self._thread.join()

    def _run(self) -> None:
        listen = self._watch_sqlite if self._database.is_sqlite else self._listen_postgresql
        while not self._stopping.is_set():
            try:
                listen()
            except (psycopg.Error, sqlite3.Error) as error:
                self._log(str(error).strip())
            self._stopping.wait(_RECONNECT)

    def _log(self, trouble: str) -> None:
        """Logs one line when wakeups stop and one when they work again, however many tries lie between."""
        if trouble and not self._trouble:
            log.warning(
                "no wakeups from the database; until they work again, workers poll and send later",
                error=trouble,
            )
        elif self._trouble and not trouble:
            log.info("wakeups from the database work again")
        self._trouble = trouble

    def _watch_sqlite(self) -> None:
        path = Path(str(self._database.engine.url.database))
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            version = None
            while not self._stopping.wait(_POLL):
                (now,) = connection.execute("PRAGMA data_version").fetchone()
                if now != version:
                    version = now
                    self._log("")
                    self._wake()

    def _listen_postgresql(self) -> None:
        """A server whose host has lost power is as silent as one where nothing happens. So it is asked every _ASK
        seconds, and the driver ends a connection that does not answer."""
        with self._database.own_connection() as connection:
            connection.execute(f"LISTEN {_CHANNEL}")
            self._log("")
            self._wake()
            ask_at = time.monotonic() + _ASK
            while not self._stopping.is_set():
                for _ in connection.notifies(timeout=0.5, stop_after=1):
                    self._wake()
                if time.monotonic() > ask_at:
                    connection.execute("SELECT 1")
                    ask_at = time.monotonic() + _ASK


_POOLED = (
    "PBXHUB_DATABASE_URL: a connection pooler in transaction mode, PgBouncer for example, stands before PostgreSQL: "
    "workers would get no wakeups. Give the address of PostgreSQL itself in PBXHUB_DATABASE_DIRECT_URL as "
    "well, or set the pooler to session mode."
)
_ANOTHER = (
    "PBXHUB_DATABASE_DIRECT_URL: a NOTIFY through PBXHUB_DATABASE_URL does not arrive there. It must name the same "
    "database, past the pooler."
)


def wake_trouble(database: Database, timeout_seconds: float = 5.0) -> str:
    """Why workers would get no wakeups, and what to do; "" if they will.

    Behind a pooler, or with an address past it, this sends a NOTIFY in a transaction and waits for it to
    arrive.
    """
    if database.is_sqlite:
        return ""
    try:
        with database.own_connection() as connection:
            if not database.direct_url and not is_pooled(connection):
                return ""
            arrives = _arrives(connection, database, timeout_seconds)
    except psycopg.Error as error:
        # without an address of its own it is the database's: whoever opens that says what is wrong with it
        return f"PBXHUB_DATABASE_DIRECT_URL: {str(error).strip()}" if database.direct_url else ""
    return "" if arrives else _ANOTHER if database.direct_url else _POOLED


def _arrives(connection: "psycopg.Connection[Any]", database: Database, timeout_seconds: float) -> bool:
    channel = f"pbxhub_{secrets.token_hex(8)}"
    connection.execute(f"LISTEN {channel}")
    with database.write() as session:
        session.connection().exec_driver_sql(f"NOTIFY {channel}")
    return any(True for _ in connection.notifies(timeout=timeout_seconds, stop_after=1))
