"""A user spares a receiver: at most so many requests a minute, and some time after the event."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from pbxhub.delivery.outbox import cancel_pending, resend_one
from pbxhub.delivery.outbox.wait_for_answer import release_all
from pbxhub.sending.exchange import Answer
from pbxhub.sending.outcomes import FILE_NOT_READY
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, PENDING
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.webhooks.check import problems
from pbxhub.webhooks.spec import Limits, Retry, Steering, WebhookSpec
from tests.support.outbox_world import (
    AFTER,
    BEFORE,
    BUSY,
    FORWARD,
    OK,
    World,
    at,
    context_of,
    finish,
    forward,
    report,
    spec,
    take,
)


def limited(per_minute: int = 0, delay: int = 0, **more: Any) -> WebhookSpec:
    made = spec(**more)
    return WebhookSpec(
        made.request, retry=made.retry, limits=Limits(100, 10, per_minute, delay), wait_for=made.wait_for
    )


def calls(number: int) -> list[Any]:
    return [report(f"1.{one}", BEFORE) for one in range(number)]


def test_no_minute_has_more_requests_than_the_rate(database: Database) -> None:
    world = World(database)
    world.webhook(what=limited(per_minute=20))
    world.publish(*calls(30))
    sent: list[float] = []
    time = 0.0
    while len(sent) < 30 and time < 200:
        batch = take(database, time)
        sent += [time] * len(batch.claimed)
        finish(database, batch.claimed, OK, time)
        time += 0.5
    assert len(sent) == 30
    for start in sent:
        assert sum(start <= one < start + 60 for one in sent) <= 20
    assert sent[-1] == 29 * 3.0, "and no slower than that"


def test_the_worker_is_told_when_the_next_one_may_leave(database: Database) -> None:
    world = World(database)
    world.webhook(what=limited(per_minute=6))
    world.publish(*calls(2))
    assert len(take(database, 0).claimed) == 1
    waiting = take(database, 1)
    assert (waiting.claimed, waiting.next_due) == ((), at(10))
    assert take(database, 9.9).claimed == ()
    assert len(take(database, 10).claimed) == 1


def test_the_oldest_goes_first_and_retries_count(database: Database) -> None:
    world = World(database)
    world.webhook(what=limited(per_minute=6, retry=Retry("own", (1,))))
    world.publish(*calls(2))
    first = take(database, 0).claimed
    finish(database, first, BUSY, 0)
    second, third = take(database, 10).claimed, take(database, 20).claimed
    assert {one.id for one in (*second, *third)} == {one.id for one in world.deliveries()}
    assert len(second) == len(third) == 1


NOT_READY = Answer(FILE_NOT_READY, "")


def test_a_recording_that_is_not_ready_lets_another_request_leave(database: Database) -> None:
    world = World(database)
    world.webhook(what=limited(per_minute=6))
    world.publish(*calls(3))
    first = take(database, 0).claimed
    finish(database, first, NOT_READY, 1)
    second = take(database, 1).claimed
    assert len(second) == 1
    assert second[0].id != first[0].id
    finish(database, second, OK, 1)
    assert take(database, 10).claimed == ()
    assert len(take(database, 11).claimed) == 1


def test_a_turn_is_not_given_back_after_the_next_request_has_left(database: Database) -> None:
    world = World(database)
    world.webhook(what=limited(per_minute=6))
    world.publish(*calls(3))
    first, second = take(database, 0).claimed, take(database, 10).claimed
    assert len(second) == 1
    finish(database, first, NOT_READY, 12)
    assert take(database, 12).claimed == ()


def test_a_rate_is_kept_for_the_webhook_alone(database: Database) -> None:
    world = World(database)
    world.webhook(what=limited(per_minute=1))
    other = world.webhook()
    world.publish(*calls(5))
    claimed = [one.webhook.id for one in take(database, 0).claimed + take(database, 1).claimed]
    assert claimed.count(other) == 5
    assert len(claimed) == 6


def test_a_rate_is_kept_over_a_lost_worker(database: Database) -> None:
    world = World(database)
    world.webhook(what=limited(per_minute=6))
    world.publish(*calls(2))
    take(database, 0)  # killed: nothing is recorded, and another process goes on
    assert take(database, 5).claimed == ()
    assert len(take(database, 10).claimed) == 1
    assert len(take(database, 60).claimed) == 1


def test_a_host_whose_clock_is_ahead_silences_no_webhook(database: Database) -> None:
    world = World(database)
    world.webhook(what=limited(per_minute=60))
    world.publish(*calls(2))
    assert len(take(database, 3600).claimed) == 1
    assert len(take(database, 1).claimed) == 1


def test_clocks_that_differ_by_seconds_keep_the_rate(database: Database) -> None:
    world = World(database)
    world.webhook(what=limited(per_minute=1))
    world.publish(*calls(2))
    assert len(take(database, 30).claimed) == 1
    assert take(database, 0).claimed == ()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite locks no rows
def test_a_claim_does_not_wait_for_somebody_who_changes_a_webhook_with_a_rate(database: Database) -> None:
    """Its first pace: with a foreign key to the webhook, this claim failed, for all webhooks."""
    world = World(database)
    webhook_id = world.webhook(what=limited(per_minute=60))
    world.webhook()
    world.publish(*calls(1))
    with database.engine.begin() as connection:
        connection.execute(select(Webhook.id).where(Webhook.id == webhook_id).with_for_update())
        assert len(take(database, 0).claimed) == 2


def test_many_webhooks_with_a_rate_are_paced_by_one_statement(database: Database) -> None:
    world = World(database)
    for _ in range(32):
        world.webhook(what=limited(per_minute=60))
    world.publish(*calls(1))
    with statements(database) as seen:
        assert len(take(database, 0).claimed) == 32
    assert len([one for one in seen if one.startswith("INSERT INTO webhook_pace")]) == 1


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that are executed inside, each once for all its rows."""
    seen: list[str] = []

    def see(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        seen.append(statement)

    event.listen(database.engine, "before_cursor_execute", see)
    try:
        yield seen
    finally:
        event.remove(database.engine, "before_cursor_execute", see)


def test_what_waits_for_its_turn_goes_with_its_webhook(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook(what=limited(per_minute=1))
    world.publish(*calls(3))
    take(database, 0)
    with database.write() as session:
        session.get_one(Webhook, webhook_id).enabled = False
        touch_webhooks(session, world.project_id)
    take(database, 2)
    assert [one.state for one in world.deliveries()].count(CANCELLED) == 2


def test_a_request_leaves_the_delay_after_the_event(database: Database) -> None:
    world = World(database)
    world.webhook(what=limited(delay=300))
    world.publish(*calls(1))
    waiting = take(database, 299)
    assert (waiting.claimed, waiting.next_due) == ((), at(300))
    finish(database, take(database, 300).claimed, OK, 300)
    assert world.deliveries()[0].state == DELIVERED


def test_a_retry_is_not_delayed_again(database: Database) -> None:
    world = World(database)
    world.webhook(what=limited(delay=300, retry=Retry("own", (5,))))
    world.publish(*calls(1))
    finish(database, take(database, 300).claimed, BUSY, 300)
    assert world.deliveries()[0].due_at == at(305)


@pytest.mark.parametrize("delay", [10, 300])
def test_delayed_requests_of_a_call_keep_their_order_and_their_distance(database: Database, delay: int) -> None:
    world = World(database)
    world.webhook(FORWARD, limited(delay=delay))
    world.publish(report("1.1", forward("101")))
    world.publish(report("1.1", forward("102", 2)), now=at(5))
    (first,) = take(database, delay).claimed
    finish(database, [first], OK, delay + 1)
    assert take(database, delay + 4.9).claimed == (), "its own delay is not over"
    (second,) = take(database, delay + 5).claimed
    assert first.id < second.id
    assert not any(one.out_of_order for one in world.deliveries())


def test_what_is_sent_again_does_not_wait_for_its_old_delay(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook(FORWARD, limited(delay=300))
    world.publish(report("1.1", forward("101")))
    world.publish(report("1.1", forward("102", 2)), now=at(5))
    with database.write() as session:
        cancel_pending(session, webhook_id, at(10))
    for delivery in world.deliveries():
        with database.write() as session:
            resend_one(context_of(database), session, world.project_id, delivery.id, at(11))
    finish(database, take(database, 12).claimed, OK, 13)
    finish(database, take(database, 14).claimed, OK, 15)
    assert {one.state for one in world.deliveries()} == {DELIVERED}


def test_a_delayed_request_still_waits_for_the_one_ahead(database: Database) -> None:
    world = World(database)
    world.webhook(FORWARD, limited(delay=60))
    world.publish(report("1.1", forward("101")))
    world.publish(report("1.1", forward("102", 2)), now=at(5))
    (first,) = take(database, 60).claimed
    assert take(database, 66).claimed == (), "the one ahead is in flight"
    finish(database, [first], OK, 67)
    assert len(take(database, 67).claimed) == 1


def test_what_waits_for_an_answer_is_delayed_from_then_on(database: Database) -> None:
    world = World(database)
    world.webhook(name="Register")
    world.webhook(AFTER, limited(delay=60, wait_for="Register"))
    world.publish(report("1.1", BEFORE))
    world.publish(report("1.1", AFTER, ended=3), now=at(3))
    finish(database, take(database, 10).claimed, OK, 10)
    release_all(context_of(database), at(11))
    (late,) = [one for one in world.deliveries() if one.state == PENDING]
    assert late.due_at - at(10) in (timedelta(seconds=60), timedelta(seconds=61))
    assert take(database, 69).claimed == ()
    assert len(take(database, 71).claimed) == 1


@pytest.mark.parametrize(
    ("limits", "path"),
    [
        (Limits(per_minute=601), "limits.per_minute"),
        (Limits(per_minute=-1), "limits.per_minute"),
        (Limits(delay=86_401), "limits.delay"),
        (Limits(delay=-1), "limits.delay"),
    ],
)
def test_a_rate_or_a_delay_out_of_range_is_refused(limits: Limits, path: str) -> None:
    made = spec()
    errors = problems(WebhookSpec(made.request, limits=limits))
    assert [error.path for error in errors] == [path]
    assert "give 0 to" in errors[0].message


def test_a_call_that_waits_for_the_answer_is_not_delayed() -> None:
    made = spec()
    for limits in (Limits(delay=5), Limits(per_minute=5)):
        errors = problems(WebhookSpec(made.request, limits=limits, steering=Steering()))
        assert "sent at once" in errors[0].message
