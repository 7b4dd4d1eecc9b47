"""A worker that stands still in the middle of something holds up the others for seconds, and spoils nothing later."""

import os
import signal
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from pbxhub.delivery.outbox import Finished, claim, record
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import DELIVERED
from pbxhub.store.session import Database, open_database
from pbxhub.testing.receivers.receiver import Receiver, Reply
from tests.support.killing import Child, attempt_of
from tests.support.locks import waiting_for_nobody
from tests.support.outbox_world import (
    BEFORE,
    BUSY,
    OK,
    VAULT,
    World,
    at,
    context_of,
    finish,
    report,
    spec,
    take,
)
from tests.support.pgbouncer import pgbouncer
from tests.support.waiting import wait_until

# Seconds. PostgreSQL grants a frozen process 3 and the rest is for a busy machine; forgotten, that would be a minute.
FEW = 40.0
pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture(params=["straight", "by PgBouncer"])
def address(request: pytest.FixtureRequest, database_url: str) -> Iterator[str]:
    """Of the database, as the hub is told it."""
    if request.param == "straight":
        yield database_url
        return
    with pgbouncer(database_url, "transaction") as url:
        yield url


@pytest.fixture
def database(address: str, database_url: str) -> Iterator[Database]:
    database = open_database(address, direct_url=database_url)
    yield database
    database.close()


@pytest.fixture
def variables(address: str, database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_DATABASE_URL": address, "PBXHUB_AGI": "",
        "PBXHUB_DATABASE_DIRECT_URL": database_url,
        "PBXHUB_SECRET_KEY": urlsafe_b64encode(VAULT.key).decode(), "PBXHUB_ALLOWED_NETWORKS": "127.0.0.0/8",
    }  # fmt: skip


@contextmanager
def worker(variables: dict[str, str]) -> Iterator[Child]:
    """A process of its own, thawed at the end whatever happens."""
    child = Child("worker", variables)
    try:
        yield child
        child.end()
    finally:
        if child.alive:
            thaw(child)
            child.kill()


def freeze(child: Child) -> None:
    os.kill(child.pid, signal.SIGSTOP)


def thaw(child: Child) -> None:
    os.kill(child.pid, signal.SIGCONT)
    child.go()


def test_a_worker_frozen_while_it_chooses_loses_its_turn(database: Database, variables: dict[str, str]) -> None:
    world = World(database)
    with Receiver() as receiver, worker(variables) as frozen:
        world.webhook(BEFORE, spec(receiver.url))
        frozen.arm("claim before commit")
        world.publish(report("1.1", BEFORE), now=utc_now())
        frozen.stand("claim before commit")
        freeze(frozen)
        with worker(variables):
            receiver.wait_for(1, FEW)
            world.publish(report("1.2", BEFORE), now=utc_now())
            receiver.wait_for(2, FEW)
            wait_until(lambda: {row.state for row in world.deliveries()} == {DELIVERED}, "both are delivered")
        thaw(frozen)  # and alone: it finds its transaction gone, and goes on
        world.publish(report("1.3", BEFORE), now=utc_now())
        receiver.wait_for(3, FEW)
    assert [len(world.attempts(row)) for row in world.deliveries()] == [1, 1, 1]
    assert len({attempt_of(request) for request in receiver.requests}) == receiver.count == 3


def test_a_worker_frozen_with_an_answer_tells_what_it_was_and_changes_nothing_else(
    database: Database, variables: dict[str, str]
) -> None:
    world = World(database)
    answers = iter([Reply(503)])
    with Receiver(lambda _: next(answers, Reply())) as receiver, worker(variables) as frozen:
        world.webhook(BEFORE, spec(receiver.url))
        frozen.arm("after answer")
        world.publish(report("1.1", BEFORE), now=utc_now())
        frozen.stand("after answer")
        freeze(frozen)
        with worker(variables):
            receiver.wait_for(2, FEW)
            wait_until(lambda: world.deliveries()[0].state == DELIVERED, "the other worker delivers")
            (before,) = world.deliveries()
            thaw(frozen)
            wait_until(lambda: world.attempts(before)[0].outcome == "http_5xx", "the late answer is kept")
    (delivery,) = world.deliveries()
    assert (delivery.state, delivery.outcome, delivery.finished_on) == (DELIVERED, "ok", before.finished_on)
    assert [row.outcome for row in world.attempts(delivery)] == ["http_5xx", "ok"]
    assert [attempt_of(request) for request in receiver.requests] == [(str(delivery.id), 1), (str(delivery.id), 2)]


def test_who_comes_while_another_chooses_goes_on_at_once_and_asks_again_soon(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    with database.write() as choosing:
        (taken,) = claim(context_of(database), choosing, 100, at(1)).claimed
        with waiting_for_nobody(database):
            meanwhile = take(database, 1)
    assert taken.attempt == 1
    assert meanwhile.claimed == ()
    assert at(1) < (meanwhile.next_due or at(99)) < at(1.1)


def test_a_process_frozen_over_the_health_of_a_webhook_holds_nobody_up_for_long(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE), report("1.2", BEFORE))
    first, second = take(database, 0).claimed
    with ExitStack() as frozen:
        session = frozen.enter_context(database.write())
        record(context_of(database), session, [Finished(first, BUSY, (), at(1))], at(1))
        finish(database, [second], BUSY, 1)  # or it would give up waiting for the lock, after 10 s
        with pytest.raises(OperationalError):
            frozen.close()
    finish(database, [first], OK, 2)  # what the worker does when the database was away
    assert {row.id: row.outcome for row in world.deliveries()} == {first.id: "ok", second.id: "http_5xx"}
