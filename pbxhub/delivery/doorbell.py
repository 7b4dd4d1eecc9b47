"""Wakes the workers when something is due: within the process at once, between processes by the database."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import Dialect, event
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from pbxhub.store.session import Database

_CHANNEL = "pbxhub_due"
_POLL = 0.005  # seconds between two looks at SQLite's data_version: about 2 µs each
_RECONNECT = 1.0

# by what all connections of one open_database() share: the engine of its writes is not the engine of its reads
_listeners: WeakKeyDictionary[Dialect, list[Callable[[], None]]] = WeakKeyDictionary()


def ring(session: Session) -> None:
    """Call it in a transaction that makes something due: the workers wake once it is committed."""
    dialect = session.get_bind().dialect
    if dialect.name == "postgresql":
        session.connection().exec_driver_sql(f"NOTIFY {_CHANNEL}")
    elif dialect in _listeners:
        event.listen(session, "after_commit", lambda _session: _ring_here(dialect), once=True)


def _ring_here(dialect: Dialect) -> None:
    for wake in _listeners[dialect]:
        wake()


class Doorbell:
    """Calls wake() whenever another transaction may have made something due; from a thread of its own.

    SQLite: at once for a commit of this process, within some milliseconds for one of another. PostgreSQL: LISTEN.
    While the database is away it keeps trying and rings once it is back.
    """

    def __init__(self, database: Database, wake: Callable[[], None]) -> None:
        self._database = database
        self._wake = wake
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)

    def start(self) -> None:
        _listeners.setdefault(self._database.engine.dialect, []).append(self._wake)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        _listeners[self._database.engine.dialect].remove(self._wake)
        self._thread.join()

    def _run(self) -> None:
        listen = self._watch_sqlite if self._database.is_sqlite else self._listen_postgresql
        while not self._stopping.is_set():
            with contextlib.suppress(psycopg.Error, sqlite3.Error):
                listen()
            self._stopping.wait(_RECONNECT)

    def _watch_sqlite(self) -> None:
        path = self._database.engine.url.database
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            version = None
            while not self._stopping.wait(_POLL):
                (now,) = connection.execute("PRAGMA data_version").fetchone()
                if now != version:
                    version = now
                    self._wake()

    def _listen_postgresql(self) -> None:
        url = make_url(self._database.engine.url).set(drivername="postgresql")
        with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
            connection.execute(f"LISTEN {_CHANNEL}")
            self._wake()
            while not self._stopping.is_set():
                for _ in connection.notifies(timeout=0.5, stop_after=1):
                    self._wake()
