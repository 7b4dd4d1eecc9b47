"""Keeps the leases of this listener on its PBXs, beat by beat, on PostgreSQL; on SQLite one listener has all PBXs.

Which PBXs it takes and gives away is decided in pbx_shares.py.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import structlog

from pbxhub.ami.pbx_shares import everything, fair_change, tokens_of
from pbxhub.store.ids import new_id
from pbxhub.store.listeners import BEAT, LAPSE, Leases, LeaseTokens
from pbxhub.store.session import Database

log = structlog.get_logger(__name__)
T = TypeVar("T")


class LeaseHeartbeat:
    """run() keeps the leases of this process until it is cancelled. changed: set when tokens have.

    tokens: the leases that this process has; None where nobody else listens (SQLite). While the database is away they
    stay as they are: this listener cannot know whether another one has taken over, so it goes on hearing its PBXs. What
    it hears is written once the database is back, as far as the other one has not (publish).
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.tokens: LeaseTokens | None = None if database.is_sqlite else {}
        self.changed = asyncio.Event()
        self._id, self._host = new_id(), socket.gethostname()
        self._leases: Leases | None = None
        # PBXs that this process has or may take; None before the first beat. On SQLite it has all that are enabled
        self._reach: frozenset[int] | None = frozenset() if database.is_sqlite else None
        self._giving: set[int] = set()  # until they are disconnected
        self._is_leaving = False
        self._rung = False  # while it beat, somebody has released PBXs
        self._steady_since = self._beaten = 0.0  # time.monotonic()
        # of its own: the threads that everybody uses may all wait for the database
        self._thread = ThreadPoolExecutor(1, "heartbeat")

    async def run(self) -> None:
        """The loop of the listener beats, so that a listener whose loop hangs loses its PBXs."""
        away = False
        while self.tokens is not None:
            try:
                self._follow(await self._in_thread(self._beat))
                away = False
            except self._database.driver_error as error:
                if not away:
                    log.warning("heartbeat of the listener failed; it keeps its PBXs until another one takes them",
                                error=str(error).strip())  # fmt: skip
                away = True
            except Exception:  # without a heartbeat this process would lose all its PBXs
                log.exception("unexpected error in the heartbeat; continuing")
            await self._rest()

    async def _rest(self) -> None:
        """Until the next beat: at once when another listener has released PBXs, which nobody hears until then, or when
        the connection has broken."""
        if self._leases is None:
            await asyncio.sleep(BEAT)
        elif not self._rung and (readable := self._leases.fileno()) is not None:
            loop, woken = asyncio.get_running_loop(), asyncio.Event()
            loop.add_reader(readable, woken.set)
            try:
                await asyncio.wait_for(woken.wait(), BEAT)
            except TimeoutError:
                pass
            finally:
                loop.remove_reader(readable)

    def out_of_reach(self, pbx_id: int) -> bool:
        """Whether another listener has the PBX, or nobody may listen to it: it is disabled or deleted."""
        return self._reach is not None and pbx_id not in self._reach

    def release(self, connected: Collection[int]) -> None:
        """Lets others have the PBXs that this process is giving away and that are no longer connected. Returns at
        once, because the database may be away; a beat that is under way comes first."""
        if self.tokens is not None:
            self._thread.submit(self._release, frozenset(connected))

    def leave(self) -> None:
        """Before a stop: gives all PBXs away, each of which release() lets others have. Returns at once."""
        self._is_leaving = True
        if self.tokens is not None:
            self._thread.submit(self._retire)

    async def close(self) -> None:
        """Releases everything."""
        try:
            if self.tokens is not None:
                await asyncio.wait_for(self._in_thread(self._leave), LAPSE)
        except (self._database.driver_error, TimeoutError):
            log.warning("database unavailable; others take the PBXs when the lease has ended", seconds=LAPSE)
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _follow(self, tokens: LeaseTokens) -> None:
        if tokens != self.tokens:
            log.info("PBXs of this listener", pbxs=sorted(tokens), before=sorted(self.tokens or ()))
            self.tokens = tokens
            self.changed.set()

    def _beat(self) -> LeaseTokens:
        """One beat, and what follows from what it sees."""
        try:
            leases = self._connected()
            tokens = self._share_out(leases)
            self._rung = leases.was_rung()
            return tokens
        except self._database.driver_error:
            self._disconnect()
            raise

    def _share_out(self, leases: Leases) -> LeaseTokens:
        sight = leases.beat()
        change = everything(self._id, sight) if self._is_leaving else fair_change(self._id, sight, self._may_inherit())
        self._giving.update(change.give)
        if change.take:
            leases.take(change.take)
            sight = leases.beat()
        self._reach = frozenset(lease.pbx_id for lease in sight.leases if lease.listener in (None, self._id))
        return tokens_of(self._id, sight, self._giving)

    def _may_inherit(self) -> bool:
        """After an outage of the database nobody has been seen for long. Until the others have had LAPSE to say that
        they live, nobody takes anything from them."""
        now, before = time.monotonic(), self._beaten
        self._beaten = now
        if now - before > LAPSE:
            self._steady_since = now
        return now - self._steady_since > LAPSE

    def _connected(self) -> Leases:
        if self._leases is None:
            leases = Leases(self._database.own_connection(), self._id, self._host)
            leases.forget_the_dead()
            self._leases = leases
        return self._leases

    def _disconnect(self) -> None:
        if self._leases:
            self._leases.close()
        self._leases = None

    def _retire(self) -> None:
        """Without the database it does nothing: close() says so."""
        with suppress(self._database.driver_error):
            self._connected().retire()
            self._beat()

    def _release(self, connected: frozenset[int]) -> None:
        """What this process gives away is known only here: in the loop, a beat may not have said so yet."""
        going = self._giving - connected
        self._giving -= going
        try:
            if going:
                self._connected().release(list(going))
        except self._database.driver_error as error:
            log.warning("PBXs could not be released; trying again", error=str(error).strip())

    def _leave(self) -> None:
        self._connected().leave()
        self._disconnect()
