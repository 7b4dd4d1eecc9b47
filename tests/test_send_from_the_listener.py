"""The sender of `pbxhub listen` on PostgreSQL: first attempts leave right after the commit.

Each test has a twin with `planted`: the same with a bug in the hub. It must fail.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from importlib import import_module

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from pbxhub.calls.stages import Stage
from pbxhub.delivery.outbox import Claimed, publish
from pbxhub.delivery.outbox.claim_choice import Room
from pbxhub.delivery.outbox.lost_attempts import LEASE
from pbxhub.delivery.outbox.pausing import pause
from pbxhub.delivery.wakeup import Wakeups
from pbxhub.delivery.worker import Worker
from pbxhub.sending.address_guard import AddressGuard, endpoints
from pbxhub.sending.engine import Engine
from pbxhub.sending.outcomes import LOST
from pbxhub.store.bulk import Query
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import DELIVERED, PENDING, NewDelivery
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.webhooks.spec import Retry
from tests.support.outbox_world import BEFORE, FORWARD, World, context_of, forward, report, spec
from tests.support.waiting import PATIENCE, wait_until
from tests.support.working import FrozenWorker, HastyWorker, WorkerByAnotherClock, fails_if, states, working

claim_new_module = import_module("pbxhub.delivery.outbox.claim_new")
pytestmark = [
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
    pytest.mark.parametrize("planted", [False, True], ids=["right", "planted"]),
]


@contextmanager
def sender(
    database: Database, receiver: Receiver, kind: type[Worker] = Worker, lease: timedelta = LEASE,
    clock: Callable[[], datetime] = utc_now, claims: bool = False,
) -> Iterator[Worker]:  # fmt: skip
    """What `pbxhub listen` runs beside the listener."""
    guard = AddressGuard(allowed_endpoints=endpoints("127.0.0.1", receiver.port))
    worker = kind(context_of(database, clock=clock), Engine(guard), lease=lease, claims=claims)
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()


def tell(world: World, *stages: str | Stage, call: str = "1.1") -> None:
    publish(context_of(world.database), {world.pbx_id: [report(call, *stages)]}, utc_now())


def attempts(world: World) -> list[list[str]]:
    return [[attempt.outcome for attempt in world.attempts(row)] for row in world.deliveries()]


def claimed(world: World) -> int:
    return sum(row.claim_token is not None for row in world.deliveries())


@contextmanager
def notified(database: Database) -> Iterator[list[str]]:
    """The NOTIFY that wake workers."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("NOTIFY pbxhub_due"):
            seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine, "before_cursor_execute", note)


def test_it_claims_nothing_by_itself(database: Database, planted: bool) -> None:
    world = World(database)
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        tell(world, BEFORE, call="old")
        with sender(database, receiver, claims=planted), fails_if(planted):
            wait_until(lambda: not planted or states(world) == {DELIVERED})
            tell(world, BEFORE, call="new")  # behind the old one
            time.sleep(0.5)
            assert attempts(world) == [[], []]


def test_what_is_to_be_tried_again_wakes_a_worker(
    database: Database, planted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(database)
    with Receiver(lambda _: Reply(503)) as receiver:
        world.webhook(BEFORE, spec(receiver.url, Retry("minutes")))
        if planted:
            monkeypatch.setattr(Wakeups, "send", lambda *_: None)
        with notified(database) as seen, sender(database, receiver), fails_if(planted):
            tell(world, BEFORE)
            wait_until(lambda: attempts(world) == [["http_5xx"]])
            assert states(world) == {PENDING}
            wait_until(lambda: len(seen) > 0, "a worker is woken", 2.0 if planted else PATIENCE)


def test_what_a_frozen_sender_had_is_sent_by_a_worker_after_the_lease(database: Database, planted: bool) -> None:
    world = World(database)
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        with sender(database, receiver, FrozenWorker, timedelta(hours=1) if planted else timedelta(seconds=-9)):
            tell(world, BEFORE)
        with working(database, receiver), fails_if(planted):
            wait_until(lambda: attempts(world) == [[LOST, "ok"]], "it is sent again", 5.0 if planted else PATIENCE)


def test_a_lost_answer_of_the_commit_costs_one_lease_and_sends_once(database: Database, planted: bool) -> None:
    world = World(database)

    def lose(_session: object) -> None:
        raise OperationalError("COMMIT", None, Exception("connection lost"))

    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        kind = HastyWorker if planted else Worker
        with sender(database, receiver, kind, timedelta(seconds=-9)) as listener:
            claim_new = listener.claim_new

            def losing(session: Session, new: Sequence[NewDelivery]) -> Sequence[Claimed]:
                event.listen(session, "after_commit", lose, once=True)
                return claim_new(session, new)

            listener.claim_new = losing  # type: ignore[method-assign]
            with pytest.raises(OperationalError):
                tell(world, BEFORE)
            listener.claim_new = claim_new  # type: ignore[method-assign]
            with fails_if(planted):
                time.sleep(0.5)
                assert receiver.count == 0
                tell(world, BEFORE)  # as the publisher does
                with working(database, receiver):
                    wait_until(lambda: states(world) == {DELIVERED})
                assert attempts(world) == [[LOST, "ok"]]


def test_the_limit_of_a_webhook_holds(database: Database, planted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(database)
    if planted:
        monkeypatch.setattr(Room, "of", lambda *_: 100)
        monkeypatch.setattr(Room, "take", lambda *_: True)
    with Receiver(lambda _: Reply(delay=2.0)) as receiver:
        world.webhook(BEFORE, spec(receiver.url, in_flight=1))
        with sender(database, receiver), fails_if(planted):
            for number in range(4):
                tell(world, BEFORE, call=f"1.{number}")
            assert claimed(world) == 1


def test_the_order_of_a_call_holds(database: Database, planted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(database)
    if planted:
        monkeypatch.setattr("pbxhub.delivery.outbox.enqueue.hold_back", lambda *_: None)
    with Receiver(lambda _: Reply(delay=2.0)) as receiver:
        world.webhook(FORWARD, spec(receiver.url))
        with sender(database, receiver), fails_if(planted):
            tell(world, forward("101"))
            tell(world, forward("102", 2))
            assert claimed(world) == 1


def test_a_paused_webhook_sends_nothing(database: Database, planted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(database)
    if planted:
        monkeypatch.setattr(claim_new_module, "_OPEN", {"postgresql": Query(select(Webhook.id))})
    with Receiver() as receiver:
        hook = world.webhook(BEFORE, spec(receiver.url))
        with sender(database, receiver), fails_if(planted):
            with database.write() as session:
                pause(session, hook, "by hand", utc_now())
            tell(world, BEFORE)
            assert claimed(world) == 0
            assert states(world) == {PENDING}


def test_a_sender_whose_clock_is_behind_is_handed_nothing(database: Database, planted: bool) -> None:
    world = World(database)
    kind = WorkerByAnotherClock if planted else Worker
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        with notified(database) as seen, sender(database, receiver, kind, clock=lambda: utc_now() - timedelta(hours=1)):
            tell(world, BEFORE)
            with fails_if(planted):
                assert claimed(world) == 0
                assert seen
                assert states(world) == {PENDING}
