"""Wakes workers when something is due, and listeners when a call is ordered: directly within a process, through the
database between processes. On PostgreSQL both also hear when somebody has changed what they keep in memory."""

import contextlib
import ctypes
import os
import secrets
import select
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import structlog
from sqlalchemy import event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from pbxhub.store.clock import utc_now
from pbxhub.store.columns import UtcDateTime
from pbxhub.store.delivery_rows import IS_QUEUED, LANES
from pbxhub.store.postgresql import is_pooled
from pbxhub.store.session import Database

if TYPE_CHECKING:
    import psycopg

Bell = Literal["pbxhub_due", "pbxhub_orders", "pbxhub_changed"]
"""Whom a wakeup is for. PostgreSQL's channels have these names."""
DUE: Bell = "pbxhub_due"  # for workers: a delivery is due
ORDERS: Bell = "pbxhub_orders"  # for listeners: a call is ordered, or is to be cancelled
CHANGED: Bell = "pbxhub_changed"  # for all, rung by PostgreSQL: of a setting, or of a background job's work (0059)
_POLL = 0.005  # seconds between two reads of SQLite's data_version at least; each wakes the thread: about 50 µs
_POLL_QUIET = 1.0  # the same at most, when nobody writes
_POLL_BLIND = 0.05  # the same where the system does not tell of writes
_ORDERS_REST = 0.3  # seconds between two wakeups for orders: on SQLite any change is one
_IN_MODIFY = 2  # of inotify(7)
_READ_AGAIN = 15.0  # seconds until what nobody has changed is read once more
_RECONNECT = 1.0
_PROOF = 5.0  # seconds in which a NOTIFY arrives, if it does
_STOPS = 0.2  # seconds until a proof that is under way notices stop()
_ASK = 10.0  # seconds between two checks whether PostgreSQL still answers
LOOK_AGAIN = 4.0  # seconds until a worker's next claim without a wakeup: one may be lost, and clocks of hosts differ
_DUE_BY = f"""
    SELECT EXISTS (SELECT 1 FROM (VALUES {", ".join(f"({lane})" for lane in LANES)}) AS one
                    WHERE EXISTS (SELECT 1 FROM delivery WHERE {IS_QUEUED} AND lane + 0 = one.column1
                                                           AND due_at <= :by))"""  # noqa: S608  it reads ix_delivery_soon alone
log = structlog.get_logger(__name__)


class Wakeups:
    """Wakes the workers and listeners of one open database. All its users must share one object.

    The order of events: 1. a transaction makes something due and calls send(); 2. it commits; 3. PostgreSQL delivers
    its NOTIFY, SQLite's after_commit calls the workers of this process; 4. a worker wakes and claims. A worker woken
    before step 2 would find nothing and sleep on. tests/test_deliver_calls.py
    """

    def __init__(self) -> None:
        self._wake: dict[Bell, list[Callable[[], None]]] = {DUE: [], ORDERS: [], CHANGED: []}
        self._hearing = set[WakeupListener]()
        self._change = object()

    def add(self, wake: Callable[[], None], bell: Bell = DUE) -> None:
        self._wake[bell].append(wake)

    def remove(self, wake: Callable[[], None], bell: Bell = DUE) -> None:
        self._wake[bell].remove(wake)

    def send(self, session: Session, bell: Bell = DUE) -> None:
        """Call it in a transaction that makes something due, or changes an order: those concerned wake once it is
        committed."""
        if session.get_bind().dialect.name == "postgresql":
            session.connection().exec_driver_sql(f"NOTIFY {bell}")
        elif self._wake[bell]:
            event.listen(session, "after_commit", lambda _session: self._wake_all(bell), once=True)

    def _wake_all(self, bell: Bell) -> None:
        for wake in self._wake[bell]:
            wake()

    @property
    def last_change(self) -> object | None:
        """Another one after each change that CHANGED tells of. None: none would be heard."""
        return self._change if self._hearing else None

    def note_change(self) -> None:
        """CHANGED has rung."""
        self._change = object()
        self._wake_all(CHANGED)

    @contextlib.contextmanager
    def heard_by(self, listener: "WakeupListener") -> Iterator[None]:
        """While it hears CHANGED. What was changed before may be new to this process."""
        self.note_change()
        self._hearing.add(listener)
        try:
            yield
        finally:
            self._hearing.discard(listener)


