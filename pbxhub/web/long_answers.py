"""Answers that take long because they wait for somebody else: the check of a PBX, a test send.

Each holds a thread of the server for up to half a minute. They may hold a quarter of the threads together, and one
project half of that: whoever checks a dead PBX over and over keeps nobody from the pages.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from werkzeug.exceptions import TooManyRequests

from pbxhub.web.language import _

MOST = 4  # in this process, of the 16 threads that services.py gives the pages
MOST_OF_A_PROJECT = 2
_AGAIN = 10  # seconds after which another try is worth it


class LongAnswers:
    """Those that are being waited for in this process, by project."""

    def __init__(self) -> None:
        self._open = Counter[int]()
        self._lock = threading.Lock()

    @contextmanager
    def one(self, project_id: int) -> Iterator[None]:
        """Around one that is waited for. Raises TooManyRequests (429) when all places, or its project's, are taken."""
        with self._lock:
            if self._open[project_id] >= MOST_OF_A_PROJECT or self._open.total() >= MOST:
                raise TooManyRequests(
                    _("Other checks and test sends have not ended yet. Wait some seconds and try again."),
                    retry_after=_AGAIN,
                )
            self._open[project_id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[project_id] -= 1
