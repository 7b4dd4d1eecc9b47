"""Opens the traces of PBXHUB_OTLP where they are wanted."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pbxhub.settings import Settings

if TYPE_CHECKING:
    from pbxhub.delivery.traces import Traces


@contextmanager
def tracing(settings: Settings) -> "Iterator[Traces | None]":
    """The traces of one service; None where PBXHUB_OTLP is not set. The extra was looked for at the start
    (opening.py)."""
    if not settings.otlp:
        yield None
        return
    from pbxhub.delivery.traces import Traces

    traces = Traces(settings.otlp)
    try:
        yield traces
    finally:
        traces.stop()
