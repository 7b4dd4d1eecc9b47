"""A viewer sees which requests are on their way, and since when, in the lists and on the cards."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, update

from pbxhub.account import resending
from pbxhub.delivery.outbox import Selection, order_resend, step_resends
from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.ids import new_id
from pbxhub.store.resends import Resend
from pbxhub.store.session import Database
from pbxhub.wsgi.current import now
from tests.support.made_failures import Failures
from tests.support.outbox_world import context_of
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


def test_after_its_end_an_order_says_how_many_arrived_and_why_the_others_failed(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    made = Failures(database, people.project)
    made.add(now(), "a.1", outcome="ok", code=200, state="delivered")
    made.add(now(), "a.2", outcome="http_4xx", code=401)
    made.add(now(), "a.3", outcome="http_4xx", code=401)
    made.add(now(), "a.4", outcome="http_5xx", code=503, state="pending")
    root, viewer = f"/projects/{people.project}/errors", signed_in("viewer")
    with database.write() as session:
        order = order_resend(session, people.project, Selection(), 4, now())
        order.state, order.queued = "done", 4
        session.flush()
        session.execute(update(Delivery).values(resend_id=order.id, tries=1))
    for page in (root, f"{root}/resends"):
        text = words(viewer.get(page).text)
        assert "Sent again: 1 of 4 delivered" in text
        assert "1 is on its way or will be tried again 2 failed: " in text
        assert "The receiver refused the request (401)." in text
    with database.write() as session:
        session.execute(update(Resend).values(stepped_on=now() - timedelta(days=2)))
    assert "Sent again" not in words(viewer.get(root).text)


def sent_again(database: Database, people: People, *ends: tuple[str, str, int]) -> UUID:
    """An order of all failures, which the first deliveries leave with these ends; the others are in the queue."""
    with database.write() as session:
        order = order_resend(session, people.project, Selection(), 3, now())
    for second in range(1, 4):
        step_resends(context_of(database), now() + timedelta(seconds=second))
    with database.write() as session:
        for one, end in zip(session.scalars(select(Delivery).order_by(Delivery.id)), ends, strict=False):
            one.state, one.outcome, one.status_code = end
            one.tries, one.finished_on = 1, now()
    return order.id


def test_a_stopped_order_tells_only_of_what_it_has_sent(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    made = Failures(database, people.project)
    for number in range(3):
        made.add(now(), f"a.{number}", outcome="http_4xx", code=401)
    order = sent_again(database, people, ("delivered", "ok", 200))
    root = f"/projects/{people.project}/errors"
    signed_in("editor").post(f"{root}/resends/{order}/stop")
    text = words(signed_in("viewer").get(root).text)
    assert "Sent again: 1 of 1 delivered" in text
    assert "stopped before the end" in text
    assert "2 failed: " not in text


def test_an_order_of_which_everything_was_sent_again_since_has_no_result_of_its_own(
    database: Database, people: People, signed_in: Callable[[str], Browser]
) -> None:
    made = Failures(database, people.project)
    for number in range(3):
        made.add(now(), f"a.{number}", outcome="http_4xx", code=401)
    first = sent_again(database, people, *[("failed", "http_5xx", 503)] * 3)
    second = sent_again(database, people, *[("delivered", "ok", 200)] * 3)
    page = signed_in("viewer").get(f"/projects/{people.project}/errors").text
    assert f'id="ended-{first}"' not in page
    assert f'id="ended-{second}"' in page
    assert "Sent again: 3 of 3 delivered" in words(page)


def test_an_order_of_very_many_is_not_counted_anew_for_each_look(
    database: Database, people: People, signed_in: Callable[[str], Browser], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Failures(database, people.project)
    for number in range(3):
        made.add(now(), f"a.{number}", outcome="ok", code=200, state="delivered")
    monkeypatch.setattr(resending, "MOST_COUNTED", 2)
    with database.write() as session:
        order = order_resend(session, people.project, Selection(), 3, now())
        order.state, order.queued = "stopped", 3
        session.flush()
        session.execute(update(Delivery).values(resend_id=order.id, tries=1))
    text = words(signed_in("viewer").get(f"/projects/{people.project}/errors").text)
    assert "3 were sent again. Those that failed are in the list." in text
    assert "stopped before the end" in text
