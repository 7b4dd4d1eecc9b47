"""UUIDv7 (RFC 9562, method 1 of section 6.2): ids that sort by time and never repeat within a process."""

import os
import threading
from datetime import datetime
from uuid import UUID

from pbxhub.store.clock import unix_ns

_lock = threading.Lock()
_last = 0  # 48 bits of milliseconds and 12 bits that count within one of them


def new_id() -> UUID:
    """A new id, greater than every id this process has made before."""
    global _last
    with _lock:
        _last = max(_last + 1, (unix_ns() // 1_000_000) << 12)
        stamp = _last
    random = int.from_bytes(os.urandom(8)) >> 2
    return UUID(int=((stamp >> 12) << 80) | (0x7 << 76) | ((stamp & 0xFFF) << 64) | (0b10 << 62) | random)


def first_id_at(moment: datetime, later: float = 0) -> UUID:
    """The smallest id that can have been made at that moment, or so many seconds later: every earlier one is below."""
    return UUID(int=max(0, int((moment.timestamp() + later) * 1000)) << 80)


def numbered_token(number: int) -> UUID:
    """A token of 8 bytes that sort by the number, and 8 that nobody can guess."""
    return UUID(int=(number << 64) | int.from_bytes(os.urandom(8)))
