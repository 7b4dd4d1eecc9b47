"""A user sets up what calls ask, tries answers out, and reads on a call's card what was asked and done."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.questions import Question
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import WebhookSpec
from tests.support.people import Browser, People

SignIn = Callable[[str], Browser]

NOW = datetime.now(UTC)
FORM = {
    "name": "CRM", "url": "https://crm.example.com/where", "method": "POST", "format": "json", "reads": "number",
    "key": "manager.phone", "wait": "5", "music": "", "numbers": "_1XX 5551234", "contexts": "", "default": "101",
    "ring": "30", "enabled": "y",
}  # fmt: skip


@pytest.fixture
def site(people: People) -> str:
    return f"/projects/{people.project}/call-control"


def test_a_forwarding_number_is_added_and_shows_its_dialplan_line(
    signed_in: SignIn, site: str, database: Database
) -> None:
    owner = signed_in("owner")
    assert "New forwarding number" in owner.get(site).text
    owner.get(f"{site}/new")
    saved = owner.post(f"{site}/new", FORM)
    assert saved.status_code == 302, saved.text
    page = owner.get(saved.location).text
    assert "Gosub(pbxhub-ask,s,1(CRM))" in page
    assert "Goto(from-internal,101,1)" in page
    with database.read() as session:
        webhook = session.scalars(select(Webhook).where(Webhook.name == "CRM")).one()
    steering = webhook.spec.steering
    assert steering is not None
    assert (steering.reads, steering.key, steering.default) == ("number", "manager.phone", "101")
    assert steering.numbers == ("_1XX", "5551234")
    assert "CRM" in owner.get(site).text


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"wait": "61"}, "is 61; give 1 to 60"),
        ({"numbers": "${X}"}, "is not a number"),
        ({"default": "999"}, "not among the numbers"),
        ({"url": "http://127.0.0.1/"}, "not allowed to connect"),
        ({"name": "a,b"}, "the dialplan refers to this event by its name"),
    ],
)
def test_what_cannot_work_is_said_at_saving(
    changes: dict[str, str], complaint: str, signed_in: SignIn, site: str, database: Database
) -> None:
    owner = signed_in("owner")
    owner.get(f"{site}/new")
    assert complaint in owner.post(f"{site}/new", {**FORM, **changes}).text
    with database.read() as session:
        assert session.scalars(select(Webhook).where(Webhook.name.in_(("CRM", "a,b")))).all() == []


def test_an_answer_is_tried_out(signed_in: SignIn, site: str) -> None:
    owner = signed_in("owner")
    owner.get(f"{site}/new")
    good = {"reads": "actions", "numbers": "_1XX", "answer": '{"actions": [{"type": "dial", "number": "101"}]}'}
    assert "dial 101 for 30 s" in owner.post(f"{site}/simulate", good).text
    in_ukrainian = owner.post(f"{site}/simulate", good, headers={"Accept-Language": "uk"}).text
    assert "набирати 101 протягом 30 с" in in_ukrainian
    assert "actions[0].number" in owner.post(f"{site}/simulate", {**good, "numbers": "_2XX"}).text
    assert "is not JSON" in owner.post(f"{site}/simulate", {**good, "answer": "<script>alert(1)</script>"}).text
    assert "dial 103" in owner.post(f"{site}/simulate", {"reads": "number", "numbers": "_1XX", "answer": "103"}).text


def test_only_owners_see_the_line_that_connects_a_pbx(signed_in: SignIn, site: str) -> None:
    assert "PBXHUB_AGI=agi://" not in signed_in("viewer").get(site).text
    assert signed_in("stranger").get(site).status_code == 404


def test_the_card_of_a_call_shows_each_question(people: People, signed_in: SignIn, database: Database) -> None:
    call_id, delivery_id = new_id(), new_id()
    with database.write() as session:
        webhook = Webhook(
            project_id=people.project, name="CRM", stage="call.question", created_on=NOW,
            spec=WebhookSpec(),
        )  # fmt: skip
        session.add(webhook)
        session.add(
            Call(
                id=call_id, project_id=people.project, linkedid="1.1", direction="incoming", caller="7", dst="5",
                started_on=NOW, ended_on=NOW,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            Delivery(
                id=delivery_id, project_id=people.project, webhook_id=webhook.id, webhook_revision=1,
                call_id=call_id, kind="question", state="failed", lane=1, due_at=NOW, attempts=1, method="POST",
                url="https://x", headers=[], body=b"", outcome="steering_refused", message="actions: is missing",
                duration_ms=42, created_on=NOW, finished_on=NOW,
            )
        )  # fmt: skip
        session.flush()
        session.add(Attempt(delivery_id=delivery_id, number=1, started_on=NOW, finished_on=NOW))
        steps = [{"step": "dial 101 for 30 s", "result": "BUSY"}]
        session.add(Question(delivery_id=delivery_id, line=1, steps=steps))
    owner = signed_in("owner")
    page = owner.get(f"/projects/{people.project}/calls/{call_id}").text
    for text in ("Questions of this call", "line 1, 42 ms", "actions: is missing", "dial 101 for 30 s", "BUSY"):
        assert text in page
