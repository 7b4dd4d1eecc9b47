"""One process of the hub: a worker, a listener in the first one, and everything that a kill takes away."""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from pbxhub.ami.channel_list import ChannelList, ReceivedEvent
from pbxhub.ami.login import AmiTimeouts
from pbxhub.ami.pbx_listener import PbxListener
from pbxhub.ami.pbx_rows import read_rows
from pbxhub.ami.publisher import Publisher
from pbxhub.delivery.context import DeliveryContext, PauseRule
from pbxhub.delivery.outbox import Batch, Claimed, publish
from pbxhub.delivery.outbox.lost_attempts import WrongLeases
from pbxhub.delivery.worker import Worker
from pbxhub.sending.exchange import Outgoing
from pbxhub.store.database_errors import is_away
from pbxhub.store.session import open_database
from tests.support.outbox_world import LINKS, VAULT
from tests.support.simulation.faults import Faults, KilledError
from tests.support.simulation.network import Wire
from tests.support.simulation.stubs import run_inline

_NEVER: Any = None  # parts of a listener that are not asked here
_FEW = 12  # events processed between two other steps
CAPACITY = 6
RULE = PauseRule(failures=4)


class Seat:
    """The open database of a process. It is kept for the next process, because it has compiled every statement; its
    connections are not."""

    def __init__(self, url: str) -> None:
        self.database, self.faults = open_database(url), Faults()
        self.faults.install(self.database.engine)


class Process:
    """begin() may fail or die like every step. offset: how far its clock is ahead, in seconds."""

    def __init__(
        self, seat: Seat, folder: Path, tick: Callable[[], float],
        leaving: Callable[["Process", Claimed, Outgoing], None], hands_over: bool,
    ) -> None:  # fmt: skip
        self.offset = 0.0
        self.frozen = self._closed = False
        self.faults = seat.faults
        self._folder, self._tick = folder, tick
        self.database = seat.database
        self.context = DeliveryContext(self.database, VAULT, LINKS, RULE, clock=self.now)
        self.wire = Wire(tick, self._leaving(leaving))
        self.worker = Worker(self.context, cast("Any", self.wire), capacity=CAPACITY)
        self._wrong_leases = WrongLeases()
        self._batch = Batch((), None, True)
        self.context.wakeups.add(self.worker._wake)
        if hands_over:
            self.context.handoff.open(self.worker)
        self.inbox: list[ReceivedEvent | ChannelList] = []
        self.connected = False
        self._publisher: Publisher | None = None
        self._listener: PbxListener | None = None

    def now(self) -> datetime:
        """Never the same twice, as that of a real clock."""
        return datetime.fromtimestamp(self._tick() + self.offset, UTC)

    def _leaving(
        self, leaving: Callable[["Process", Claimed, Outgoing], None]
    ) -> Callable[[Claimed, Outgoing], None]:  # fmt: skip
        def told(claimed: Claimed, outgoing: Outgoing) -> None:
            leaving(self, claimed, outgoing)
            self.faults.sending()

        return told

    # --- its worker

    def round(self) -> None:
        self._batch = self.worker._go_round(self._batch)

    def sweep(self) -> None:
        """What the background job does every half a minute."""
        try:
            with self.database.write() as session:
                self._wrong_leases.end(session, self.now(), self._tick())
        except Exception as error:
            if not is_away(error):
                raise

    # --- its listener

    @property
    def listens(self) -> bool:
        return self._listener is not None

    @property
    def unwritten(self) -> int:
        return self._listener.unwritten if self._listener else 0

    def listen(self, pbx_id: int) -> None:
        """Begins where the one before it stopped."""
        row = read_rows(self.database, VAULT)[pbx_id]
        publisher = Publisher(lambda reports, tokens: publish(self.context, reports, self.now(), tokens))
        listener = PbxListener(
            row, self.context, publisher, _NEVER, _NEVER, 1_000, AmiTimeouts(), self._folder
        )  # fmt: skip
        listener._take_up()
        self._publisher, self._listener = publisher, listener

    def hear(self, most: int = _FEW) -> None:
        """Takes the next events, from the inbox to the queue of stages."""
        if self._listener:
            taken, self.inbox = self.inbox[:most], self.inbox[most:]
            for item in taken:
                if isinstance(item, ChannelList):
                    run_inline(self._listener._resync(item))
                else:
                    self._listener._take(item)

    def note(self) -> None:
        """What the listener does every second: notes on calls that have no new stage."""
        if self._listener and self._listener._noted.is_set():
            self._listener._put_notes()

    def write(self) -> None:
        """One transaction of the publisher; it tries again later if the database is away."""
        if self._publisher:
            try:
                run_inline(self._publisher._write_once(tuple(self._publisher._queues.values())))
            except Exception as error:
                if not is_away(error):
                    raise

    # --- its end

    def stop_listening(self) -> None:
        """In order: what cannot be written is kept in a file."""
        self.hear(len(self.inbox))
        if self._listener:
            self._listener._put_notes()
            self.write()
            if not self._listener._queue.empty.is_set():
                self._listener.keep_unwritten()
            self._listener = None

    def stop_working(self) -> None:
        """In order: what is in flight is given back."""
        self.worker._finish()
        self.close()

    def close(self) -> None:
        """Frees what the operating system would free."""
        if not self._closed:
            self._closed = True
            self.database.close()
            os.close(self.worker._wakeup_listener._stop_signal)

    def survives(self, step: Callable[[], None]) -> bool:
        """Does the step; False if it has died of it."""
        try:
            step()
        except KilledError:
            return False
        return True
