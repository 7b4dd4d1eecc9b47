"""The queue between the connection to a PBX and its tracker: everything in the order it was received."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Bounded for events, so that a flood cannot fill the memory; never full for the hub's own items."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._items: deque[T] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: T) -> bool:
        """Appends an event. False when there is no room for it."""
        if len(self._items) >= self.room:
            return False
        self.put(item)
        return True

    def put(self, item: T) -> None:
        """Appends an item even when the queue is full."""
        self._items.append(item)
        self._filled.set()

    async def take(self, most: int) -> list[T]:
        """The oldest items, at least one and at most `most`; waits for the first."""
        await self._filled.wait()
        taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
        if not self._items:
            self._filled.clear()
        return taken
