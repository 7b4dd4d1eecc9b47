"""Asks once for all PBXs of the process on which of them calls or queue pauses are ordered: as soon as one is, and
every few seconds while one is.

On PostgreSQL a NOTIFY wakes it. On SQLite an order of this process does; for those of others it looks whenever anybody
has written into the database.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.ordered_call_status import pbxs_with_orders
from pbxhub.delivery.outbox.queue_pause_status import pbxs_with_pauses
from pbxhub.delivery.wakeup import ORDERS, WakeupListener

_POLL = 2.0  # seconds between two looks: orders become too old, and hang-ups are repeated
_POLL_NOTHING = 15.0  # the same while none is open, and wakeups arrive
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
        self._some_open = True  # as far as is known
        self._bell = WakeupListener(context.database, context.wakeups, self._ring, ORDERS)

    def start(self) -> None:
        self._bell.start()

    async def close(self) -> None:
        """Nothing wakes it from now on."""
        await asyncio.to_thread(self._bell.stop)

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
        """Waits until somebody rings."""
        with suppress(TimeoutError):
            nothing = self._bell.works and not self._some_open
            await asyncio.wait_for(self._rung.wait(), _POLL_NOTHING if nothing else _POLL)

    async def _look(self) -> None:
        self._some_open = True
        found = await asyncio.to_thread(self._found)
        self._some_open = bool(found)
        for pbx_id in found:
            if turn := self._turns.get(pbx_id):
                turn()

    def _found(self) -> frozenset[int]:
        with self._context.database.read() as session:
            return pbxs_with_orders(session) | pbxs_with_pauses(session)

    def _ring(self) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._rung.set)
