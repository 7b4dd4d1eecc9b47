"""Members, Checked and Send by the forms of the pages: the fields are those of the rendered HTML."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from pbxhub.store.accounts import AuditEntry, Membership, Pbx, User
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.resends import Resend
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.forms import Form, form_with, forms_in, forms_of
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]


def roles(database: Database, people: People) -> dict[str, str]:
    with database.read() as session:
        rows = session.execute(
            select(User.name, Membership.role)
            .join(Membership, Membership.user_id == User.id)
            .where(Membership.project_id == people.project)
        )
        return {row.name: row.role for row in rows}


def member_form(owner: Browser, database: Database, people: People, name: str) -> Form:
    with database.read() as session:
        user_id = session.scalars(select(User.id).where(User.name == name)).one()
    path = f"/projects/{people.project}/members"
    (form,) = [form for form in forms_of(owner, path) if form.action == f"{path}/{user_id}"]
    return form


def test_save_without_a_choice_changes_nobodys_role(database: Database, people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    for name in ("Viewer", "Editor", "Owner"):
        assert member_form(owner, database, people, name).press(owner, "Save").status_code == 302
    assert roles(database, people) == {"Viewer": "viewer", "Editor": "editor", "Owner": "owner"}


def test_save_gives_the_chosen_role_and_removes(database: Database, people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    form = member_form(owner, database, people, "Viewer")
    form.set("role", "editor")
    assert form.press(owner, "Save").status_code == 302
    form = member_form(owner, database, people, "Editor")
    form.set("role", "none")
    assert form.press(owner, "Save").status_code == 302
    assert roles(database, people) == {"Viewer": "editor", "Owner": "owner"}
    with database.read() as session:
        told = [(entry.action, entry.changes) for entry in session.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    assert told == [
        ("member changed", {"role": ["viewer", "editor"]}),
        ("member removed", {"role": ["editor", "none"]}),
    ]


@pytest.fixture
def failed(database: Database, people: People) -> dict[str, list[str]]:
    """Name of the webhook -> ids of its failed deliveries: two webhooks, two reasons each."""
    made: dict[str, list[str]] = {}
    with database.write() as session:
        pbx = Pbx(project_id=people.project, name="p", host="h", username="u", secret_sealed="", created_on=now())
        session.add(pbx)
        session.flush()
        for name in ("CRM", "Chat"):
            hook = Webhook(project_id=people.project, name=name, stage="incoming.after", created_on=now(),
                           spec=WebhookSpec(RequestSpec(url="https://example.com/")))  # fmt: skip
            session.add(hook)
            session.flush()
            for number, (outcome, code) in enumerate([("http_5xx", 503), ("http_4xx", 401), ("http_5xx", 503)]):
                call = Call(id=new_id(), project_id=people.project, pbx_id=pbx.id, linkedid=f"{name}{number}",
                            direction="incoming", caller="1", dst="2", started_on=now(), ended_on=now())  # fmt: skip
                session.add(call)
                session.flush()
                stage = StageEvent(id=new_id(), project_id=people.project, call_id=call.id, stage="incoming.after",
                                   key="", ordinal=1, created_on=now(), data={})  # fmt: skip
                session.add(stage)
                session.flush()
                delivery = Delivery(id=new_id(), project_id=people.project, webhook_id=hook.id, webhook_revision=1,
                                    stage_event_id=stage.id, call_id=call.id, state="failed", lane=1, due_at=now(),
                                    method="POST", url="https://example.com/", headers=[], body=b"{}", attempts=1,
                                    outcome=outcome, status_code=code, finished_on=now(),
                                    created_on=now())  # fmt: skip
                session.add(delivery)
                session.flush()
                made.setdefault(name, []).append(str(delivery.id))
    return made


def unchecked(database: Database) -> set[str]:
    with database.read() as session:
        return {str(found) for found in session.scalars(select(Delivery.id).where(Delivery.checked_on.is_(None)))}


def webhook_id(database: Database, name: str) -> str:
    with database.read() as session:
        return str(session.scalars(select(Webhook.id).where(Webhook.name == name)).one())


def test_checked_beside_a_problem_takes_off_exactly_that_problem(
    database: Database, people: People, signed_in: SignedIn, failed: dict[str, list[str]]
) -> None:
    editor, page = signed_in("editor"), f"/projects/{people.project}/errors"
    crm = webhook_id(database, "CRM")
    form = form_with(editor, page, "Checked", webhook=crm, outcome="http_5xx", code="503")
    assert form.press(editor, "Checked").status_code == 302
    gone = {failed["CRM"][0], failed["CRM"][2]}
    assert unchecked(database) == {*failed["CRM"], *failed["Chat"]} - gone


def test_checked_takes_off_the_ticked_rows_only(
    database: Database, people: People, signed_in: SignedIn, failed: dict[str, list[str]]
) -> None:
    editor, page = signed_in("editor"), f"/projects/{people.project}/errors"
    form = form_with(editor, page, "Checked", id=failed["Chat"][1])
    form.tick("id", failed["Chat"][1])
    assert form.press(editor, "Checked").status_code == 302
    assert unchecked(database) == {*failed["CRM"], failed["Chat"][0], failed["Chat"][2]}


def test_all_that_match_keeps_the_filters_of_the_page(
    database: Database, people: People, signed_in: SignedIn, failed: dict[str, list[str]]
) -> None:
    editor, page = signed_in("editor"), f"/projects/{people.project}/errors"
    chat = webhook_id(database, "Chat")
    form = form_with(editor, f"{page}?webhook={chat}", "All that match are checked")
    assert form.press(editor, "All that match are checked").status_code == 302
    assert unchecked(database) == set(failed["CRM"])


def test_send_asks_first_and_then_sends_what_was_ticked(
    database: Database, people: People, signed_in: SignedIn, failed: dict[str, list[str]]
) -> None:
    editor, page = signed_in("editor"), f"/projects/{people.project}/errors"
    form = form_with(editor, page, "Send", id=failed["CRM"][0])
    form.tick("id", failed["CRM"][0], failed["Chat"][2])
    asked = form.press(editor, "Send")
    assert asked.status_code == 200
    assert unchecked(database) == {*failed["CRM"], *failed["Chat"]}
    (sure,) = [form for form in forms_in(asked.text, page) if form.action == f"{page}/send"]
    sure.set("rate", "5")
    sure.set("current", "1")
    assert sure.press(editor, "Send 2 requests").status_code == 302
    with database.read() as session:
        (order,) = session.scalars(select(Resend))
        assert (order.total, order.rate, order.current_settings) == (2, 5, True)


def test_send_beside_a_problem_sends_that_problem(
    database: Database, people: People, signed_in: SignedIn, failed: dict[str, list[str]]
) -> None:
    editor, page = signed_in("editor"), f"/projects/{people.project}/errors"
    crm = webhook_id(database, "CRM")
    asked = form_with(editor, page, "Send 2 again", webhook=crm).press(editor, "Send 2 again")
    (sure,) = [form for form in forms_in(asked.text, page) if form.action == f"{page}/send"]
    assert sure.press(editor, "Send 2 requests").status_code == 302
    with database.read() as session:
        (order,) = session.scalars(select(Resend))
        assert (order.total, order.rate, order.current_settings) == (2, 20, False)


def test_a_hint_shows_the_placeholder_it_speaks_of(signed_in, people) -> None:
    """Texts that are translated late are not HTML: <<manager_id>> must not become a tag that nobody sees."""
    page = signed_in("owner").get(f"/projects/{people.project}/employees/new").text
    assert "Sent as &lt;&lt;manager_id&gt;&gt;." in page