class SqliteVersion:
    """Whether anybody has written into the database. Raises sqlite3.Error."""

    def __init__(self, database: Database) -> None:
        self.path = Path(str(database.engine.url.database)).absolute()
        self._connection = sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, check_same_thread=False)
        self._dialect = database.engine.dialect
        self._version: int | None = None

    def now(self) -> int:
        """Another number after each commit, whosever it is."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def has_changed(self) -> bool:
        """Since the last question; True at the first."""
        before, self._version = self._version, self.now()
        return self._version != before

    def has_due(self, within: float) -> bool:
        """Whether a pending delivery is due, or the lease of a claimed one over, within so many seconds."""
        by = UtcDateTime().process_bind_param(utc_now() + timedelta(seconds=within), self._dialect)
        (due,) = self._connection.execute(_DUE_BY, {"by": by}).fetchone()
        return bool(due)

    def close(self) -> None:
        self._connection.close()


class ChangeWatch:
    """Spares a reader of what hardly ever changes its statements: on SQLite while nobody writes, on PostgreSQL while
    CHANGED is silent. Where that cannot be heard, it is always time to read.

    The order: 1. is_due(); 2. the read; 3. done(). What is written between 1 and 3 is due the next time.
    """

    def __init__(self, database: Database, wakeups: Wakeups, untold: float = _READ_AGAIN) -> None:
        """untold: seconds after which PostgreSQL is read again, although CHANGED is silent: of part of what is read it
        does not tell."""
        self._version = SqliteVersion(database) if database.is_sqlite else None
        self._wakeups = wakeups
        self._lasts = _READ_AGAIN if database.is_sqlite else untold
        self._asked: object | None = None
        self._read: object | None = None
        self._read_at = 0.0  # monotonic

    def is_due(self) -> bool:
        """Whether there may be a change since the last read, or that was long ago."""
        self._asked = self._now()
        return self._asked is None or self._asked != self._read or time.monotonic() - self._read_at > self._lasts

    def _now(self) -> object | None:
        """Another value after each change; None when nobody can say."""
        if self._version is None:
            return self._wakeups.last_change
        try:
            return self._version.now()
        except sqlite3.Error:  # the read says what is wrong
            return None

    def done(self) -> None:
        """The read has succeeded."""
        self._read, self._read_at = self._asked, time.monotonic()

    def read(self, read: Callable[[], None]) -> None:
        """The three steps."""
        if self.is_due():
            read()
            self.done()

    def close(self) -> None:
        if self._version:
            self._version.close()


class _Writes:
    """Tells when a file of a folder is written: SQLite's -wal is, before each commit. Where inotify has no room for
    another watch it tells nothing."""

    def __init__(self, folder: Path) -> None:
        libc = ctypes.CDLL(None)
        self._signal = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._signal >= 0 and libc.inotify_add_watch(self._signal, os.fsencode(folder), _IN_MODIFY) < 0:
            os.close(self._signal)
            self._signal = -1
        self.longest = _POLL_QUIET if self._signal >= 0 else _POLL_BLIND

    def within(self, seconds: float, stop_signal: int) -> bool:
        """Waits until something is written, or stop_signal is readable, or the time is over."""
        ends = [stop_signal] if self._signal < 0 else [self._signal, stop_signal]
        if self._signal not in select.select(ends, [], [], seconds)[0]:
            return False
        os.read(self._signal, 65_536)  # all that it has told
        return True

    def close(self) -> None:
        if self._signal >= 0:
            os.close(self._signal)


class WakeupListener:
    """Calls wake() from its own thread whenever another transaction may have rung the bell.

    SQLite: at once after a commit of this process that rings, within milliseconds after one of another process that
    leaves something due; for orders within 0.3 s after anything is written. PostgreSQL: LISTEN, also for CHANGED of all
    that share the wakeups. While the database is away it keeps trying, and calls wake() once the database is back.
    """

    def __init__(self, database: Database, wakeups: Wakeups, wake: Callable[[], None], bell: Bell = DUE) -> None:
        self._database = database
        self._wakeups = wakeups
        self._wake = wake
        self._bell = bell
        self._stopping = threading.Event()
        self._stop_signal = os.eventfd(0, os.EFD_CLOEXEC)  # readable once stop() is called
        self._trouble = ""  # why no wakeups arrive at this moment; logged already
        self._thread = threading.Thread(target=self._run, name="wakeup listener", daemon=True)

    def start(self) -> None:
        self._wakeups.add(self._wake, self._bell)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        os.eventfd_write(self._stop_signal, 1)
        self._wakeups.remove(self._wake, self._bell)
        self._thread.join()
        os.close(self._stop_signal)

    def _run(self) -> None:
        listen = self._watch_sqlite if self._database.is_sqlite else self._listen_postgresql
        while not self._stopping.is_set():
            try:
                listen()
            except (self._database.driver_error, SQLAlchemyError) as error:
                self._log(str(error).strip())
            self._stopping.wait(_RECONNECT)

    def _log(self, trouble: str) -> None:
        """Logs one line when wakeups stop and one when they work again, however many tries lie between."""
        if trouble and not self._trouble:
            log.warning(
                "no wakeups from the database; until they work again, workers and listeners poll and act later",
                error=trouble,
            )
        elif self._trouble and not trouble:
            log.info("wakeups from the database work again")
        self._trouble = trouble

    @property
    def works(self) -> bool:
        """Whether wakeups arrive, as far as is known."""
        return not self._trouble

    def _watch_sqlite(self) -> None:
        """The system tells of the write, which is before the commit: by how much depends on the disk. So the version is
        read after _POLL, and then again after half of the time that has passed since."""
        with contextlib.closing(SqliteVersion(self._database)) as version, contextlib.closing(
            _Writes(version.path.parent)
        ) as writes:  # fmt: skip
            written_at = time.monotonic()
            while not self._stopping.is_set():
                since = time.monotonic() - written_at
                if writes.within(min(max(_POLL, since / 2), writes.longest), self._stop_signal):
                    written_at = time.monotonic()
                    self._stopping.wait(_POLL)
                if version.has_changed():
                    self._log("")
                    self._wake_of_sqlite(version)

    def _wake_of_sqlite(self, version: SqliteVersion) -> None:
        """Most changes are of this process, which sends what it publishes."""
        if self._bell == ORDERS:
            self._wake()
            self._stopping.wait(_ORDERS_REST)
        elif version.has_due(LOOK_AGAIN):
            self._wake()

    def _listen_postgresql(self) -> None:
        """A server whose host has lost power is as silent as one where nothing happens. So it is asked every _ASK
        seconds, and the driver ends a connection that does not answer."""
        with self._database.own_connection() as connection:
            connection.execute(f"LISTEN {self._bell}; LISTEN {CHANGED}")
            trouble = _deafness(connection, self._database, _PROOF, self._stopping.is_set)
            if self._stopping.is_set():
                return
            self._log(trouble)
            if trouble:
                return
            with self._wakeups.heard_by(self):
                self._wake()
                self._hear(connection)

    def _hear(self, connection: "psycopg.Connection[Any]") -> None:
        ask_at = time.monotonic() + _ASK
        while not self._stopping.is_set():
            # notifies() with a timeout looks every 0.1 s whether a signal has arrived
            ends = [connection.fileno(), self._stop_signal]
            select.select(ends, [], [], max(0.0, ask_at - time.monotonic()))
            rung = {told.channel for told in connection.notifies(timeout=0)}  # all that have arrived
            if CHANGED in rung:
                self._wakeups.note_change()
            if self._bell in rung:
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


def wake_trouble(database: Database, timeout_seconds: float = _PROOF) -> str:
    """Why workers would get no wakeups, and what to do; "" if they will.

    Behind a pooler, or with an address past it, this sends a NOTIFY in a transaction and waits for it to
    arrive.
    """
    if database.is_sqlite:
        return ""
    try:
        with database.own_connection() as connection:
            return _deafness(connection, database, timeout_seconds)
    except database.driver_error as error:
        # without an address of its own it is the database's: whoever opens that says what is wrong with it
        return f"PBXHUB_DATABASE_DIRECT_URL: {str(error).strip()}" if database.direct_url else ""


def _deafness(
    connection: "psycopg.Connection[Any]", database: Database, timeout_seconds: float,
    given_up: Callable[[], bool] = lambda: False,
) -> str:  # fmt: skip
    """Why no NOTIFY arrives on this connection of its own; "" if it does."""
    if not database.direct_url and not is_pooled(connection):
        return ""
    arrives = _arrives(connection, database, timeout_seconds, given_up)
    return "" if arrives else _ANOTHER if database.direct_url else _POOLED


def _arrives(
    connection: "psycopg.Connection[Any]", database: Database, timeout_seconds: float, given_up: Callable[[], bool]
) -> bool:
    """A bell of others proves nothing: the connection may listen to another database, in which they ring."""
    channel = f"pbxhub_{secrets.token_hex(8)}"
    connection.execute(f"LISTEN {channel}")
    with database.write() as session:
        session.connection().exec_driver_sql(f"NOTIFY {channel}")
    ends = time.monotonic() + timeout_seconds
    while (left := ends - time.monotonic()) > 0 and not given_up():
        if any(told.channel == channel for told in connection.notifies(timeout=min(left, _STOPS))):
            return True
    return False
