"""Forks several processes that do the same work, watches them, and replaces one that ends.

Children share what is open when a process forks: two children that read from one database connection would get each
other's answers. Only what is meant to be shared may therefore be open here, a listening socket; each child opens the
rest itself. Children started later find the same state, because this process does nothing else.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkProcess

import structlog

_QUICK = 5.0  # seconds; a child that ends sooner is replaced after _PAUSE, not at once
_PAUSE = 1.0
_STOP = 10.0  # seconds the children may take to stop
_PARENT = 1.0  # seconds between a child's checks that its parent is alive
_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_fork = multiprocessing.get_context("fork")
log = structlog.get_logger(__name__)


class Stop:
    """What a child waits for: a signal, or the end of its parent."""

    def __init__(self) -> None:
        self._parent = os.getppid()
        self._told = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: self._told.set())

    def wait(self) -> None:
        while not self._told.wait(_PARENT) and os.getppid() == self._parent:
            pass


@dataclass(frozen=True, slots=True)
class _Child:
    process: ForkProcess
    born: float


def keep_running(work: Callable[[Stop], None], count: int) -> None:
    """Runs work(stop) in `count` processes until SIGTERM or SIGINT; replaces a process that ends earlier.

    work: opens what it needs, serves until stop.wait() returns, and cleans up within ten seconds. The calling process
    must have one thread and nothing open that its children must not share.
    """
    # they wait until sigwait() takes them: none is lost between two looks, and a child never runs a handler of ours
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    children = [_start(work) for _ in range(count)]
    while signal.sigwait(_HEARD) == signal.SIGCHLD:
        children = [child if child.process.is_alive() else _replace(child, work) for child in children]
    _end(children)


def _start(work: Callable[[Stop], None]) -> _Child:
    process = _fork.Process(target=_live, args=(work,), name="pbxhub worker")
    process.start()
    return _Child(process, time.monotonic())


def _live(work: Callable[[Stop], None]) -> None:
    stop = Stop()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HEARD)
    work(stop)


def _replace(child: _Child, work: Callable[[Stop], None]) -> _Child:
    log.error("process ended; starting another", pid=child.process.pid, status=child.process.exitcode)
    if time.monotonic() - child.born < _QUICK:
        time.sleep(_PAUSE)
    return _start(work)


def _end(children: list[_Child]) -> None:
    for child in children:
        child.process.terminate()
    ends = time.monotonic() + _STOP
    for child in children:
        child.process.join(max(0.0, ends - time.monotonic()))
        child.process.kill()
        child.process.join()
