"""Rows that another transaction has locked on PostgreSQL: passed over where others can wait, waited for where not."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from pbxhub.delivery.background_jobs import BackgroundJobs
from pbxhub.delivery.outbox import (
    Claimed,
    Selection,
    cancel_pending,
    claim,
    order_resend,
    publish,
    remove_of_calls,
    remove_of_deliveries,
    step_one,
    step_resends,
)  # fmt: skip
from pbxhub.delivery.prune import prune
from pbxhub.notices.send_notices import send_due
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, PENDING, Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.notices import Notice
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.receivers.receiver import Receiver, Reply
from pbxhub.webhooks.spec import AnswerSpec, Saved
from tests.support.locks import errors_of_the_impatient, waiting_for_locks, waiting_for_nobody
from tests.support.outbox_world import (
    AFTER,
    BEFORE,
    BUSY,
    FORWARD,
    KEPT,
    NOON,
    OK,
    Answer,
    World,
    at,
    context_of,
    finish,
    forward,
    report,
    sick,
    spec,
    take,
)
from tests.support.sending import sending
from tests.support.waiting import PATIENCE, wait_until
from tests.support.working import working

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@contextmanager
def locked(database: Database, table: Any, *where: Any) -> Iterator[Session]:
    """Another process that has these rows and is in no hurry."""
    with database.write() as session:
        session.execute(select(table.id).where(*where).with_for_update())
        yield session


def calls(database: Database, number: int, *stages: str) -> World:
    """A world with that many calls and one webhook for each of the stages."""
    world = World(database)
    for stage in stages or (BEFORE,):
        world.webhook(stage, spec(in_flight=100))
    publish(
        context_of(database),
        {world.pbx_id: [report(f"1.{call}", *(stages or (BEFORE,))) for call in range(number)]},
        NOON,
    )
    return world


def test_every_connection_gives_up_waiting_for_a_lock(database: Database) -> None:
    with database.write() as session:
        assert session.scalar(text("SHOW lock_timeout")) == "10s"
        assert session.scalar(text("SHOW idle_in_transaction_session_timeout")) == "1min"
        assert session.scalar(text("SHOW tcp_user_timeout")) == "10000"


# --- passed over


def test_a_claim_passes_over_locked_deliveries_and_takes_them_when_they_are_free(database: Database) -> None:
    world = calls(database, 4)
    mine, *others = [row.id for row in world.deliveries()]
    with locked(database, Delivery, Delivery.id == mine), waiting_for_nobody(database):
        assert {one.id for one in take(database, 1).claimed} == set(others)
    assert [one.id for one in take(database, 2).claimed] == [mine]


def test_a_claim_passes_over_locked_deliveries_of_a_lost_worker(database: Database) -> None:
    """Their worker is recording them, late."""
    world = calls(database, 4)
    mine, *others = [one.id for one in take(database, 0).claimed]
    with locked(database, Delivery, Delivery.id == mine), waiting_for_nobody(database):
        assert {one.id for one in take(database, 40).claimed} == set(others)
    first = {row.id: world.attempts(row)[0].outcome for row in world.deliveries()}
    assert first == {mine: ""} | dict.fromkeys(others, "worker_lost")
    assert [one.id for one in take(database, 41).claimed] == [mine]


def test_a_claim_passes_over_a_locked_delivery_that_waits_for_its_turn_in_the_call(database: Database) -> None:
    """A listener is writing the next stage of the call."""
    world = World(database)
    world.webhook(FORWARD)
    world.webhook(BEFORE)
    for step in (1, 2):
        world.publish(report("1.1", forward("101", step)))
    first, second = world.deliveries()
    assert [one.id for one in take(database, 29).claimed] == [first.id]
    world.publish(report("1.2", BEFORE), now=at(31))
    with locked(database, Delivery, Delivery.id == second.id), waiting_for_nobody(database):
        (other,) = take(database, 31).claimed  # the second has had its time of waiting, but not since the first left
        assert other.call_id != second.call_id
    (held,) = world.deliveries(Delivery.id == second.id)
    assert (held.held, held.due_at) == (True, second.due_at)


def test_what_is_locked_when_its_webhook_is_disabled_is_cancelled_by_the_next_claim(database: Database) -> None:
    world = calls(database, 3)
    first = world.deliveries()[0].id
    with locked(database, Delivery, Delivery.id == first), waiting_for_nobody(database), database.write() as session:
        session.get_one(Webhook, world.webhooks[0]).enabled = False
        assert cancel_pending(session, world.webhooks[0], at(1)) == 2
    with database.write() as session:
        touch_webhooks(session, world.project_id)
    assert take(database, 2).claimed == ()
    assert [row.state for row in world.deliveries()] == [CANCELLED] * 3


def test_many_who_claim_at_once_claim_nothing_twice_and_leave_nothing(database: Database) -> None:
    world = calls(database, 200)
    start = threading.Barrier(4)

    def claim_all(_: int) -> list[Claimed]:
        mine: list[Claimed] = []
        start.wait()
        while any(row.claim_token is None for row in world.deliveries(Delivery.state == PENDING)):
            with database.write() as session:
                taken = claim(context_of(database), session, 7, at(1), chance=lambda: 0.0).claimed
            mine += taken
            finish(database, taken, OK, 2)
        return mine

    with ThreadPoolExecutor(4) as crowd:
        taken = [one for mine in crowd.map(claim_all, range(4)) for one in mine]
    assert set(Counter(one.id for one in taken).values()) == {1}
    assert [(row.state, row.attempts) for row in world.deliveries()] == [(DELIVERED, 1)] * 200


def test_a_bulk_resend_that_another_process_works_on_is_left_to_it(database: Database) -> None:
    world = calls(database, 50)
    finish(database, take(database, 0).claimed, BUSY, 1)
    with database.write() as session:
        order = order_resend(session, world.project_id, Selection(), 4, at(2), rate=20)
    with database.write() as busy:
        assert step_one(context_of(database), busy, order.id, at(3)) == 20
        with waiting_for_nobody(database):
            assert step_resends(context_of(database), at(3)) == 0
    assert len(world.deliveries(Delivery.state == PENDING)) == 20


def test_a_notice_that_another_process_is_sending_is_left_to_it(database: Database) -> None:
    with Receiver() as receiver, sending(receiver) as sender:
        sick(database, receiver.url)
        with locked(database, Notice), waiting_for_nobody(database):
            assert send_due(database, sender, None, at(2)) == 0
        assert send_due(database, sender, None, at(2)) == 1
        assert receiver.count == 1


@pytest.mark.usefixtures("old")
def test_old_history_that_is_in_use_goes_another_time(database: Database) -> None:
    world = calls(database, 3)
    finish(database, take(database, 0).claimed, OK, 1)
    first = world.deliveries()[0].id
    a_year = 370 * 24 * 3600
    with locked(database, Delivery, Delivery.id == first), waiting_for_nobody(database):
        assert prune(database, at(a_year), KEPT).deliveries == 2
    assert prune(database, at(a_year), KEPT).deliveries == 1


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids carry the time they were made: let these be made at NOON."""
    monkeypatch.setattr("pbxhub.store.ids.unix_ns", lambda: int(NOON.timestamp() * 1e9))
    monkeypatch.setattr("pbxhub.store.ids._last", 0)


