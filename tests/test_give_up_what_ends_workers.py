"""A delivery whose workers have died five times in a row fails as any other does, with all that follows from it."""

import pytest
from sqlalchemy import select

from pbxhub.delivery.context import PauseRule
from pbxhub.delivery.outbox import Batch, Claimed
from pbxhub.sending.exchange import Answer
from pbxhub.store.delivery_rows import DELIVERED, FAILED, PENDING, Delivery
from pbxhub.store.events import EventRow
from pbxhub.store.notices import FIRST_FAILURE, PAUSED, Notice
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.receivers.receiver import Receiver
from pbxhub.webhooks.spec import Retry
from tests.support.outbox_world import BEFORE, World, at, finish, give_up, report, spec, take
from tests.support.waiting import wait_until
from tests.support.working import working

TELL = "http://127.0.0.1:9/<<error_reason>>/<<caller>>"


def lost_five_times(database: Database, retry: Retry | None = None) -> World:
    """One delivery of the first webhook, which has another one for failures."""
    world = World(database)
    world.webhook(BEFORE, spec(retry=retry, on_failure="tell"))
    world.publish(report("1.1", BEFORE), now=at(0))
    for number in range(5):
        (claimed,) = take(database, number * 40).claimed
        assert claimed.attempt == number + 1
    return world


def kinds(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Notice.kind).order_by(Notice.id)))


@pytest.mark.parametrize("retry", [None, Retry("own", (1, 2, 3))])
def test_the_webhook_for_failures_goes_and_the_people_are_told(database: Database, retry: Retry | None) -> None:
    world = lost_five_times(database, retry)
    world.webhook("chain", spec(url=TELL), name="tell")
    (result,) = give_up(database, take(database, 200), 201)
    assert (result.owned, result.state) == (True, FAILED)
    first, tells = world.deliveries()
    assert (first.outcome, first.finished_on, first.claim_token) == ("worker_lost", at(201), None)
    assert "the hub stops trying" in first.message
    assert [row.outcome for row in world.attempts(first)] == ["worker_lost"] * 5
    assert (tells.kind, tells.state) == ("chain", PENDING)
    assert tells.url == "http://127.0.0.1:9/UNKNOWN/%2B380441234567"
    assert kinds(database) == [FIRST_FAILURE]
    with database.read() as session:
        assert session.get_one(Webhook, world.webhooks[0]).failures == 1
        events = session.scalars(select(EventRow).where(EventRow.type == "webhook_called")).all()
    assert [row.data for row in events] == [{"delivery_id": str(first.id), "attempt": 5}]


def test_it_counts_towards_the_pause(database: Database) -> None:
    world = lost_five_times(database)
    give_up(database, take(database, 200), 201, PauseRule(failures=1, over=at(0) - at(0)))
    assert kinds(database) == [FIRST_FAILURE, PAUSED]
    with database.read() as session:
        assert session.get_one(Webhook, world.webhooks[0]).paused_on == at(201)


def test_a_worker_that_dies_before_it_has_told_leaves_it_to_the_next(database: Database) -> None:
    world = lost_five_times(database)
    (forgotten,) = take(database, 200).given_up
    assert take(database, 201) == Batch((), forgotten.lease_until, False)
    batch = take(database, 240)
    assert (batch.claimed, len(batch.given_up)) == ((), 1)
    give_up(database, batch, 241)
    (late,) = give_up(database, Batch((), None, False, (forgotten,)), 242)
    assert not late.owned
    assert [row.state for row in world.deliveries()] == [FAILED]
    assert kinds(database) == [FIRST_FAILURE]


def test_what_the_last_worker_tells_after_all_is_kept_with_its_attempt(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE), now=at(0))
    last: list[Claimed] = []
    for number in range(5):
        last = list(take(database, number * 40).claimed)
    batch = take(database, 200)
    finish(database, last, Answer("http_5xx", "", 503), 201)
    give_up(database, batch, 202)
    (delivery,) = world.deliveries()
    assert delivery.state == FAILED
    assert [row.outcome for row in world.attempts(delivery)] == ["worker_lost"] * 4 + ["http_5xx"]


def test_a_worker_that_finds_one_fails_it_and_sends_what_is_for_failures(database: Database) -> None:
    world = lost_five_times(database)
    with Receiver() as receiver:
        tell_id = world.webhook("chain", spec(receiver.url), name="tell")
        with working(database, receiver):
            receiver.wait_for(1)
            wait_until(lambda: [row.state for row in world.deliveries(Delivery.webhook_id == tell_id)] == [DELIVERED])
    assert world.deliveries()[0].state == FAILED
    assert kinds(database) == [FIRST_FAILURE]


def test_what_is_given_up_fails_also_when_the_one_who_gives_it_up_is_lost(database: Database) -> None:
    world = lost_five_times(database)
    assert len(take(database, 200).given_up) == 1  # and its worker ends before it has recorded that
    assert take(database, 210).given_up == ()  # it is this worker's for the time of the lease
    again = take(database, 260)
    assert again.claimed == ()
    (result,) = give_up(database, again, 261)
    assert (result.owned, result.state) == (True, FAILED)
    assert [row.outcome for row in world.attempts(world.deliveries()[0])] == ["worker_lost"] * 5
