"""What a project is told of a receiver is what was done: paused, unsubscribed, or nothing at all."""

import json
from uuid import UUID

import pytest
from sqlalchemy import select, update

from pbxhub.delivery.context import PauseRule
from pbxhub.delivery.outbox import (
    CannotResendError,
    call_resthook,
    cancel_pending,
    pause,
    resend_one,
    subscribe,
)
from pbxhub.sending.exchange import Answer
from pbxhub.store.api import Resthook, Subscriber
from pbxhub.store.delivery_rows import CANCELLED, FAILED
from pbxhub.store.notices import FIRST_FAILURE, PAUSED, UNSUBSCRIBED, Notice
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.webhooks.catalogue import QUESTION
from tests.support.outbox_world import (
    BEFORE,
    BUSY,
    NOON,
    OK,
    World,
    at,
    context_of,
    finish,
    report,
    spec,
    take,
)

GONE = Answer("gone", "", 410)
AT_ONCE = PauseRule(failures=1, over=at(0) - at(0))
SECRET = "hooks.example.com/hooks/catch/12345/s3cret?token=t0ken"


def notices(database: Database) -> list[tuple[str, str]]:
    with database.read() as session:
        return [(row.kind, row.text) for row in session.scalars(select(Notice).order_by(Notice.id))]


def subscribed(database: Database, payloads: int = 1) -> tuple[World, list[UUID]]:
    """A world with one subscriber, and what was sent to it."""
    world = World(database)
    with database.write() as session:
        hook = Resthook(project_id=world.project_id, name="new-lead", created_on=NOON)
        session.add(hook)
        session.flush()
        subscribe(session, hook, f"https://{SECRET}", NOON)
    with database.write() as session:
        hook = session.scalars(select(Resthook)).one()
        sent = [
            call_resthook(context_of(database), session, hook, {}, json.dumps(n).encode(), NOON)
            for n in range(payloads)
        ]
    return world, [one for some in sent for one in some]


def webhook(database: Database) -> Webhook:
    with database.read() as session:
        return session.scalars(select(Webhook)).one()


def test_a_subscriber_that_is_gone_is_unsubscribed_and_that_is_what_is_said(database: Database) -> None:
    world, _ = subscribed(database, payloads=3)
    finish(database, take(database, 1, limit=1).claimed, GONE, 2)
    with database.read() as session:
        assert session.scalars(select(Subscriber)).all() == []
    assert webhook(database).paused_on is None
    assert [row.state for row in world.deliveries()] == [FAILED, CANCELLED, CANCELLED]
    (first, _), (kind, text) = notices(database)
    assert (first, kind) == (FIRST_FAILURE, UNSUBSCRIBED)
    assert text == (
        "Resthook new-lead: the subscriber at hooks.example.com answered 410: its address no longer exists. "
        "It was removed, and its 2 pending deliveries were cancelled."
    )


def test_what_was_sent_to_a_subscriber_who_was_removed_cannot_be_sent_again_and_says_why(database: Database) -> None:
    world, (sent,) = subscribed(database)
    finish(database, take(database, 1).claimed, GONE, 2)
    with database.write() as session, pytest.raises(CannotResendError, match="Subscribe the URL again"):
        resend_one(context_of(database), session, world.project_id, sent, at(3))


def test_a_subscriber_that_fails_for_long_goes_on_as_nobody_could_resume_it(database: Database) -> None:
    subscribed(database)
    finish(database, take(database, 1).claimed, Answer("http_4xx", "", 404), 2, AT_ONCE)
    assert webhook(database).paused_on is None
    assert [kind for kind, _ in notices(database)] == [FIRST_FAILURE]


def test_a_webhook_that_is_gone_is_paused_and_its_deliveries_wait(database: Database) -> None:
    world = World(database)
    world.webhook(name="CRM")
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 1).claimed, GONE, 2)
    assert notices(database)[-1] == (
        PAUSED,
        "CRM is paused: the receiver answered 410: this address no longer exists. "
        "Its deliveries are held until it is resumed.\n\n"
        "The receiver says that this address no longer exists (410).\nWhat to do: https://pbx.example.com/errors/26",
    )


def test_a_webhook_that_calls_ask_is_not_asked_while_it_is_paused(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook(QUESTION, name="Route")
    with database.write() as session:
        pause(session, webhook_id, "paused by Anna", NOON)
    assert notices(database) == [(PAUSED, "Route is paused: paused by Anna. Calls do not ask it until it is resumed.")]


@pytest.mark.parametrize("deleted", [False, True])
def test_a_webhook_that_is_switched_off_or_deleted_is_not_paused_too(database: Database, deleted: bool) -> None:
    world = World(database)
    webhook_id = world.webhook()
    world.publish(report("1.1", BEFORE))
    flying = take(database, 1).claimed
    with database.write() as session:
        off = {"enabled": False, "deleted_on": at(2) if deleted else None}
        session.execute(update(Webhook).where(Webhook.id == webhook_id).values(off))
        touch_webhooks(session, world.project_id)
        cancel_pending(session, webhook_id, at(2))
    finish(database, flying, GONE, 3)
    assert webhook(database).paused_on is None
    assert [kind for kind, _ in notices(database)] == ([] if deleted else [FIRST_FAILURE])


def test_a_paused_webhook_does_not_deliver_again_because_of_what_was_on_its_way(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(in_flight=2))
    world.publish(report("1.1", BEFORE), report("1.2", BEFORE))
    first, second = take(database, 1).claimed
    finish(database, [first], BUSY, 2, AT_ONCE)
    finish(database, [second], OK, 3)
    assert [kind for kind, _ in notices(database)] == [FIRST_FAILURE, PAUSED]
