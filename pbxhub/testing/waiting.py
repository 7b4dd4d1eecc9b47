"""Waiting for what must come true, and doing several things at once."""

import time
from collections.abc import Callable
from threading import Thread
from typing import Protocol, TypeVar

from pbxhub.testing.durations import seconds

T = TypeVar("T")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1  # seconds between two tries: quick at first, gentle later


class InCall(Protocol):
    """Anything with a call state: an agent."""

    @property
    def state(self) -> str: ...


def await_until(check: Callable[[], T], within: str | float = "30s") -> T:
    """Runs check again and again until it holds; returns what it returned.

    It does not hold while it raises AssertionError or returns False. Any other exception ends the wait at once.
    Raises AssertionError with the last failure when it still does not hold after `within`.
    """
    __tracebackhide__ = True
    ends, pause, tries = time.monotonic() + seconds(within), _FIRST_PAUSE, 0
    while True:
        tries += 1
        failure: AssertionError | None = None
        try:
            answer = check()
            if answer is not False:
                return answer
        except AssertionError as error:
            failure = error
        left = ends - time.monotonic()
        if left <= 0:
            raise AssertionError(_still_not(within, tries, failure)) from failure
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def _still_not(within: str | float, tries: int, failure: AssertionError | None) -> str:
    limit = within if isinstance(within, str) else f"{within:g}s"
    last = (str(failure) or "an assertion without a message failed") if failure else "the check returned False"
    return f"still not so after {limit} ({tries} tries); the last failure: {last}"


def wait(duration: str | float, *staying: InCall) -> None:
    """Lets time pass. Calls of the agents in `staying` that are up at the start must stay up.

    Raises AssertionError as soon as one of them is no longer established, and at once when one is over already.
    """
    __tracebackhide__ = True
    length = seconds(duration)
    for party in staying:
        assert party.state != "closed", f"the call of {party} is over already; it had to stay up for {length:g}s"
    ends = time.monotonic() + length
    up = [party for party in staying if party.state == "established"]
    while (left := ends - time.monotonic()) > 0:
        for party in up:
            if party.state != "established":
                after = length - left
                raise AssertionError(f"the call of {party} ended after {after:.1f}s; it had to stay up for {length:g}s")
        time.sleep(min(left, _LONGEST_PAUSE) if up else left)


def parallel(*tasks: Callable[[], T]) -> list[T]:
    """Runs the tasks at the same time, each in a thread, and waits for all of them; their answers in the order given.

    When one task fails its exception is raised after all have ended; when several fail, an ExceptionGroup of them.
    """
    answers: dict[int, T] = {}
    failed: dict[int, BaseException] = {}

    def run(at: int) -> None:
        try:
            answers[at] = tasks[at]()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the caller gets it
            failed[at] = error

    # Daemons, and no pool: a task that hangs for ever must not keep the run from ending after its timeout.
    threads = [Thread(target=run, args=(at,), name=f"parallel-{at}", daemon=True) for at in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    failures = [failed[at] for at in sorted(failed)]
    if len(failures) == 1:
        raise failures[0]
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {len(tasks)} parallel tasks failed", failures)
    return [answers[at] for at in range(len(tasks))]
