"""A receiver fails: the hub tries again as the profile says, gives up, pauses the webhook, tells somebody, resumes."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from pbxhub.delivery.context import PauseRule
from pbxhub.delivery.outbox import resume
from pbxhub.delivery.outbox.next_state import retry_after
from pbxhub.sending.exchange import Answer
from pbxhub.store.delivery_rows import DELIVERED, FAILED, PENDING
from pbxhub.store.notices import Notice
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import Retry
from tests.support.outbox_world import BEFORE, BUSY, NOON, OK, World, at, context_of, finish, report, spec, take

RULE = PauseRule(failures=3, over=timedelta(hours=6))
HOUR = 3600


def notices(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(Notice.kind).order_by(Notice.id)))


def webhook(database: Database, webhook_id: int) -> Webhook:
    with database.read() as session:
        return session.get_one(Webhook, webhook_id)


@pytest.mark.parametrize(
    ("profile", "delays"),
    [("none", []), ("ringostat", [60, 60, 60]), ("minutes", [60, 300, 900]), ("fast", [2, 4, 8])],
)
def test_a_failure_is_tried_again_as_the_profile_says(database: Database, profile: str, delays: list[int]) -> None:
    world = World(database)
    world.webhook(what=spec(retry=Retry(profile)))  # type: ignore[arg-type]
    world.publish(report("1.1", BEFORE))
    time = 0
    for number, delay in enumerate(delays, 1):
        finish(database, take(database, time).claimed, BUSY, time)
        (delivery,) = world.deliveries()
        assert (delivery.state, delivery.tries, delivery.due_at) == (PENDING, number, at(time + delay))
        assert delivery.lane == 2
        assert take(database, time + delay - 0.1).claimed == ()
        time += delay
    finish(database, take(database, time).claimed, BUSY, time)
    assert world.deliveries()[0].state == FAILED
    assert len(world.attempts(world.deliveries()[0])) == len(delays) + 1


def test_what_cannot_pass_is_final_whatever_the_profile(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(retry=Retry("fast")))
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, Answer("http_4xx", "", 422), 1)
    assert world.deliveries()[0].state == FAILED


def test_retry_after_is_honoured_up_to_an_hour(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(retry=Retry("own", (5, 5))))
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, Answer("http_5xx", "", 503, headers=(("retry-after", "90"),)), 0)
    assert world.deliveries()[0].due_at == at(90)
    finish(database, take(database, 90).claimed, Answer("http_4xx", "", 429, headers=(("Retry-After", "9999999"),)), 90)
    assert world.deliveries()[0].due_at == at(90 + HOUR)


def test_retry_after_may_be_a_date_or_nonsense() -> None:
    def asked(value: str, name: str = "Retry-After") -> float | None:
        return retry_after(Answer("http_5xx", "", 503, ((name, value),)), NOON)

    assert asked("Thu, 14 May 2026 12:02:00 GMT") == 120.0
    assert asked("Thu, 14 May 2020 12:02:00 GMT") == 0.0
    assert asked("          7") == 7.0
    assert asked("soon") is None
    assert asked("Mon, 01 Jan 99999999999 00:00:00 GMT") is None
    assert asked("5", "Content-Type") is None


@pytest.mark.parametrize(
    ("status", "body", "seconds"),
    [
        (429, b'{"ok":false,"error_code":429,"parameters":{"retry_after":35}}', 35.0),
        (400, b'{"ok":false,"parameters":{"retry_after":35}}', None),
        (429, b'{"parameters":{"retry_after":"35"}}', None),
        (429, b'{"parameters":{"retry_after":true}}', None),
        (429, b'{"parameters":{"retry_after":1e400}}', None),
        (429, b"[" * 5000, None),
        (429, b"", None),
    ],
)
def test_telegram_says_in_the_body_how_long_to_wait(status: int, body: bytes, seconds: float | None) -> None:
    assert retry_after(Answer("http_4xx", "", status, body=body), NOON) == seconds


def test_a_later_retry_does_not_hold_other_stages_back(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(retry=Retry("minutes")))
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, BUSY, 0)
    world.publish(report("1.2", BEFORE), now=at(60))
    first_of_both = take(database, 60, limit=1).claimed[0]
    assert first_of_both.lane == 1


def test_one_failure_never_pauses_but_many_over_hours_do(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook()
    for number, hours in enumerate((0, 1, 2, 7)):
        world.publish(report(f"1.{number}", BEFORE), now=at(hours * HOUR))
        finish(database, take(database, hours * HOUR).claimed, BUSY, hours * HOUR, RULE)
        assert (webhook(database, webhook_id).paused_on is not None) == (hours == 7)
    assert notices(database) == ["first_failure", "paused"]
    assert "4 deliveries in a row" in webhook(database, webhook_id).paused_reason


def test_deliveries_of_a_paused_webhook_wait_and_go_when_it_is_resumed(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook()
    world.publish(report("1.0", BEFORE))
    finish(database, take(database, 0).claimed, Answer("gone", "", 410), 0)
    assert webhook(database, webhook_id).paused_on == NOON
    world.publish(report("1.1", BEFORE), now=at(1))
    assert take(database, 100).claimed == ()
    with database.write() as session:
        resume(context_of(database), session, webhook_id)
    finish(database, take(database, 100).claimed, OK, 101)
    assert [row.state for row in world.deliveries()] == [FAILED, DELIVERED]
    assert webhook(database, webhook_id).failures == 0


def test_a_success_resets_the_count_and_tells_of_the_recovery(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook()
    for number, answer in enumerate((BUSY, BUSY, OK)):
        world.publish(report(f"1.{number}", BEFORE), now=at(number))
        finish(database, take(database, number).claimed, answer, number, RULE)
    assert webhook(database, webhook_id).failures == 0
    assert notices(database) == ["first_failure", "recovered"]


def test_a_webhook_that_wavers_recovers_once_a_day_and_only_from_what_was_told(database: Database) -> None:
    world = World(database)
    world.webhook()
    for number in range(20):
        world.publish(report(f"1.{number}", BEFORE), now=at(number))
        finish(database, take(database, number).claimed, OK if number % 2 else BUSY, number, RULE)
    assert notices(database) == ["first_failure", "recovered"]
    for number, answer in ((30, BUSY), (60, OK)):
        world.publish(report(f"2.{number}", BEFORE), now=at(number * HOUR))
        finish(database, take(database, number * HOUR).claimed, answer, number * HOUR, RULE)
    assert notices(database) == ["first_failure", "recovered"] * 2
