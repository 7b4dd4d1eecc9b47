"""An event loop on a thread of its own, beside a test."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from tests.support.waiting import PATIENCE

T = TypeVar("T")


class LoopThread:
    """Runs at once; close() ends what still runs on it, and the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result. Raises TimeoutError when it takes too long."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def call(self, work: Callable[[], Any]) -> None:
        """Lets the loop call this soon."""
        self._loop.call_soon_threadsafe(work)

    def close(self) -> None:
        self.do(_end_the_others())
        self.call(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _end_the_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0.01)  # transports close in the turn after
