"""Waiting beside phones that go on talking: for what must come true, never for a time to pass."""

import asyncio
import time
from collections.abc import Callable

_SOON = 3.0  # seconds in which what must happen happens


async def until(check: Callable[[], object], seconds: float = _SOON) -> bool:
    """Whether it came true in time."""
    ends = time.monotonic() + seconds
    while not check():
        if time.monotonic() > ends:
            return False
        await asyncio.sleep(0.02)
    return True
