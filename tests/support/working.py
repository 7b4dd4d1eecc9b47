"""A worker inside a test, which may reach the receivers of that test, and the states of what it delivers; and workers
with a fault or a bug, by which a proof shows that it can fail."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from pbxhub.delivery.metrics import WorkerMetrics
from pbxhub.delivery.outbox import Batch, Claimed, claim_new
from pbxhub.delivery.worker import Worker
from pbxhub.sending.address_guard import AddressGuard, endpoints
from pbxhub.sending.engine import Engine
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import NewDelivery
from pbxhub.store.session import Database
from pbxhub.testing.receivers import misbehaving as zoo
from pbxhub.testing.receivers.receiver import Receiver
from tests.support.outbox_world import World, context_of


@contextmanager
def working(
    database: Database, *receivers: Receiver | zoo.Cage, metrics: WorkerMetrics | None = None,
    clock: Callable[[], datetime] = utc_now, kind: type[Worker] = Worker, **changes: Any,
) -> Iterator[Worker]:  # fmt: skip
    """changes: of the context."""
    allowed = frozenset().union(*(endpoints("127.0.0.1", receiver.port) for receiver in receivers))
    context = context_of(database, clock=clock, **changes)
    worker = kind(context, Engine(AddressGuard(allowed_endpoints=allowed)), metrics=metrics)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def states(world: World) -> set[str]:
    return {row.state for row in world.deliveries()}


def fails_if(planted: bool, *how: type[Exception]) -> AbstractContextManager[object]:
    """The proof, which must fail with a bug in the hub: it finds something, waits in vain, or meets one of these."""
    return pytest.raises((AssertionError, TimeoutError, *how)) if planted else nullcontext()


class FrozenWorker(Worker):
    """Stands still between the commit and the request."""

    def send_new(self, new: Sequence[Claimed]) -> None:
        pass


class HastyWorker(Worker):
    """Sends before the commit."""

    def claim_new(self, session: Session, new: Sequence[NewDelivery]) -> Sequence[Claimed]:
        claimed = super().claim_new(session, new)
        super().send_new(claimed)
        return claimed

    def send_new(self, new: Sequence[Claimed]) -> None:
        pass


class WorkerByAnotherClock(Worker):
    """Claims by the clock of the process, not by its own."""

    def claim_new(self, session: Session, new: Sequence[NewDelivery]) -> Sequence[Claimed]:
        return claim_new(self._context, session, new, 10, utc_now())


class DiscouragedWorker(Worker):
    """Takes no other turn after one that has failed."""

    def _turn(self, before: Batch) -> Batch:
        try:
            return super()._turn(before)
        except OperationalError:
            self._stopping.wait()
            return before


class ForgetfulWorker(Worker):
    """Drops the answers that it could not record."""

    def _turn(self, before: Batch) -> Batch:
        try:
            return super()._turn(before)
        except OperationalError:
            self._finished.clear()
            raise
