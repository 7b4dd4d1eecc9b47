"""A worker inside a test, which may reach the receivers of that test, and the states of what it delivers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from pbxhub.delivery.metrics import WorkerMetrics
from pbxhub.delivery.worker import Worker
from pbxhub.sending.address_guard import AddressGuard, endpoints
from pbxhub.sending.engine import Engine
from pbxhub.store.clock import utc_now
from pbxhub.store.session import Database
from pbxhub.testing.receivers import misbehaving as zoo
from pbxhub.testing.receivers.receiver import Receiver
from tests.support.outbox_world import World, context_of


@contextmanager
def working(
    database: Database, *receivers: Receiver | zoo.Cage, metrics: WorkerMetrics | None = None,
    clock: Callable[[], datetime] = utc_now, **changes: Any,
) -> Iterator[Worker]:  # fmt: skip
    """changes: of the context."""
    allowed = frozenset().union(*(endpoints("127.0.0.1", receiver.port) for receiver in receivers))
    context = context_of(database, clock=clock, **changes)
    worker = Worker(context, Engine(AddressGuard(allowed_endpoints=allowed)), metrics=metrics)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def states(world: World) -> set[str]:
    return {row.state for row in world.deliveries()}
