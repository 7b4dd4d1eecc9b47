"""Requests that wait for another machine: the check of a PBX, a test send, the download of an export.

Each holds a thread of the server: a check for up to half a minute, a download for as long as its reader takes. Checks
and test sends together may hold a quarter of the threads, downloads another quarter, and those of one project half of
that: a user who checks a dead PBX over and over, or reads slowly, does not block the pages of the others.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pbxhub.account.refusals import BusyError
from pbxhub.translatable import Sentence, say

MOST = 4  # in this process, of the 16 threads that services.py gives the pages
MOST_OF_A_PROJECT = 2
CHECKS = say("Other checks and test sends are still running. Wait some seconds and try again.")
DOWNLOADS = say("Other exports are still being downloaded. Wait until they have ended, or cancel one of them.")


class SlowRequests:
    """Those of one kind that are running in this process, by project. busy: why another one is refused."""

    def __init__(self, busy: Sentence) -> None:
        self._busy = busy
        self._running = Counter[int]()
        self._lock = threading.Lock()

    @contextmanager
    def one(self, project_id: int) -> Iterator[None]:
        """Surrounds a slow request. Raises BusyError when all places, or those of its project, are taken."""
        with self._lock:
            if self._running[project_id] >= MOST_OF_A_PROJECT or self._running.total() >= MOST:
                raise BusyError(self._busy)
            self._running[project_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[project_id] -= 1
