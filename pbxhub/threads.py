"""Threads that work while a block runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def beside(work: Callable[[threading.Event], None], name: str, join: float | None = None) -> Iterator[None]:
    """Calls work(stopping) in a thread of its own. At the end of the block sets stopping, and waits until work returns,
    `join` seconds at most."""
    stopping = threading.Event()
    thread = threading.Thread(target=work, args=(stopping,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(join)
