"""A viewer sees which requests are on their way, and since when, in the lists and on the cards."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import update

from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.wsgi.current import now
from tests.support.made_failures import Failures
from tests.support.people import Browser, People

BEGUN = datetime(2026, 7, 10, 12, 0, 7, tzinfo=UTC)  # 15:00:07 in Kyiv


def lease(database: Database, people: People, until: datetime) -> str:
    """A first attempt that a worker has begun, leased until then; the id of the delivery and of its call."""
    made = Failures(database, people.project)
    made.add(now(), "first.1", outcome="", code=None, state="pending")
    (one,) = made.ids.values()
    with database.write() as session:
        session.execute(update(Delivery).values(claim_token=new_id(), due_at=until, finished_on=None))
        session.add(Attempt(delivery_id=one, number=1, started_on=BEGUN))
    return str(one)


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


def test_a_first_attempt_in_flight_is_being_sent_and_not_retried(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    one, root = lease(database, people, now() + timedelta(minutes=5)), f"/projects/{people.project}"
    viewer = signed_in("viewer")
    for page in ("deliveries", f"deliveries/{one}", f"deliveries/{one}?drawer=1", "webhooks/1", f"calls/{one}"):
        text = words(viewer.get(f"{root}/{page}").text)
        assert "being sent since 15:00:07" in text, page
        assert "will retry" not in text
        assert "Next try" not in text


def test_of_a_worker_that_was_lost_nothing_is_being_sent(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    one, root = lease(database, people, now() - timedelta(seconds=1)), f"/projects/{people.project}"
    viewer = signed_in("viewer")
    for page in ("deliveries", f"deliveries/{one}"):
        assert "being sent since" not in words(viewer.get(f"{root}/{page}").text)
