"""Somebody sends a webhook the stages that it has not got: it is new, was off, or its conditions refused them."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, update

from pbxhub.delivery.outbox import (
    CannotResendError,
    Missing,
    count_missing,
    first_known,
    order_missing,
    send_missing,
    step_resends,
    stop_resend,
)
from pbxhub.store.delivery_rows import BULK, PENDING, Delivery
from pbxhub.store.history import StageEvent
from pbxhub.store.resends import DONE, RUNNING, STOPPED, Resend
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.webhooks.spec import Filter
from tests.support.outbox_world import BEFORE, NOON, OK, World, at, context_of, finish, forward, report, spec, take

ALL = Missing(0, "incoming.before", NOON - timedelta(hours=1), at(60))


def late(database: Database, calls: int, **what: Any) -> tuple[World, Missing]:
    """A world whose calls began before its second webhook was added."""
    world = World(database)
    world.webhook(what=spec(in_flight=100))
    world.publish(*(report(f"1.{call}", BEFORE) for call in range(calls)))
    finish(database, take(database, 0).claimed, OK, 1)
    number = world.webhook(what=spec(in_flight=100, **what))
    return world, Missing(number, ALL.stage, ALL.since, ALL.until)


def order(database: Database, world: World, wanted: Missing, rate: int = 100) -> Resend:
    with database.write() as session:
        total = count_missing(session, world.project_id, wanted)
        return order_missing(session, world.project_id, wanted, total, at(10), rate=rate)


def step(database: Database, seconds: float) -> int:
    return step_resends(context_of(database), at(seconds))


def progress(database: Database, row: Resend) -> tuple[str, int, int, int]:
    with database.read() as session:
        found = session.get_one(Resend, row.id)
        return found.state, found.total, found.queued, found.skipped


def of_webhook(world: World, wanted: Missing) -> list[Delivery]:
    return [row for row in world.deliveries() if row.webhook_id == wanted.webhook_id]


def test_what_a_new_webhook_has_not_got_is_counted_and_sent_once_at_its_rate_behind_live_calls(
    database: Database,
) -> None:
    world, wanted = late(database, 25)
    with database.read() as session:
        assert count_missing(session, world.project_id, wanted) == 25
        assert count_missing(session, world.project_id + 1, wanted) == 0
    first = order(database, world, wanted, rate=10)
    assert [step(database, second) for second in (10, 11, 12)] == [0, 10, 10]
    second = order(database, world, wanted)
    assert step(database, 13) == 5
    assert step(database, 14) == 0
    assert progress(database, first) == (DONE, 25, 25, 0)
    assert progress(database, second)[::2] == (DONE, 0)
    claimed = take(database, 14).claimed
    assert [one.lane for one in claimed] == [BULK] * 25
    assert len({one.call_id for one in claimed}) == 25
    finish(database, claimed, OK, 15)
    with database.read() as session:
        assert count_missing(session, world.project_id, wanted) == 0


def test_the_conditions_of_the_webhook_decide_unless_all_are_wanted(database: Database) -> None:
    nobody = (Filter("caller", "equals", "nobody"),)
    world, wanted = late(database, 3, filters=nobody)
    one = order(database, world, wanted)
    step(database, 11)
    assert progress(database, one) == (DONE, 3, 0, 3)
    everything = order(database, world, replace(wanted, refused=True))
    step(database, 12)
    assert progress(database, everything) == (DONE, 3, 3, 0)


def test_each_order_is_stepped_in_a_transaction_of_its_own(database: Database) -> None:
    """So that many orders, of up to 200 deliveries a step, keep nobody else waiting to write for all of them."""
    world, wanted = late(database, 3)
    first, second = order(database, world, wanted), order(database, world, wanted)
    with database.write() as session:
        session.get_one(Resend, second.id).selection = {"missing": {}}
    with pytest.raises(KeyError):
        step(database, 11)
    assert progress(database, first) == (DONE, 3, 3, 0)


def test_stages_of_another_time_are_left_out(database: Database) -> None:
    world, wanted = late(database, 2)
    before = replace(wanted, until=NOON)
    with database.read() as session:
        assert count_missing(session, world.project_id, before) == 0


def test_what_may_have_been_sent_and_deleted_is_neither_counted_nor_sent(database: Database) -> None:
    """Deliveries are kept for a shorter time than calls: without one, an old stage is not missing."""
    world, wanted = late(database, 3)
    context, later = context_of(database), at(10) + timedelta(days=30)
    assert first_known(context, at(10)) < NOON < first_known(context, later)
    ordered_in_time = order(database, world, wanted)
    assert step(database, timedelta(days=30).total_seconds()) == 0
    assert progress(database, ordered_in_time) == (DONE, 3, 0, 0)
    with database.write() as session:
        stage = session.get_one(StageEvent, events(database, wanted.stage)[0])
        with pytest.raises(CannotResendError, match="kept for"):
            send_missing(context, session, stage, wanted.webhook_id, later)
    assert of_webhook(world, wanted) == []


def test_stopping_takes_back_what_no_worker_has_begun_and_a_new_order_finds_it(database: Database) -> None:
    world, wanted = late(database, 6)
    one = order(database, world, wanted, rate=4)
    step(database, 11)
    (begun,) = take(database, 11, limit=1).claimed
    with database.write() as session:
        assert stop_resend(session, world.project_id, one.id, at(12))
    assert progress(database, one) == (STOPPED, 6, 1, 0)
    assert [row.id for row in of_webhook(world, wanted)] == [begun.id]
    with database.read() as session:
        assert count_missing(session, world.project_id, wanted) == 5


def test_two_stages_of_a_call_go_in_their_order(database: Database) -> None:
    world = World(database)
    world.publish(report("1.1", BEFORE), report("1.1", forward("101")), report("1.1", forward("102", 2)))
    number = world.webhook("incoming.forward", what=spec(in_flight=100))
    one = order(database, world, Missing(number, "incoming.forward", ALL.since, ALL.until), rate=1)
    assert [step(database, second) for second in (11, 12)] == [1, 1]
    (first,) = take(database, 12).claimed
    assert first.stage_event_id == min(events(database, "incoming.forward"))
    finish(database, [first], OK, 13)
    assert len(take(database, 13).claimed) == 1
    assert progress(database, one)[2] == 2


def events(database: Database, stage: str) -> list[Any]:
    with database.read() as session:
        return list(session.scalars(select(StageEvent.id).where(StageEvent.stage == stage)))


def test_what_somebody_sends_by_hand_meanwhile_is_sent_once(database: Database) -> None:
    world, wanted = late(database, 3)
    one = order(database, world, wanted, rate=1)
    step(database, 11)
    with database.write() as session:
        stage = session.get_one(StageEvent, max(events(database, wanted.stage)))
        send_missing(context_of(database), session, stage, wanted.webhook_id, at(11))
        with pytest.raises(CannotResendError, match="has got this stage already"):
            send_missing(context_of(database), session, stage, wanted.webhook_id, at(11))
        assert session.scalars(select(Resend.state)).one() == RUNNING  # the transaction goes on
    assert [step(database, second) for second in (12, 13)] == [1, 0]
    assert progress(database, one) == (DONE, 3, 2, 0)
    assert [row.state for row in of_webhook(world, wanted)] == [PENDING] * 3


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_somebody_sends_by_hand_at_the_very_moment_is_sent_once_and_the_order_goes_on(database: Database) -> None:
    """Between reading what is missing and inserting it. On SQLite, one writer waits for the other."""
    world, wanted = late(database, 3)
    one, by_hand = order(database, world, wanted), events(database, wanted.stage)[1]

    pressed: list[str] = []

    def send_by_hand(*given: Any) -> None:
        if "NOT (EXISTS" in given[2] and not pressed:
            pressed.append(given[2])
            with database.write() as session:
                stage = session.get_one(StageEvent, by_hand)
                send_missing(context_of(database), session, stage, wanted.webhook_id, at(11))

    event.listen(database.engine, "after_cursor_execute", send_by_hand)
    assert step(database, 11) == 0
    assert len(pressed) == 1
    assert progress(database, one) == (RUNNING, 3, 0, 0)
    assert [row.stage_event_id for row in of_webhook(world, wanted)] == [by_hand]
    assert step(database, 12) == 2
    assert progress(database, one) == (DONE, 3, 2, 0)
    assert {row.stage_event_id for row in of_webhook(world, wanted)} == set(events(database, wanted.stage))


@pytest.mark.parametrize("changed", [{"enabled": False}, {"stage": "incoming.after"}])
def test_an_order_ends_when_its_webhook_is_switched_off_or_has_another_event(
    database: Database, changed: dict[str, Any]
) -> None:
    world, wanted = late(database, 3)
    one = order(database, world, wanted)
    with database.write() as session:
        session.execute(update(Webhook).where(Webhook.id == wanted.webhook_id).values(**changed))
        touch_webhooks(session, world.project_id)
    assert step(database, 11) == 0
    assert progress(database, one) == (DONE, 3, 0, 0)
