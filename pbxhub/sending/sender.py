"""Every HTTP request that the hub sends goes through here: one at a time (Sender) or many at once (Engine)."""

import threading
from collections.abc import Callable
from queue import SimpleQueue

from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.engine import Engine
from pbxhub.sending.exchange import Answer, Outgoing, TlsOptions
from pbxhub.sending.requests_in_flight import RequestsInFlight
from pbxhub.sending.resolver import Resolver

__all__ = ["Answer", "Engine", "Outgoing", "Sender", "TlsOptions"]


class Sender:
    """Sends one request and waits for the answer. Threads may share it.

    Its own thread starts with the first request, so a process that only forks or serves pages has none.
    """

    def __init__(self, guard: AddressGuard, resolver: Resolver | None = None, capacity: int = 1000) -> None:
        self._guard = guard
        self._resolver = resolver or Resolver()
        self._capacity = capacity
        self._transfers: RequestsInFlight | None = None
        self._lock = threading.Lock()

    @property
    def guard(self) -> AddressGuard:
        """Which addresses may be reached; a new one may be assigned at any time."""
        return self._guard

    @guard.setter
    def guard(self, guard: AddressGuard) -> None:
        with self._lock:
            self._guard = guard
            if self._transfers:
                self._transfers.guard = guard

    def send(self, outgoing: Outgoing) -> Answer:
        """Returns the answer, at the deadline at the latest. Never raises: every failure is an Answer."""
        answers: SimpleQueue[Answer] = SimpleQueue()
        self.begin(outgoing, answers.put)
        return answers.get()

    def begin(self, outgoing: Outgoing, done: Callable[[Answer], None]) -> None:
        """Starts sending and returns at once. Calls done(answer) exactly once, on the sending thread; done must neither
        block nor raise."""
        with self._lock:
            if not self._transfers:
                self._transfers = RequestsInFlight(self._guard, self._resolver, self._capacity)
            self._transfers.begin(outgoing, done)

    def close(self) -> None:
        """Closes the keep-alive connections. Call it when no request is in flight."""
        with self._lock:
            if self._transfers:
                self._transfers.close()
                self._transfers = None
