"""Requests that wait for another machine: the check of a PBX, a test send.

Each holds a thread of the server for up to half a minute. All of them together may hold a quarter of the threads, and
those of one project half of that: a user who checks a dead PBX over and over does not block the pages of the others.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pbxhub.account.refusals import BusyError
from pbxhub.translatable import say

MOST = 4  # in this process, of the 16 threads that services.py gives the pages
MOST_OF_A_PROJECT = 2
_RETRY_AFTER = 10  # seconds


class SlowRequests:
    """Those that are running in this process, by project."""

    def __init__(self) -> None:
        self._running = Counter[int]()
        self._lock = threading.Lock()

    @contextmanager
    def one(self, project_id: int) -> Iterator[None]:
        """Surrounds a slow request. Raises BusyError when all places, or those of its project, are taken."""
        with self._lock:
            if self._running[project_id] >= MOST_OF_A_PROJECT or self._running.total() >= MOST:
                raise BusyError(
                    say("Other checks and test sends are still running. Wait some seconds and try again."), _RETRY_AFTER
                )
            self._running[project_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[project_id] -= 1
