"""Waits for a condition while the phones keep running."""

import asyncio
import time
from collections.abc import Callable

_SOON = 3.0  # seconds to wait at most


async def until(check: Callable[[], object], seconds: float = _SOON) -> bool:
    """Whether the condition became true in time."""
    ends = time.monotonic() + seconds
    while not check():
        if time.monotonic() > ends:
            return False
        await asyncio.sleep(0.02)
    return True
