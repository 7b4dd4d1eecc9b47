"""The world outside the code under test, decided by the seed: time, ids, chance, threads, and the log."""

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import structlog

import pbxhub.ami.publisher as publisher_module
import pbxhub.delivery.worker as worker_module
import pbxhub.store.ids as ids_module


async def _inline(function: Callable[..., Any], *arguments: Any) -> Any:
    return function(*arguments)


def run_inline(work: Awaitable[Any]) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        work.__await__().send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


@contextmanager
def stubbed(seconds: Callable[[], float], errors: list[str], seed: str) -> Iterator[None]:
    """seconds: since 1970. errors: receives every error that the code logs as unexpected."""

    def note(_logger: Any, _method: str, entry: dict[str, Any]) -> str:
        if entry.get("exc_info"):
            errors.append(f"{entry['event']}: {sys.exc_info()[1]!r}")
        raise structlog.DropEvent

    chance, state, log = Random(seed), random.getstate(), structlog.get_config()
    structlog.configure(processors=[note], cache_logger_on_first_use=False)
    try:
        with (
            patch.object(ids_module, "unix_ns", lambda: int(seconds() * 1e9)),
            patch.object(ids_module, "os", SimpleNamespace(urandom=chance.randbytes)),
            patch.object(ids_module, "_last", 0),
            patch.object(publisher_module, "asyncio", SimpleNamespace(to_thread=_inline, Event=asyncio.Event)),
            patch.multiple(worker_module, GATHER=0.0, GATHER_MORE=0.0, DATABASE_AWAY=0.0, STOP_WAIT=0.0),
        ):
            yield
    finally:
        random.setstate(state)
        structlog.configure(**log)
