"""Waiting for a condition, in place of sleeping."""

import time
from collections.abc import Callable

PATIENCE = 60.0


def wait_until(condition: Callable[[], object], what: str = "it comes true", seconds: float = PATIENCE) -> None:
    """Looks every 10 ms. Raises TimeoutError naming what did not come true."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError(what)
        time.sleep(0.01)
