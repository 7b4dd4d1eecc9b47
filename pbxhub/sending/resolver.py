"""Names to addresses. Asked before libcurl is, for two reasons: the guard must see every address of a name, not only
the one that is tried first; and libcurl resolves on 20 threads, so that 20 names that hang would hold up all others.
"""

import ipaddress
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from pbxhub.sending.target_url import Address


@dataclass(frozen=True, slots=True)
class Found:
    """The addresses of a name in the order to try them; none when it does not exist. us: how long it took."""

    addresses: tuple[Address, ...]
    us: int


Lookup = Callable[[str], tuple[Address, ...]]
Tell = Callable[[Found], None]


def ask_system(name: str) -> tuple[Address, ...]:
    """All addresses the system's resolver knows; none for an unknown name or a DNS that does not answer."""
    try:
        answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # ValueError: a name no encoding takes
        return ()
    return tuple(dict.fromkeys(ipaddress.ip_address(str(entry[4][0])) for entry in answers))


class Resolver:
    """Looks each name up on a thread of its own, once at a time, and remembers the answer for a while.

    The threads in use are bounded by the names that hang at this moment; beyond `threads` a name waits for its turn.
    """

    def __init__(
        self, lookup: Lookup = ask_system, *, keep: float = 30.0, keep_missing: float = 1.0, threads: int = 256
    ) -> None:
        """keep, keep_missing: seconds an answer, or the lack of one, is remembered."""
        self._lookup = lookup
        self._keep = keep
        self._keep_missing = keep_missing
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Found]] = {}
        self._asked: dict[str, list[Tell]] = {}
        self._turns = threading.BoundedSemaphore(threads)

    def known(self, name: str) -> Found | None:
        """The answer, if it is remembered still."""
        entry = self._known.get(name)
        return entry[1] if entry and entry[0] > time.monotonic() else None

    def ask(self, name: str, tell: Tell) -> None:
        """Looks the name up and calls tell(found) on another thread. Somebody else's question is shared."""
        with self._lock:
            if name in self._asked:
                self._asked[name].append(tell)
                return
            self._asked[name] = [tell]
        threading.Thread(target=self._answer, args=(name,), name=f"dns {name}", daemon=True).start()

    def _answer(self, name: str) -> None:
        started = time.monotonic()
        with self._turns:
            addresses = self._lookup(name)
        now = time.monotonic()
        found = Found(addresses, round((now - started) * 1e6))
        with self._lock:
            if len(self._known) >= 10_000:
                self._known.clear()
            self._known[name] = (now + (self._keep if addresses else self._keep_missing), found)
            waiting = self._asked.pop(name)
        for tell in waiting:
            tell(found)
