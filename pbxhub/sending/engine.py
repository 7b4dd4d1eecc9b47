"""Sends many requests at once from one thread: the sender of the worker."""

import threading
import time
from collections import deque
from functools import partial
from typing import Generic, TypeVar

from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.exchange import Answer, Outgoing
from pbxhub.sending.requests_in_flight import RequestsInFlight
from pbxhub.sending.resolver import Resolver

Tag = TypeVar("Tag")


class Engine(Generic[Tag]):
    """Sends on its own thread; call start() and finished() from any other thread.

    finished() returns every started request exactly once, at its deadline at the latest.
    """

    def __init__(self, guard: AddressGuard, capacity: int = 1000, resolver: Resolver | None = None) -> None:
        """guard: which addresses may be reached.
        capacity: requests in flight at once. Further ones wait inside; their deadline starts when they are sent.
        """
        self.capacity = capacity
        self._transfers = RequestsInFlight(guard, resolver or Resolver(), capacity)
        self._finished: deque[tuple[Tag, Answer]] = deque()
        self._news = threading.Event()
        self._started = 0
        self._counting = threading.Lock()
        self._returned = 0
        self._woken = False
        self._closed = False

    @property
    def guard(self) -> AddressGuard:
        """Which addresses may be reached; a new one may be assigned at any time."""
        return self._transfers.guard

    @guard.setter
    def guard(self, guard: AddressGuard) -> None:
        self._transfers.guard = guard

    @property
    def in_flight(self) -> int:
        """Requests started and not yet returned by finished()."""
        return self._started - self._returned

    def start(self, outgoing: Outgoing, tag: Tag) -> None:
        """Starts sending and returns at once. Raises RuntimeError after close()."""
        if self._closed:
            raise RuntimeError("the engine is closed")
        with self._counting:
            self._started += 1
        self._transfers.begin(outgoing, partial(self._take, tag))

    def finished(self, wait: float | None = None) -> list[tuple[Tag, Answer]]:
        """Everything finished since the last call. If there is nothing, waits up to `wait` seconds for the first.

        Empty when the time is up or wake() was called. wait=None waits without limit.
        """
        ends = None if wait is None else time.monotonic() + wait
        while not (taken := self._drain()) and not self._woken:
            left = None if ends is None else ends - time.monotonic()
            if left is not None and left <= 0:
                break
            self._news.wait(left)
            self._news.clear()
        self._woken = False
        return taken

    def wake(self) -> None:
        """Makes a waiting finished() return at once."""
        self._woken = True
        self._news.set()

    def close(self, wait: float = 0.0) -> list[tuple[Tag, Answer]]:
        """Accepts no more requests, waits up to `wait` seconds for those in flight, aborts the rest, ends the thread.

        Returns what has finished and was not fetched yet, without the aborted requests: their outcome is unknown.
        """
        self._closed = True
        ends = time.monotonic() + wait
        taken: list[tuple[Tag, Answer]] = []
        while self.in_flight and (left := ends - time.monotonic()) > 0:
            taken += self.finished(left)
        self._transfers.close()
        return taken + self._drain()

    def _take(self, tag: Tag, answer: Answer) -> None:
        self._finished.append((tag, answer))
        if not self._news.is_set():
            self._news.set()

    def _drain(self) -> list[tuple[Tag, Answer]]:
        taken = []
        while self._finished:
            taken.append(self._finished.popleft())
        self._returned += len(taken)
        return taken
