"""Keeps the leases of this listener on its PBXs, beat by beat, on PostgreSQL; on SQLite one listener has all PBXs.

Which PBXs it takes and gives away is decided in pbx_shares.py.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

import psycopg
import structlog

from pbxhub.ami.pbx_shares import fair_change, tokens_of
from pbxhub.store.ids import new_id
from pbxhub.store.listeners import BEAT, LAPSE, Held, Leases, LeaseTokens, Sight
from pbxhub.store.session import Database

# seconds that a PBX is heard for another listener: it takes the lease at its next beat, looks into CEL for 2, and waits
# 10 for the answer to its login
LONGEST_HANDOVER = 15.0
LONGEST_STOP = 5.0  # the same when this process is to stop: systemd and Docker kill one that does not
log = structlog.get_logger(__name__)
T = TypeVar("T")


class LeaseHeartbeat:
    """run() keeps the leases of this process until it is cancelled. changed: set when tokens have.

    tokens: the leases that this process has; None where nobody else listens (SQLite). While the database is away they
    stay as they are: this listener cannot know whether another one has taken over, so it goes on hearing its PBXs. What
    it hears is written once the database is back, as far as the other one has not (publish).

    A PBX is given away without a gap: 1. A releases the lease and goes on hearing; 2. B takes it, reads the notes, and
    logs in; 3. A sees that B has tried, and only then disconnects. A call of this time that nobody else heard is A's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.tokens: LeaseTokens | None = None if database.is_sqlite else {}
        self.changed = asyncio.Event()
        self._id, self._host = new_id(), socket.gethostname()
        self._leases: Leases | None = None
        # PBXs that this process has or may take; None before the first beat. On SQLite it has all that are enabled
        self._reach: frozenset[int] | None = frozenset() if database.is_sqlite else None
        self._handing: dict[int, tuple[int, float]] = {}  # given away, still heard: token, and until when (monotonic)
        self._is_leaving = False
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
            except psycopg.Error as error:
                if not away:
                    log.warning("heartbeat of the listener failed; it keeps its PBXs until another one takes them",
                                error=str(error).strip())  # fmt: skip
                away = True
            except Exception:  # without a heartbeat this process would lose all its PBXs
                log.exception("unexpected error in the heartbeat; continuing")
            await asyncio.sleep(BEAT)

    def out_of_reach(self, pbx_id: int) -> bool:
        """Whether another listener has the PBX, or nobody may listen to it: it is disabled or deleted."""
        return self._reach is not None and pbx_id not in self._reach

    async def hand_over(self) -> None:
        """Before a stop: the others take all PBXs, and this process hears them until they have tried to log in, or for
        LONGEST_STOP. Returns at once if there are no others."""
        try:
            if not self.tokens or not await asyncio.wait_for(self._in_thread(self._leave_to_others), 2.0):
                return
        except (psycopg.Error, TimeoutError):  # the stages of a hub whose database is away go into a file, in time
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_STOP):
                while self.tokens:
                    self.changed.clear()
                    await self.changed.wait()

    async def close(self) -> None:
        """Releases everything."""
        try:
            if self.tokens is not None:
                await asyncio.wait_for(self._in_thread(self._leave), LAPSE)
        except (psycopg.Error, TimeoutError):
            log.warning("database unavailable; others take the PBXs when the lease has ended", seconds=LAPSE)
        self._thread.shutdown(wait=False)

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
            return self._share_out(self._connected())
        except psycopg.Error:
            self._disconnect()
            raise

    def _leave_to_others(self) -> bool:
        leases = self._connected()
        sight = leases.look()
        if sight.settled <= {self._id}:
            return False
        until = time.monotonic() + LONGEST_STOP
        self._handing |= {pbx_id: (token, until) for pbx_id, token in tokens_of(self._id, sight).items()}
        leases.leave()
        self._is_leaving = True
        return True

    def _share_out(self, leases: Leases) -> LeaseTokens:
        if self._is_leaving:
            return self._handed_on(leases.look())
        sight = leases.beat()
        change = fair_change(self._id, sight, self._may_inherit())
        mine = tokens_of(self._id, sight)
        if change.give:
            leases.release(change.give)
            until = time.monotonic() + LONGEST_HANDOVER
            self._handing |= {pbx_id: (mine[pbx_id], until) for pbx_id in change.give}
        if change.take:
            leases.take(change.take)
        if change.give or change.take:
            sight = leases.beat()
        self._reach = frozenset(lease.pbx_id for lease in sight.leases if lease.listener in (None, self._id))
        return self._handed_on(sight) | tokens_of(self._id, sight)

    def _handed_on(self, sight: Sight) -> dict[int, int]:
        """The PBXs that this process has given away and must still hear, with their former leases."""
        now = time.monotonic()
        waiting = {lease.pbx_id for lease in sight.leases if lease.listener != self._id and not _has_tried(lease)}
        self._handing = {
            pbx_id: (token, until)
            for pbx_id, (token, until) in self._handing.items()
            if pbx_id in waiting and now < until
        }
        return {pbx_id: token for pbx_id, (token, _) in self._handing.items()}

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

    def _leave(self) -> None:
        self._connected().leave()
        self._disconnect()


def _has_tried(lease: Held) -> bool:
    return lease.listener is not None and lease.tried
