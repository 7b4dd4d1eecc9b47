"""Bugs that the rules must find: a simulation that finds none of them proves nothing.

Each is the real code with one thing wrong.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from importlib import import_module
from typing import Any
from unittest.mock import patch

from sqlalchemy.exc import SQLAlchemyError

import pbxhub.delivery.outbox.due as due_module
import pbxhub.delivery.outbox.enqueue as enqueue_module
import pbxhub.delivery.outbox.new_stages as new_stages_module
import pbxhub.delivery.outbox.next_state as next_state_module
import pbxhub.delivery.outbox.write_attempts as write_attempts_module
import pbxhub.delivery.prepare as prepare_module
import pbxhub.delivery.worker as worker_module
from pbxhub.ami.publisher import Publisher, StageQueue
from pbxhub.delivery.outbox.write_next_states import lock_owned
from pbxhub.delivery.worker import Worker
from pbxhub.store.ids import new_id

claim_module, record_module = (import_module(f"pbxhub.delivery.outbox.{name}") for name in ("claim", "record"))
process_module = import_module("tests.support.simulation.process")
_claim_new, _send_new = Worker.claim_new, Worker.send_new
_write_once, _put, _queues, _next_delay = (
    Publisher._write_once,
    StageQueue.put,
    due_module._queues,
    next_state_module.next_delay,
)
_identify = prepare_module.identify


def _sends_in_the_claim(worker: Worker, session: Any, new: Any) -> Any:
    claimed = _claim_new(worker, session, new)
    _send_new(worker, claimed)
    return claimed


async def _drops(publisher: Publisher, queues: Any) -> Any:
    try:
        return await _write_once(publisher, queues)
    except SQLAlchemyError:
        for queue in queues:
            queue.drop(len(queue._waiting))
        raise


def _swaps(queue: StageQueue, item: Any) -> None:
    _put(queue, item)
    queue._waiting.rotate(1)


def _owns_all(_session: Any, finished: Any) -> Any:
    lock_owned(_session, finished)
    return {(one.claimed.id, one.claimed.token) for one in finished}


def _another_id(_message_id: str, *rest: Any) -> Any:
    return _identify(str(new_id()), *rest)


def _hears_no_pause(rows: Any) -> Any:
    return _queues([row._replace(paused=0) for row in rows])


def _sends_twice(worker: Worker, claimed: Any, ready: Any) -> None:
    worker._engine.start(ready.outgoing, (claimed, ready))
    worker._engine.start(ready.outgoing, (claimed, ready))


Plant = Callable[[], AbstractContextManager[Any]]
BUGS: Mapping[str, Plant] = {
    "an attempt is not recorded": lambda: patch.object(worker_module, "record", lambda *_: []),
    "a claim leases nothing": lambda: patch.object(worker_module.Worker, "_claim", _unleased),
    "a request leaves before the commit": lambda: patch.multiple(
        Worker, claim_new=_sends_in_the_claim, send_new=lambda *_: None
    ),
    "a request leaves twice": lambda: patch.object(Worker, "_send_ready", _sends_twice),
    "stages are dropped when the database fails": lambda: patch.object(Publisher, "_write_once", _drops),
    "stages change their order": lambda: patch.object(StageQueue, "put", _swaps),
    "stages are published twice": lambda: patch.object(
        new_stages_module._KnownStages, "first_told", lambda _self, _call_id, stage, _by_cel: stage
    ),
    "nothing waits for the one ahead": lambda: patch.object(enqueue_module, "hold_back", lambda *_: None),
    "what a dead worker had stays there": lambda: patch.object(
        claim_module, "leave_lost", lambda _session, rows, _now: ([row for row in rows if not row.lost], [])
    ),
    "a lease of a wrong clock stays": lambda: patch.object(process_module.WrongLeases, "end", lambda *_: None),
    "retries do not pause": lambda: patch.object(
        next_state_module, "next_delay", lambda *given: None if _next_delay(*given) is None else 0.0
    ),
    "retries never end": lambda: patch.object(next_state_module, "next_delay", lambda *_: 2.0),
    "a paused webhook sends": lambda: patch.object(due_module, "_queues", _hears_no_pause),
    "each attempt has another webhook-id": lambda: patch.object(prepare_module, "identify", _another_id),
    "a late answer moves what another one holds": lambda: patch.object(record_module, "lock_owned", _owns_all),
    "an answer recorded again is told again": lambda: patch.object(
        write_attempts_module, "_already_written", lambda *_: set()
    ),
}  # fmt: skip


def _unleased(worker: Worker, session: Any) -> Any:
    lease, worker._lease = worker._lease, timedelta(seconds=-10)
    try:
        return _claim(worker, session)
    finally:
        worker._lease = lease


_claim = Worker._claim


def planted(bug: str) -> AbstractContextManager[Any]:
    """The code under test with this bug; without one for ""."""
    return BUGS[bug]() if bug else nullcontext()