# --- waited for, given up, and done again


def test_a_publish_that_meets_its_call_locked_writes_nothing_and_is_repeated(database: Database) -> None:
    world = calls(database, 1)
    later = [report("1.0", FORWARD, values={"forward_to": "101"}), report("1.1", BEFORE)]
    with (
        locked(database, Call),
        errors_of_the_impatient(database),
        pytest.raises(OperationalError, match="lock timeout"),
    ):
        world.publish(*later, now=at(1))
    assert count(database, StageEvent) == 1
    for _ in range(2):
        world.publish(*later, now=at(2))
    assert count(database, StageEvent) == 3
    assert len(world.deliveries()) == 2


def test_a_bulk_resend_that_meets_a_locked_delivery_goes_on_when_it_is_free(database: Database) -> None:
    world = calls(database, 30)
    finish(database, take(database, 0).claimed, BUSY, 1)
    with database.write() as session:
        order_resend(session, world.project_id, Selection(), 4, at(2), rate=1000)
    with ExitStack() as stack, sending() as sender:
        met = stack.enter_context(errors_of_the_impatient(database))
        holder = stack.enter_context(ExitStack())
        holder.enter_context(locked(database, Delivery, Delivery.id == world.deliveries()[7].id))
        jobs = BackgroundJobs(context_of(database, clock=lambda: at(5)), sender, KEPT)
        jobs.start()
        stack.callback(jobs.stop)
        wait_until(lambda: any("lock timeout" in error for error in met))
        assert {row.state for row in world.deliveries()} == {FAILED}
        holder.close()
        wait_until(lambda: {row.state for row in world.deliveries()} == {PENDING})
    assert [(row.attempts, row.tries) for row in world.deliveries()] == [(1, 0)] * 30


