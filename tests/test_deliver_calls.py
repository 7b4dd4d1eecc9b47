"""Stages go in, requests come out: worker, engine and real receivers; nothing is lost when something breaks."""

import threading
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from sqlalchemy import event

from pbxhub.delivery import worker as worker_module
from pbxhub.delivery.context import open_context
from pbxhub.delivery.metrics import QueueMetrics, WorkerMetrics
from pbxhub.delivery.outbox import claim, publish
from pbxhub.delivery.outbox.lost_attempts import LEASE, WrongLeases
from pbxhub.delivery.wakeup import WakeupListener
from pbxhub.delivery.worker import Worker
from pbxhub.opening import OpenHub
from pbxhub.services import working as serving
from pbxhub.settings import read_settings
from pbxhub.store.accounts import Pbx
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import DELIVERED, FAILED, PENDING, Delivery
from pbxhub.store.session import Database, open_database
from pbxhub.testing.receivers import misbehaving as zoo
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.webhooks.spec import Retry
from tests.support.outbox_world import BEFORE, VAULT, World, context_of, report, spec
from tests.support.waiting import PATIENCE, wait_until
from tests.support.working import ForgetfulWorker, fails_if, states, working

NEVER = 600.0  # seconds, as good as never
DEADLINE = 120  # seconds, beyond all that a busy machine needs for a test


def test_a_published_stage_reaches_its_receiver_and_is_recorded(database: Database) -> None:
    world = World(database)
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        with working(database, receiver):
            world.publish(report("1.1", BEFORE), now=utc_now())
            (request,) = receiver.wait_for(1)
    (delivery,) = world.deliveries()
    assert delivery.state == DELIVERED
    assert request.header("webhook-id") == str(delivery.id)
    assert request.body == delivery.body


@pytest.mark.parametrize(
    ("animal", "said"),
    [
        (zoo.says(zoo.http(302, b"", "Location: https://new.example/hook")), "Location: https://new.example/hook"),
        (zoo.says(zoo.http(200, b"x" * 70_000)), "Only the first 64 KB of the answer were read."),
        (zoo.truncates, "The connection broke before the end of the answer."),
    ],
)
def test_the_history_says_where_a_redirect_leads_and_what_is_missing_of_an_answer(
    database: Database, animal: zoo.Animal, said: str
) -> None:
    world = World(database)
    with zoo.Cage(animal) as cage:
        world.webhook(BEFORE, spec(cage.url))
        with working(database, cage):
            world.publish(report("1.1", BEFORE), now=utc_now())
            wait_until(lambda: states(world) <= {DELIVERED, FAILED})
    (delivery,) = world.deliveries()
    (attempt,) = world.attempts(delivery)
    assert attempt.message == delivery.message
    assert attempt.message.startswith("The receiver answered")
    assert attempt.message.endswith(said)


def test_a_publish_of_this_process_rings_with_its_commit(tmp_path: Path, sqlite_template: Path) -> None:
    """And not only when the listener next looks at the file."""
    path = tmp_path / "bell.sqlite3"
    path.write_bytes(sqlite_template.read_bytes())
    database = open_database(f"sqlite:///{path}")
    world = World(database)
    world.webhook(BEFORE)
    rung_by: set[threading.Thread] = set()
    context = context_of(database)
    listener = WakeupListener(database, context.wakeups, lambda: rung_by.add(threading.current_thread()))
    listener.start()
    publish(context, {world.pbx_id: [report("1.1", BEFORE)]}, utc_now())
    listener.stop()
    database.close()
    assert threading.current_thread() in rung_by


