"""Writes which parts of this process work, for /health/parts and the metrics."""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.delivery.context import DeliveryContext
from pbxhub.store.database_errors import reason
from pbxhub.store.parts import BEAT, beat
from pbxhub.threads import beside

_JOIN = 2.0  # seconds
log = structlog.get_logger(__name__)


def beating(context: DeliveryContext, works: Callable[[], Mapping[str, bool]]) -> AbstractContextManager[None]:
    """Asks `works` every 15 s which parts work, by name, and writes the time beside those that do. A part that hangs or
    fails keeps its old time, while its process runs on."""

    def run(stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                names = [name for name, good in works().items() if good]
                with context.database.write() as session:
                    beat(session, names, context.clock())
            except SQLAlchemyError as error:
                log.warning("database unavailable; other hosts may report this process as lost", error=reason(error))
            stopping.wait(BEAT.total_seconds())

    return beside(run, "heartbeat", _JOIN)
