"""The ordered queue between the connection to a PBX and its tracker: everything in the order it was heard."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Bounded for events, so that a flood cannot eat the memory; never full for the hub's own notes."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._items: deque[T] = deque()
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def offer(self, item: T) -> bool:
        """Puts an event at the end; False when there is no room for it."""
        if len(self._items) >= self.room:
            return False
        self.put(item)
        return True

    def put(self, item: T) -> None:
        """Puts an item at the end, room or not."""
        self._items.append(item)
        self._filled.set()

    async def take(self, most: int) -> list[T]:
        """The oldest items, at least one and at most `most`; waits for the first."""
        await self._filled.wait()
        taken = [self._items.popleft() for _ in range(min(most, len(self._items)))]
        if not self._items:
            self._filled.clear()
        return taken