def test_another_process_wakes_the_worker_at_once(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "LOOK_AGAIN", NEVER)
    world = World(database)
    publisher = open_database(database_url)
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        with working(database, receiver) as worker:
            wait_until(lambda: worker.in_flight == 0)
            publish(context_of(publisher), {world.pbx_id: [report("1.1", BEFORE)]}, utc_now())
            receiver.wait_for(1)
    publisher.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer for which nothing waits is not recorded by itself."""
    monkeypatch.setattr(worker_module, "GATHER_MORE", NEVER)


@pytest.mark.usefixtures("patient")
def test_the_next_webhook_of_a_chain_goes_at_once(database: Database) -> None:
    world = World(database)
    with Receiver() as receiver:
        world.webhook(what=spec(receiver.url, on_success="next"))
        world.webhook("chain", spec(receiver.url), name="next")
        with working(database, receiver):
            world.publish(report("1.1", BEFORE), now=utc_now())
            receiver.wait_for(2)
    assert states(world) == {DELIVERED}, "a worker that stops records what it has"


@pytest.mark.usefixtures("patient")
def test_a_delivery_that_waits_for_a_place_has_it_as_soon_as_another_is_answered(database: Database) -> None:
    world = World(database)
    with Receiver() as receiver:
        world.webhook(what=spec(receiver.url, in_flight=1))
        with working(database, receiver):
            world.publish(report("1.1", BEFORE), report("1.2", BEFORE), now=utc_now())
            receiver.wait_for(2)


@pytest.mark.usefixtures("patient")
def test_an_answer_may_wait_but_a_new_call_does_not(database: Database) -> None:
    world = World(database)
    with Receiver() as receiver:
        world.webhook(what=spec(receiver.url))
        with working(database, receiver):
            for number in range(3):
                world.publish(report(f"1.{number}", BEFORE), now=utc_now())
                receiver.wait_for(number + 1)


@pytest.mark.slow
def test_a_retry_goes_when_it_is_due_without_any_ring(database: Database) -> None:
    world = World(database)
    answers = iter([Reply(503), Reply(200)])
    with Receiver(lambda _: next(answers)) as receiver:
        world.webhook(BEFORE, spec(receiver.url, Retry("own", (1,))))
        with working(database, receiver):
            world.publish(report("1.1", BEFORE), now=utc_now())
            first, second = receiver.wait_for(2)
            wait_until(lambda: states(world) == {DELIVERED})
    assert second.received_on > first.received_on
    assert (first.header("webhook-attempt"), second.header("webhook-attempt")) == (None, "2")
    assert first.header("webhook-id") == second.header("webhook-id")


@pytest.mark.slow
def test_one_hanging_receiver_does_not_hold_up_the_others(database: Database) -> None:
    world = World(database)
    with ExitStack() as stack, Receiver() as healthy:
        hanging = stack.enter_context(Receiver(lambda _: Reply(delay=2 * DEADLINE)))
        world.webhook(BEFORE, spec(hanging.url, deadline=DEADLINE))
        world.webhook(BEFORE, spec(healthy.url))
        with working(database, hanging, healthy):
            calls = [report(f"1.{number}", BEFORE) for number in range(200)]
            world.publish(*calls, now=utc_now())
            healthy.wait_for(200, DEADLINE)
            hanging.wait_for(8)
            assert hanging.count == 8
            stack.close()  # the worker stops without waiting for its answers


@pytest.mark.slow
def test_the_ami_of_a_pbx_added_while_the_worker_runs_cannot_be_reached(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    world = World(database)
    settings = read_settings(
        {
            "PBXHUB_DATA_DIR": str(tmp_path),
            "PBXHUB_DATABASE_URL": database_url,
            "PBXHUB_ALLOWED_NETWORKS": "127.0.0.0/8",
        }
    )

    def one_more(number: int) -> str:
        world.publish(report(f"1.{number}", BEFORE), now=utc_now())
        wait_until(lambda: states(world).isdisjoint({PENDING}))
        return world.deliveries()[-1].outcome

    with Receiver() as receiver, serving(OpenHub(settings, open_context(settings, database, VAULT))):
        world.webhook(BEFORE, spec(receiver.url))
        assert one_more(0) == "ok"
        with database.write() as session:
            pbx = session.get_one(Pbx, world.pbx_id)
            pbx.port, pbx.any_network = receiver.port, True  # an operator has put it there
        numbers = iter(range(1, 1000))
        wait_until(lambda: one_more(next(numbers)) == "blocked_target")


@pytest.mark.slow
def test_stopping_records_what_is_in_flight(database: Database) -> None:
    world = World(database)
    with Receiver(lambda _: Reply(delay=0.5)) as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        with working(database, receiver):
            world.publish(report("1.1", BEFORE), now=utc_now())
            receiver.wait_for(1)
        assert states(world) == {DELIVERED}


@pytest.mark.slow
def test_a_clock_that_jumps_ahead_repeats_what_is_in_flight_and_stops_nothing(database: Database) -> None:
    world = World(database)
    ahead = timedelta(0)
    answers = iter([Reply(delay=worker_module.LOOK_AGAIN + 3)])  # the worker looks at its clock before that
    with Receiver(lambda _: next(answers, Reply())) as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        with working(database, receiver, clock=lambda: utc_now() + ahead) as worker:
            world.publish(report("1.1", BEFORE), now=utc_now())
            receiver.wait_for(1)
            ahead = timedelta(hours=1)  # the machine slept: every lease is over, while the answer is still to come
            receiver.wait_for(2)
            wait_until(lambda: worker.in_flight == 0)
            world.publish(report("1.2", BEFORE), now=utc_now())
            receiver.wait_for(3)
            wait_until(lambda: states(world) == {DELIVERED} and worker.in_flight == 0)
    assert [len(world.attempts(delivery)) for delivery in world.deliveries()] == [2, 1]
    assert {request.header("webhook-id") for request in receiver.requests} == {str(d.id) for d in world.deliveries()}


def claimed_at(world: World, moment: datetime) -> datetime:
    """Claims everything by a clock that says so, as a worker that is killed then. The end of the lease."""
    with world.database.write() as session:
        claim(context_of(world.database), session, 100, moment)
    return world.deliveries()[-1].due_at


def test_what_a_killed_worker_held_is_free_when_its_request_would_be_over_though_the_clock_was_set_back(
    database: Database,
) -> None:
    world = World(database)
    world.webhook(BEFORE, spec())
    world.publish(report("1.1", BEFORE), now=utc_now())
    lease = claimed_at(world, utc_now() + timedelta(hours=1))
    length = (timedelta(seconds=spec().limits.deadline) + LEASE).total_seconds()
    leases = WrongLeases()
    for moment in (100.0, 100.0 + length - 1):
        with database.write() as session:
            leases.end(session, utc_now(), moment)
        assert world.deliveries()[0].due_at == lease
    with database.write() as session:
        leases.end(session, utc_now(), 100.0 + length)
    with database.write() as session:
        (again,) = claim(context_of(database), session, 100, utc_now()).claimed
    assert again.attempt == 2


def test_a_host_whose_clock_is_ahead_does_not_send_again_what_it_is_sending(database: Database) -> None:
    world = World(database)
    world.webhook(BEFORE, spec())
    world.publish(report("1.1", BEFORE), now=utc_now())
    claimed_at(world, utc_now() + timedelta(hours=1))
    with database.write() as session:
        WrongLeases().end(session, utc_now(), 0.0)
    with database.write() as session:
        assert claim(context_of(database), session, 100, utc_now() + timedelta(hours=1)).claimed == ()


def test_a_lease_as_long_as_a_request_may_take_is_no_wrong_one(database: Database) -> None:
    world = World(database)
    world.webhook(BEFORE, spec(deadline=60))
    world.publish(report("1.1", BEFORE), now=utc_now())
    lease = claimed_at(world, utc_now())
    leases = WrongLeases()
    for moment in (0.0, 1000.0):
        with database.write() as session:
            leases.end(session, utc_now(), moment)
    assert world.deliveries()[0].due_at == lease


def test_a_webhook_whose_keys_are_damaged_fails_alone_and_keeps_no_place(database: Database) -> None:
    world = World(database)
    with Receiver() as receiver:
        damaged = world.webhook(BEFORE, spec(receiver.url), signing_sealed=VAULT.seal("not what seal_keys has made"))
        world.webhook(BEFORE, spec(receiver.url))
        with working(database, receiver) as worker:
            calls = [report(f"1.{number}", BEFORE) for number in range(3)]
            world.publish(*calls, now=utc_now())
            wait_until(lambda: states(world) == {DELIVERED, FAILED})
            wait_until(lambda: worker.in_flight == 0)
    assert {(row.state, row.outcome) for row in world.deliveries(Delivery.webhook_id == damaged)} == {
        (FAILED, "render_error")
    }
    assert receiver.count == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Worker, ForgetfulWorker])
def test_a_database_that_refuses_to_write_only_delays(
    tmp_path: Path, sqlite_template: Path, kind: type[Worker]
) -> None:
    """The twin, with a bug in the worker, must fail."""
    path = tmp_path / "full.sqlite3"
    path.write_bytes(sqlite_template.read_bytes())
    database = open_database(f"sqlite:///{path}")
    world = World(database)
    refused: list[str] = []

    def refuse(connection: object, cursor: object, statement: str, *_: object) -> None:
        """The connection becomes read-only for the first three recordings."""
        if "UPDATE attempt" in statement and len(refused) < 3:
            refused.append(statement)
            cursor.execute("PRAGMA query_only = ON")  # type: ignore[attr-defined]
        else:
            cursor.execute("PRAGMA query_only = OFF")  # type: ignore[attr-defined]

    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        event.listen(database.engine, "before_cursor_execute", refuse)
        with working(database, receiver, kind=kind), fails_if(kind is not Worker):
            world.publish(report("1.1", BEFORE), now=utc_now())
            wait_until(lambda: states(world) == {DELIVERED}, seconds=PATIENCE if kind is Worker else 5.0)
            assert receiver.count == 1
            assert len(refused) == 3
            (attempt,) = world.attempts(world.deliveries()[0])
            assert attempt.outcome == "ok"
    database.close()


def test_a_full_disk_fails_the_publish_as_a_whole_and_it_can_be_repeated(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "full.sqlite3"
    path.write_bytes(sqlite_template.read_bytes())
    database = open_database(f"sqlite:///{path}", pool_size=1)
    world = World(database)
    world.webhook()
    calls = [report(f"1.{number}", BEFORE, values={"trunk": "x" * 5000}) for number in range(100)]
    limit(database, "PRAGMA page_count")
    with pytest.raises(Exception, match="full"):
        world.publish(*calls, now=utc_now())
    assert world.deliveries() == []
    limit(database, "SELECT 1000000")
    assert world.publish(*calls, now=utc_now()).deliveries == 100
    database.close()


def limit(database: Database, pages: str) -> None:
    with database.engine.connect() as connection:
        number = connection.exec_driver_sql(pages).scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {number}")


def test_prometheus_sees_what_was_sent_and_what_waits(database: Database) -> None:
    world = World(database)
    registry = CollectorRegistry()
    registry.register(QueueMetrics(context_of(database)))
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        world.publish(report("1.1", BEFORE), now=utc_now())
        assert 'pbxhub_deliveries_due{lane="first"} 1.0' in generate_latest(registry).decode()
        with working(database, receiver, metrics=WorkerMetrics(registry)):
            wait_until(lambda: states(world) == {DELIVERED})
    text = generate_latest(registry).decode()
    assert 'pbxhub_attempts_total{lane="first",outcome="ok"} 1.0' in text
    assert 'pbxhub_deliveries_due{lane="first"} 0.0' in text
