"""Looks host names up before libcurl does, for two reasons. The guard must check every address of a name, not only the
one that is tried first. And libcurl resolves on 20 threads, so 20 names that hang would delay all others.
"""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pbxhub.sending.target_url import Address


@dataclass(frozen=True, slots=True)
class ResolvedName:
    """The addresses of a name in the order to try them; none when it does not exist. us: duration of the lookup."""

    addresses: tuple[Address, ...]
    us: int


Lookup = Callable[[str], tuple[Address, ...]]
Done = Callable[[ResolvedName], None]


def ask_system(name: str) -> tuple[Address, ...]:
    """All addresses from the system's resolver; none for an unknown name or a DNS that does not answer."""
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # ValueError: a name that IDNA cannot encode
        return ()
    return tuple(dict.fromkeys(ipaddress.ip_address(str(entry[4][0])) for entry in answers))


class Resolver:
    """Looks each name up on its own thread, once at a time, and caches the answer.

    At most `threads` lookups run at once; further names wait for their turn.
    """

    def __init__(
        self, lookup: Lookup = ask_system, *, keep: float = 30.0, keep_missing: float = 1.0, threads: int = 256
    ) -> None:
        """keep, keep_missing: seconds to cache an answer, or the lack of one."""
        self._lookup = lookup
        self._keep = keep
        self._keep_missing = keep_missing
        self._lock = threading.Lock()
        self._cache: dict[str, tuple[float, ResolvedName]] = {}
        self._asked: dict[str, list[Done]] = {}
        self._turns = threading.BoundedSemaphore(threads)

    def cached(self, name: str) -> ResolvedName | None:
        """The cached answer; None when there is none."""
        entry = self._cache.get(name)
        return entry[1] if entry and entry[0] > time.monotonic() else None

    def ask(self, name: str, done: Done) -> None:
        """Looks the name up and calls done(found) on another thread. Calls for the same name share one lookup."""
        with self._lock:
            if name in self._asked:
                self._asked[name].append(done)
                return
            self._asked[name] = [done]
        threading.Thread(target=self._answer, args=(name,), name=f"dns {name}", daemon=True).start()

    def _answer(self, name: str) -> None:
        started = time.monotonic()
        with self._turns:
            addresses = self._lookup(name)
        now = time.monotonic()
        found = ResolvedName(addresses, round((now - started) * 1e6))
        with self._lock:
            if len(self._cache) >= 10_000:
                self._cache.clear()
            self._cache[name] = (now + (self._keep if addresses else self._keep_missing), found)
            callbacks = self._asked.pop(name)
        for done in callbacks:
            done(found)
