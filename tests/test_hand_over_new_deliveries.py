"""The worker of a process has new deliveries in the commit that writes them; nothing else changes.

Each test of a fault has a twin with `planted`: the same with a bug in the hub. It must fail.
"""

from datetime import timedelta
from importlib import import_module
from typing import NoReturn

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from pbxhub.delivery.handoff import Handoff
from pbxhub.delivery.outbox import publish
from pbxhub.delivery.outbox.pausing import pause
from pbxhub.delivery.wakeup import Wakeups
from pbxhub.delivery.worker import Worker
from pbxhub.sending.address_guard import AddressGuard, endpoints
from pbxhub.sending.engine import Engine
from pbxhub.sending.outcomes import LOST
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import DELIVERED, PENDING
from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.webhooks.spec import Parameter, RequestSpec, WebhookSpec
from tests.support.outbox_world import AFTER, BEFORE, World, context_of, report, spec
from tests.support.waiting import PATIENCE, wait_until
from tests.support.working import FrozenWorker, HastyWorker, WorkerByAnotherClock, fails_if, states, working

twin = pytest.mark.parametrize("planted", [False, True], ids=["right", "planted"])
OVER = timedelta(seconds=-9)  # a lease that has ended before it begins


def tell(world: World, *stages: str, call: str = "1.1") -> None:
    publish(context_of(world.database), {world.pbx_id: [report(call, *stages)]}, utc_now())


