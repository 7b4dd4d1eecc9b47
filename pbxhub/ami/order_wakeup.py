"""Asks once for all PBXs of the process on which of them calls or queue pauses are ordered: as soon as one is, and
every few seconds.

On PostgreSQL a NOTIFY wakes it. On SQLite an order of this process does; for those of others it looks whenever anybody
has written into the database.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.ordered_call_status import pbxs_with_orders
from pbxhub.delivery.outbox.queue_pause_status import pbxs_with_pauses
from pbxhub.delivery.wakeup import ORDERS, SqliteVersion, WakeupListener

_POLL = 2.0  # seconds between two looks: orders become too old, and hang-ups are repeated
_POLL_SQLITE = 0.3  # seconds between two looks at the version of the file
log = structlog.get_logger(__name__)


class OrderWakeup:
    """start() and close() run in the event loop; run() looks until it is cancelled.

    The order of events: 1. an order is written, with a wakeup in the same transaction; 2. it is committed, and the
    wakeup arrives; 3. the look finds its PBX; 4. the turn of that PBX takes the order (Placing). A wakeup that is lost
    costs _POLL seconds. A PBX that is not connected at step 4 calls look() once it is.
    """

    def __init__(self, context: DeliveryContext) -> None:
        self._context = context
        self._rung = asyncio.Event()
        self._turns: dict[int, Callable[[], None]] = {}
        self._loop = asyncio.get_running_loop()
        self._version: SqliteVersion | None = None
        self._bell = None if context.database.is_sqlite else WakeupListener(
            context.database, context.wakeups, self._ring, ORDERS
        )  # fmt: skip

    def start(self) -> None:
        if self._bell:
            self._bell.start()
        else:
            self._context.wakeups.add(self._ring, ORDERS)

    async def close(self) -> None:
        """Nothing wakes it from now on."""
        if self._bell:
            await asyncio.to_thread(self._bell.stop)
        else:
            self._context.wakeups.remove(self._ring, ORDERS)
        if self._version:
            self._version.close()

    def add(self, pbx_id: int, turn: Callable[[], None]) -> None:
        """turn: called in the loop whenever an order is open on the PBX."""
        self._turns[pbx_id] = turn

    def remove(self, pbx_id: int, turn: Callable[[], None]) -> None:
        if self._turns.get(pbx_id) == turn:
            del self._turns[pbx_id]

    def look(self) -> None:
        """Looks as soon as possible."""
        self._rung.set()

    async def run(self) -> None:
        """Continues when the database is unavailable or a query fails."""
        while True:
            self._rung.clear()
            try:
                if self._turns:
                    await self._look()
            except SQLAlchemyError as error:
                log.warning("ordered calls cannot be read; trying again", error=str(error))
            except Exception:  # nobody else would place the calls
                log.exception("unexpected error while reading ordered calls; continuing")
            await self._wait()

    async def _wait(self) -> None:
        """Waits until somebody rings, at most _POLL seconds."""
        ends = time.monotonic() + _POLL
        while not self._rung.is_set() and (left := ends - time.monotonic()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._rung.wait(), left if self._bell else min(left, _POLL_SQLITE))
            if self._bell is None and self._is_written():
                return

    def _is_written(self) -> bool:
        try:
            self._version = self._version or SqliteVersion(self._context.database)
            return self._version.has_changed()
        except sqlite3.Error:  # the look says what is wrong
            return True

    async def _look(self) -> None:
        for pbx_id in await asyncio.to_thread(self._found):
            if turn := self._turns.get(pbx_id):
                turn()

    def _found(self) -> frozenset[int]:
        with self._context.database.read() as session:
            return pbxs_with_orders(session) | pbxs_with_pauses(session)

    def _ring(self) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._rung.set)
