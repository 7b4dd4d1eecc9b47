"""What time it is for the hub. On PostgreSQL it is the database's time, because the clocks of its hosts may differ.

By the hosts' own clocks, of which one is 30 s ahead: 1. B claims a delivery and sends it; 2. A is ahead, so for A that
lease has ended; 3. A sends the request again, at once. And what A makes due, B takes 30 s late.

So each process asks the database once in a while, and counts on from there by a clock that nobody sets. On SQLite, and
in commands that only look, it is the clock of the host. tests/test_live_with_wrong_clocks.py
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.store.database_errors import reason
from pbxhub.store.session import Database
from pbxhub.threads import beside

_ASK = 30.0  # seconds; two clocks drift apart by milliseconds in that time, and may be set
_ASK_FIRST = 3.0  # seconds, until the database has answered once
_SURE = 1_000_000_000  # nanoseconds: an answer that took longer says too little
MOST_APART = timedelta(seconds=5)  # of two clocks of which none is wrong
_ahead: int | None = None  # nanoseconds from the clock that nobody sets to the database's time
_wrong = False  # what the log has said of this host's clock


def unix_ns() -> int:
    """Nanoseconds since 1970."""
    return time.time_ns() if _ahead is None else _unset_ns() + _ahead


def unix_now() -> float:
    """Seconds since 1970."""
    return unix_ns() / 1e9


def utc_now() -> datetime:
    """The present moment, aware, UTC."""
    return datetime.now(UTC) if _ahead is None else datetime.fromtimestamp(unix_now(), UTC)


@contextmanager
def following(database: Database) -> Iterator[None]:
    """Within the block this process goes by the time of its database. While that is away, it goes on counting."""
    global _ahead, _wrong
    if database.is_sqlite:
        yield
        return

    def run(stopping: threading.Event) -> None:
        while not stopping.wait(_ASK_FIRST if _ahead is None else _ASK):
            _follow(database)

    _follow(database)
    try:
        with beside(run, "clock", 1.0):
            yield
    finally:
        _ahead, _wrong = None, False


def _follow(database: Database) -> None:
    global _ahead
    try:
        with database.read() as session:
            session.connection()  # it may have to connect first
            before = _unset_ns()
            there: datetime = session.execute(select(func.clock_timestamp())).scalar_one()
            took = _unset_ns() - before
    except SQLAlchemyError as error:
        _log().warning("the time of the database is not known; counting on", error=reason(error))
        return
    if _ahead is not None and took > _SURE:
        return
    _ahead = _nanoseconds(there) - before - took // 2
    _compare()


def _compare() -> None:
    """Says once that the clock of this host is wrong, and once that it is right again."""
    global _wrong
    ahead = datetime.now(UTC) - utc_now()
    if (abs(ahead) > MOST_APART) == _wrong:
        return
    _wrong, seconds = not _wrong, round(ahead.total_seconds(), 1)
    if _wrong:
        _log().warning("the clock of this host is wrong; the hub goes by the database's", seconds=seconds)
    else:
        _log().info("the clock of this host is right again", seconds=seconds)


def _log() -> Any:
    """Loaded when something is to be logged: commands need the time, and no logs."""
    import structlog

    return structlog.get_logger(__name__)


def _nanoseconds(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000


def _unset_ns() -> int:
    """Of a clock that counts also while the machine sleeps, and that nobody sets."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
