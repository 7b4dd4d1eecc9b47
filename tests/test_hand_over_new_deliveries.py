"""The worker of a process has new deliveries in the commit that writes them; nothing else changes.

Each test of a fault has a twin with `planted`: the same with a bug in the hub. It must fail.
"""

from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from importlib import import_module
from typing import Any, NoReturn

import pytest
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from pbxhub.calls.stages import Value
from pbxhub.delivery.handoff import Handoff
from pbxhub.delivery.outbox import Claimed, claim, publish
from pbxhub.delivery.outbox.claimed import request_of
from pbxhub.delivery.outbox.pausing import pause
from pbxhub.delivery.wakeup import Wakeups
from pbxhub.delivery.worker import Worker
from pbxhub.sending.address_guard import AddressGuard, endpoints
from pbxhub.sending.engine import Engine
from pbxhub.sending.outcomes import LOST
from pbxhub.store.clock import utc_now
from pbxhub.store.connections import NEW
from pbxhub.store.delivery_rows import DELIVERED, PENDING
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.webhooks.connection_spec import ConnectionSpec
from pbxhub.webhooks.spec import Limits, Parameter, RequestSpec, Retry, WebhookSpec
from tests.support.connections import connect
from tests.support.outbox_world import (
    AFTER,
    BEFORE,
    BUSY,
    OK,
    Sender,
    World,
    at,
    context_of,
    finish,
    report,
    spec,
    take,
)
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
        worker.claim_new = lambda session, new: (  # type: ignore[method-assign]
            event.listen(session, "after_commit", lose, once=True), claim_new(session, new)
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
            monkeypatch.setattr(worker, "claim_new", lambda *_: 1 / 0)
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

    def fail(*_given: object) -> NoReturn:
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


@pytest.fixture
def sender(database: Database) -> Sender:
    sender = Sender(database)
    context_of(database).handoff.open(sender)
    return sender


def columns(world: World) -> list[dict[str, Any]]:
    """The rows of deliveries and attempts, without what differs each time."""
    known = {"id", "delivery_id", "stage_event_id", "call_id", "sequence_id", "claim_token", "headers", "body"}
    rows = [one for row in world.deliveries() for one in (row, *world.attempts(row))]
    return [{c.key: getattr(row, c.key) for c in row.__table__.c if c.key not in known} for row in rows]


RECORDING = RequestSpec(
    url="http://127.0.0.1:9/h?c=<<caller>>",
    format="multipart",
    parameters=(Parameter("audio", "recording"), Parameter("text", value="Зоряна")),
)


@pytest.mark.parametrize("what", [spec(request=RECORDING), spec(deadline=3)], ids=["a recording", "a short deadline"])
def test_what_is_handed_over_is_as_after_any_claim(database: Database, sender: Sender, what: WebhookSpec) -> None:
    world = World(database)
    world.webhook(AFTER, what)
    values: dict[str, Value] = {"recording_file": "a.wav"}
    world.publish(report("1.1", AFTER, values=values, ended=0))
    [handed], after = sender.sent, columns(world)
    assert handed.request == request_of(world.deliveries()[0]), "what leaves is what is stored"
    finish(database, [handed], OK, 1)
    sender.limit = 0
    world.publish(report("1.2", AFTER, values=values, ended=0))
    [claimed] = take(database, 0).claimed
    assert columns(world)[2:] == after
    differs = {one.name for one in fields(Claimed) if getattr(handed, one.name) != getattr(claimed, one.name)}
    assert differs == {"id", "stage_event_id", "call_id", "sequence_id", "token", "request"}


def test_the_lease_of_what_was_handed_over_ends(database: Database, sender: Sender) -> None:
    world = World(database)
    world.webhook(BEFORE, spec(deadline=10))
    world.publish(report("1.1", BEFORE))
    assert len(sender.sent) == 1
    assert take(database, 29.9).claimed == ()
    [again] = take(database, 30).claimed
    finish(database, [again], OK, 31)
    assert attempts(world) == [[LOST, "ok"]]


def pause_it(world: World, hook: int, _sender: Sender) -> None:
    with world.database.write() as session:
        pause(session, hook, "by hand", at(0))


def take_its_token(world: World, hook: int, _sender: Sender) -> None:
    connection = connect(world, ConnectionSpec("bearer"), state=NEW, ready_until=None)
    with world.database.write() as session:
        session.get_one(Webhook, hook).connection_id = connection
        touch_webhooks(session, world.project_id)


def have_an_older_one(world: World, hook: int, sender: Sender) -> None:
    sender.limit = 0
    world.publish(report("1.0", BEFORE))
    sender.limit = 100
    finish(world.database, [one for one in take(world.database, 0).claimed if one.webhook.id != hook], OK, 0)


def have_a_retry(world: World, hook: int, sender: Sender) -> None:
    world.publish(report("1.0", BEFORE))
    for one in sender.sent:
        finish(world.database, [one], BUSY if one.webhook.id == hook else OK, 0)
    sender.sent.clear()


def fill_it(world: World, _hook: int, sender: Sender) -> None:
    world.publish(report("1.0", BEFORE))
    sender.sent.clear()


def allow(rooms: bool, limit: int) -> Callable[[World, int, Sender], None]:
    def arrange(world: World, _hook: int, sender: Sender) -> None:
        sender.rooms, sender.limit = {} if rooms else {world.project_id: 0}, limit

    return arrange


def put_it_out_of_reach(_world: World, hook: int, sender: Sender) -> None:
    sender.without = {hook}


def nothing(_world: World, _hook: int, _sender: Sender) -> None:
    """The settings are reason enough."""


def limited(**limits: int) -> WebhookSpec:
    return WebhookSpec(RequestSpec(url="http://127.0.0.1:9/"), limits=Limits(**limits))


@pytest.mark.parametrize(
    ("what", "arrange", "other_leaves"),
    [
        pytest.param(spec(), pause_it, True, id="it is paused"),
        pytest.param(spec(), take_its_token, True, id="its connection has no token"),
        pytest.param(spec(in_flight=1), have_an_older_one, True, id="an older one is due"),
        pytest.param(spec(retry=Retry("own", (1,))), have_a_retry, True, id="a retry is due"),
        pytest.param(spec(in_flight=1), fill_it, True, id="the webhook has no free place"),
        pytest.param(spec(), allow(rooms=False, limit=100), False, id="the project has no free place"),
        pytest.param(spec(), allow(rooms=True, limit=0), False, id="the process has no free place"),
        pytest.param(spec(), put_it_out_of_reach, True, id="the sender may not reach it"),
        pytest.param(limited(per_minute=60), nothing, True, id="it has a rate"),
        pytest.param(limited(delay=5), nothing, True, id="it has a delay"),
    ],
)
def test_what_a_claim_has_to_decide_is_left_to_it(
    database: Database, sender: Sender, monkeypatch: pytest.MonkeyPatch,
    what: WebhookSpec, arrange: Callable[[World, int, Sender], None], other_leaves: bool,
) -> None:  # fmt: skip
    world = World(database)
    hook, other = world.webhook(BEFORE, what), world.webhook(BEFORE)
    arrange(world, hook, sender)
    sender.seconds = 2
    rung = rings(database, monkeypatch)
    world.publish(report("1.1", BEFORE), now=at(2))
    assert [one.webhook.id for one in sender.sent] == ([other] if other_leaves else [])
    assert rung, "a worker is woken for the rest"


def test_a_process_takes_no_more_than_it_has_places_for(database: Database, sender: Sender) -> None:
    world = World(database)
    world.webhook(BEFORE)
    sender.limit = 2
    world.publish(*(report(f"1.{number}", BEFORE) for number in range(3)))
    assert len(sender.sent) == 2
    assert len(take(database, 0).claimed) == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_while_another_process_chooses_nothing_is_handed_over(
    database: Database, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(database)
    world.webhook(BEFORE)
    rung = rings(database, monkeypatch)
    with database.write() as chooses:
        claim(context_of(database), chooses, 100, at(0))
        world.publish(report("1.1", BEFORE))
    assert not sender.sent
    assert rung
    world.publish(report("1.2", BEFORE), now=at(-1))
    assert not sender.sent, "an older one is due"
    assert len(take(database, 0).claimed) == 2
