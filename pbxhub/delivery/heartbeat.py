"""Writes which parts of this process work, for /health/parts and the metrics."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.delivery.context import DeliveryContext
from pbxhub.store.database_errors import reason
from pbxhub.store.parts import BEAT, beat

_JOIN = 2.0  # seconds
log = structlog.get_logger(__name__)


@contextmanager
def beating(context: DeliveryContext, works: Callable[[], Mapping[str, bool]]) -> Iterator[None]:
    """Asks `works` every 15 s which parts work, by name, and writes the time beside those that do. A part that hangs or
    fails keeps its old time, while its process runs on."""
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            try:
                names = [name for name, good in works().items() if good]
                with context.database.write() as session:
                    beat(session, names, context.clock())
            except SQLAlchemyError as error:
                log.warning("database unavailable; other hosts may report this process as lost", error=reason(error))
            stopping.wait(BEAT.total_seconds())

    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(_JOIN)