def rings(database: Database, monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """The transactions that wake workers from now on."""
    wakeups, found = context_of(database).wakeups, list[Session]()
    send = wakeups.send
    monkeypatch.setattr(wakeups, "send", lambda session: (found.append(session), send(session)))
    return found


def attempts(world: World) -> list[list[str]]:
    return [[attempt.outcome for attempt in world.attempts(row)] for row in world.deliveries()]


def test_a_request_leaves_after_the_commit_of_its_stage_and_wakes_nobody(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(database)
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        with working(database, receiver) as worker:
            wait_until(worker.works)  # its own first claim, which holds the lock, is over
            rung = rings(database, monkeypatch)
            tell(world, BEFORE)
            [row] = world.deliveries()
            assert row.claim_token is not None or row.state == DELIVERED, "it was claimed in the commit that wrote it"
            receiver.wait_for(1)
            wait_until(lambda: states(world) == {DELIVERED})
    assert not rung
    assert attempts(world) == [["ok"]]


def test_what_cannot_be_sent_at_once_waits_for_a_claim_as_ever(database: Database) -> None:
    world = World(database)
    with Receiver(lambda _: Reply(delay=0.3)) as receiver:
        narrow = spec(receiver.url, in_flight=1)
        hook = world.webhook(BEFORE, narrow)
        with working(database, receiver):
            for number in range(4):
                tell(world, BEFORE, call=f"1.{number}")
            assert sum(row.claim_token is not None for row in world.deliveries()) <= 1
            wait_until(lambda: states(world) == {DELIVERED})
            with database.write() as session:
                pause(session, hook, "by hand", utc_now())
            tell(world, BEFORE, call="2.1")
            assert world.deliveries()[-1].claim_token is None
    assert attempts(world) == [["ok"]] * 4 + [[]]


def test_the_second_stage_of_a_call_waits_for_the_first(database: Database) -> None:
    world = World(database)
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        world.webhook(AFTER, spec(receiver.url))
        with working(database, receiver):
            tell(world, BEFORE, AFTER)
            wait_until(lambda: states(world) == {DELIVERED})
    assert attempts(world) == [["ok"], ["ok"]]


def only_handed(database: Database, receiver: Receiver, kind: type[Worker], lease: timedelta = OVER) -> Worker:
    """A worker whose own thread claims nothing, so that it never has the lock when something is handed to it."""
    engine = Engine(AddressGuard(allowed_endpoints=endpoints("127.0.0.1", receiver.port)))
    return kind(context_of(database), engine, lease=lease, claims=False)


@twin
def test_what_a_frozen_worker_was_handed_is_sent_by_another_one_after_the_lease(
    database: Database, planted: bool
) -> None:
    world = World(database)
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        frozen = only_handed(database, receiver, FrozenWorker, timedelta(hours=1) if planted else OVER)
        frozen.start()
        tell(world, BEFORE)
        frozen.stop()
        with working(database, receiver), fails_if(planted):
            wait_until(lambda: attempts(world) == [[LOST, "ok"]], "it is sent again", 5.0 if planted else PATIENCE)


@twin
def test_a_commit_whose_answer_is_lost_is_sent_once_the_lease_has_ended(database: Database, planted: bool) -> None:
    world = World(database)

    def lose(_session: object) -> None:
        raise OperationalError("COMMIT", None, Exception("connection lost"))

    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        worker = only_handed(database, receiver, HastyWorker if planted else Worker)
        worker.start()
        claim_new = worker.claim_new
        worker.claim_new = lambda session: (  # type: ignore[method-assign]
            event.listen(session, "after_commit", lose, once=True), claim_new(session)
        )[1]  # fmt: skip
        with pytest.raises(OperationalError):
            tell(world, BEFORE)
        worker.stop()
        tell(world, BEFORE)  # as the publisher does
        with working(database, receiver):
            wait_until(lambda: states(world) == {DELIVERED})
    with fails_if(planted):
        assert attempts(world) == [[LOST, "ok"]]
        assert receiver.count == 1


@pytest.fixture
def gives_up(planted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bug: what fails with a hand-over is not published without one."""
    if planted:
        monkeypatch.setattr(import_module("pbxhub.delivery.outbox.publish"), "is_away", lambda _error: True)


@twin
@pytest.mark.usefixtures("gives_up")
def test_a_claim_that_fails_costs_no_stage(database: Database, planted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(database)
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        with working(database, receiver) as worker, fails_if(planted, ZeroDivisionError):
            monkeypatch.setattr(worker, "claim_new", lambda session: 1 / 0)
            tell(world, BEFORE)
            wait_until(lambda: attempts(world) == [["ok"]])


@twin
@pytest.mark.usefixtures("gives_up")
def test_a_claim_that_fails_after_two_collisions_with_another_listener_costs_no_stage(
    database: Database, planted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(database)
    collision = IntegrityError("INSERT", None, Exception("another listener has inserted the call"))
    faults = iter((collision, collision, ZeroDivisionError()))

    def fail(_session: object) -> NoReturn:
        raise next(faults)

    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        with working(database, receiver) as worker, fails_if(planted, ZeroDivisionError):
            monkeypatch.setattr(worker, "claim_new", fail)
            tell(world, BEFORE)
            wait_until(lambda: attempts(world) == [["ok"]])


@twin
def test_a_worker_whose_clock_is_behind_is_handed_nothing_and_others_are_woken(
    database: Database, planted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, rung = World(database), rings(database, monkeypatch)
    kind = WorkerByAnotherClock if planted else Worker
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        with (
            working(database, receiver, clock=lambda: utc_now() - timedelta(hours=1), kind=kind) as worker,
            fails_if(planted),
        ):
            wait_until(worker.works)  # its own first claim, which holds the lock, is over
            tell(world, BEFORE)
            assert [(row.state, row.claim_token) for row in world.deliveries()] == [(PENDING, None)]
            assert rung


@pytest.mark.parametrize("recorded", [False, True])
def test_a_listener_leaves_what_it_may_not_reach_to_the_workers(database: Database, recorded: bool) -> None:
    """The listener has no PBXHUB_ALLOWED_NETWORKS, and the worker does: nothing is lost, and no attempt is counted."""
    world = World(database)
    context = context_of(database, clock=utc_now, wakeups=Wakeups(), handoff=Handoff())
    sender = Worker(context, Engine(AddressGuard()), claims=False)
    with Receiver(lambda _: Reply(body=b"RIFF\0")) as receiver:
        audio = (Parameter("audio", "recording"),)
        request = RequestSpec(url=receiver.url, format="multipart", parameters=audio if recorded else ())
        world.webhook(AFTER, WebhookSpec(request=request))
        values = {"recording_file": f"{receiver.url}/call.wav"}
        sender.start()
        try:
            for call in ("1.1", "1.2"):
                publish(context, {world.pbx_id: [report(call, AFTER, values=values, ended=0)]}, utc_now())
                wait_until(lambda: not sender.in_flight)
            wait_until(lambda: all(row.claim_token is None and row.attempts == 0 for row in world.deliveries()))
            assert attempts(world) == [[], []]
            with working(database, receiver):
                wait_until(lambda: states(world) == {DELIVERED})
        finally:
            sender.stop()
    assert attempts(world) == [["ok"], ["ok"]]
    assert [row.attempts for row in world.deliveries()] == [1, 1]