def test_a_worker_that_cannot_record_a_failure_yet_keeps_it_and_sends_nothing_twice(database: Database) -> None:
    world = World(database)
    with Receiver(lambda _: Reply(503)) as receiver, ExitStack() as stack:
        holder = stack.enter_context(ExitStack())
        webhook_id = world.webhook(BEFORE, spec(receiver.url))
        world.publish(report("1.1", BEFORE), report("1.2", BEFORE), now=utc_now())
        holder.enter_context(locked(database, Webhook, Webhook.id == webhook_id))
        met = stack.enter_context(errors_of_the_impatient(database))
        with working(database, receiver):
            wait_until(lambda: any("lock timeout" in error for error in met))
            assert {row.state for row in world.deliveries()} == {PENDING}
            holder.close()
            wait_until(lambda: {row.state for row in world.deliveries()} == {FAILED})
        assert receiver.count == 2
    assert [(row.attempts, row.outcome) for row in world.deliveries()] == [(1, "http_5xx")] * 2
    with database.read() as session:
        assert session.get_one(Webhook, webhook_id).failures == 2


def count(database: Database, table: Any) -> int:
    with database.read() as session:
        return len(session.scalars(select(table.id)).all())


def test_publish_and_record_lock_calls_of_several_pbxs_in_one_order(database: Database) -> None:
    """1. publish has the call of the first PBX; 2. record wants both; 3. publish goes on to the call of the second."""
    worlds = [World(database), World(database)]
    for world, linkedid in zip(worlds, ("9", "1"), strict=True):  # the later PBX has the lower linkedid
        world.webhook(BEFORE, spec(on_success="next"))
        world.publish(report(linkedid, BEFORE))
    claimed = take(database, 1).claimed
    assert len(claimed) == 2
    with ThreadPoolExecutor(1) as threads:
        with locked(database, Call, Call.pbx_id == worlds[0].pbx_id) as session:
            recording = threads.submit(finish, database, claimed, OK, 2)
            wait_until(lambda: waiting_for_locks(database))
            of_second = select(Call.id).where(Call.pbx_id == worlds[1].pbx_id)
            session.execute(of_second.with_for_update(nowait=True))
        assert [result.state for result in recording.result(PATIENCE)] == [DELIVERED, DELIVERED]


def test_recording_an_awaited_answer_locks_the_deliveries_of_its_call_in_one_order(database: Database) -> None:
    """1. A worker has the first delivery of the call; 2. record wants the second, whose answer releases the last one
    behind all that are pending; 3. the worker goes on to the second. record must not have it while it waits."""
    world = World(database)
    world.webhook(BEFORE, spec(), name="First")
    world.webhook(BEFORE, spec(answer=AnswerSpec(save=(Saved("ID", "id"),))), name="Register")
    world.webhook(AFTER, spec("http://127.0.0.1:9/<<webhook.saved.ID>>", wait_for="Register"), name="Finish")
    for stage, seconds in ((BEFORE, 0), (AFTER, 1)):
        world.publish(report("1.1", stage), now=at(seconds))
    first, register = sorted(take(database, 1).claimed, key=lambda one: one.id)
    with ThreadPoolExecutor(1) as threads:
        with locked(database, Delivery, Delivery.id == first.id) as session:
            recording = threads.submit(finish, database, [register], Answer("ok", "", 200, body=b'{"id":"C1"}'), 2)
            wait_until(lambda: waiting_for_locks(database))
            session.execute(select(Delivery.id).where(Delivery.id == register.id).with_for_update(nowait=True))
        assert [result.state for result in recording.result(PATIENCE)] == [DELIVERED]
    assert [one.request.url for one in take(database, 3).claimed] == ["http://127.0.0.1:9/C1"]


def test_publish_and_a_removal_lock_calls_in_one_order(database: Database) -> None:
    """1. publish has the call with the lowest linkedid; 2. a removal wants all; 3. publish goes on to the next ones."""
    world = World(database)
    world.webhook(AFTER)
    for linkedid in ("3", "2", "1"):  # their ids rise as their linkedids fall
        world.publish(report(linkedid, AFTER, ended=60))
    finish(database, take(database, 0).claimed, OK, 1)
    with database.read() as session:
        of_calls = session.scalars(select(Call.id)).all()
    sent = [one.id for one in world.deliveries()]

    def remove(one_kind: Callable[..., int], ids: Sequence[UUID]) -> int:
        with database.write() as session:
            return one_kind(session, world.project_id, ids, "owner", at(61))

    for remove_of, ids in ((remove_of_deliveries, sent), (remove_of_calls, of_calls)):
        with ThreadPoolExecutor(1) as threads:
            with locked(database, Call, Call.linkedid == "1") as session:
                removing = threads.submit(remove, remove_of, ids)
                wait_until(lambda: waiting_for_locks(database))
                session.execute(select(Call.id).where(Call.linkedid.in_(("2", "3"))).with_for_update(nowait=True))
            assert removing.result(PATIENCE) == 3
