"""The webhooks of one integration stand together: switched, renamed, exported and deleted as one set."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from sqlalchemy import select

from pbxhub.account.webhook_sets import in_sets
from pbxhub.store.accounts import AuditEntry
from pbxhub.store.api import Resthook, Subscriber
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec, dump_spec
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]
REGISTER, FINISH, ATTACH = "Register", "Finish", "Attach"


@pytest.fixture
def editor(people: People, signed_in: SignedIn) -> Browser:
    browser = signed_in("editor")
    browser.get(f"/projects/{people.project}/webhooks")
    return browser


def spec(**names: str) -> Any:
    return dump_spec(WebhookSpec(RequestSpec(url="https://crm.example.com/"), **names))  # type: ignore[arg-type]


def add(browser: Browser, people: People, name: str, of: str = "CRM", **more: Any) -> int:
    data = {"name": name, "stage": "incoming.after", "set": of, "enabled": True, "spec": spec(), **more}
    path = f"/projects/{people.project}/webhooks/save"
    answer = browser.client.post(path, json=data, headers={"X-CSRFToken": browser.token})
    assert answer.status_code == 200, answer.json
    return int(answer.json["id"])


def crm(browser: Browser, people: People) -> list[int]:
    """Three webhooks that name each other, and one that belongs to no set between them."""
    made = [add(browser, people, REGISTER), add(browser, people, "Slack", "")]
    made.append(add(browser, people, FINISH, spec=spec(wait_for=REGISTER)))
    return [*made, add(browser, people, ATTACH, spec=spec(on_success="Slack", wait_for=FINISH))]


def rows(database: Database) -> list[Webhook]:
    with database.read() as session:
        live = select(Webhook).where(~Webhook.locked, Webhook.deleted_on.is_(None))
        return list(session.scalars(live.order_by(Webhook.position)))


def post(browser: Browser, people: People, act: str, **form: str) -> str:
    answer = browser.post(f"/projects/{people.project}/webhooks/{act}", form, follow_redirects=True)
    return unescape(answer.get_data(as_text=True))


def test_a_set_stands_together_where_its_first_webhook_is(database: Database, people: People, editor: Browser) -> None:
    crm(editor, people)
    found = [(each.name, [row.name for row in each.webhooks]) for each in in_sets(rows(database))]
    assert found == [("CRM", [REGISTER, FINISH, ATTACH]), ("", ["Slack"])]
    assert "set of 3 events" in post(editor, people, "sets/enabled", set="CRM", enabled="1")


def test_it_is_switched_as_one(database: Database, people: People, editor: Browser) -> None:
    crm(editor, people)
    post(editor, people, "sets/enabled", set="CRM", enabled="0")
    assert [row.name for row in rows(database) if row.enabled] == ["Slack"]
    post(editor, people, "sets/enabled", set="CRM", enabled="1")
    assert all(row.enabled for row in rows(database))


def test_nothing_is_switched_on_if_one_of_them_lacks_something(
    database: Database, people: People, editor: Browser
) -> None:
    ids = crm(editor, people)
    post(editor, people, "sets/enabled", set="CRM", enabled="0")
    post(editor, people, f"{ids[0]}/delete")
    page = post(editor, people, "sets/enabled", set="CRM", enabled="1")
    assert "Finish.wait_for: names the webhook Register, which does not exist" in page
    assert [row.name for row in rows(database) if row.enabled] == ["Slack"]


def test_who_deletes_half_of_a_set_is_told_what_leads_nowhere(people: People, editor: Browser) -> None:
    ids = crm(editor, people)
    page = post(editor, people, f"{ids[0]}/delete")
    assert "These events still lead to it: Finish. Change or delete them." in page
    assert "Waits for: names the webhook Register, which does not exist" in page


def test_a_webhook_that_leads_to_one_that_is_off_says_so(people: People, editor: Browser) -> None:
    ids = crm(editor, people)
    page = post(editor, people, f"{ids[1]}/enabled", enabled="0")
    assert "After a success: names the webhook Slack, which is switched off" in page


def test_it_is_deleted_as_one(database: Database, people: People, editor: Browser) -> None:
    crm(editor, people)
    assert "CRM was deleted." in post(editor, people, "sets/delete", set="CRM")
    assert [row.name for row in rows(database)] == ["Slack"]
    with database.read() as session:
        deleted = session.scalars(select(AuditEntry.subject).where(AuditEntry.action == "webhook deleted"))
        assert sorted(deleted) == sorted([REGISTER, FINISH, ATTACH])


@pytest.mark.slow
def test_its_deletion_is_undone_as_one(database: Database, people: People, editor: Browser) -> None:
    """Also when the first of them leads to the last."""
    ids = crm(editor, people)
    first, last = add(editor, people, "First"), add(editor, people, "Last")
    path, data = f"/projects/{people.project}/webhooks", {"name": "First", "stage": "incoming.after", "revision": 1}
    headers = {"X-CSRFToken": editor.token}
    editor.client.post(f"{path}/{first}/save", json={**data, "spec": spec(on_success="Last")}, headers=headers)
    assert last > first
    post(editor, people, f"{ids[3]}/delete")  # alone, before
    post(editor, people, "sets/delete", set="CRM")
    assert "CRM is there again, switched on." in post(editor, people, "sets/bring-back?set=CRM")
    assert sorted(row.name for row in rows(database) if row.enabled) == sorted(
        [FINISH, REGISTER, "Slack", "First", "Last"]
    )
    answer = editor.post(f"/projects/{people.project}/webhooks/sets/bring-back?set=Other")
    assert answer.status_code == 404


def test_a_set_does_not_come_back_beside_webhooks_that_have_got_its_names(
    database: Database, people: People, editor: Browser
) -> None:
    crm(editor, people)
    post(editor, people, "sets/delete", set="CRM")
    add(editor, people, FINISH, "")
    assert f"{FINISH}: Another event of this project has this name." in post(editor, people, "sets/bring-back?set=CRM")
    assert sorted(row.name for row in rows(database)) == sorted(["Slack", FINISH])


def test_undoing_the_deletion_of_a_nameless_set_revives_nothing(
    database: Database, people: People, editor: Browser
) -> None:
    """What is in no set has an empty name of its set: also the hub's own webhooks of former REST hooks."""
    alone = add(editor, people, "Alone", "")
    post(editor, people, f"{alone}/delete")
    with database.write() as session:
        session.add(Webhook(project_id=people.project, kind="resthook", name="Resthook x", stage="resthook",
                            spec=WebhookSpec(), enabled=False, deleted_on=now(), created_on=now()))  # fmt: skip
    assert editor.post(f"/projects/{people.project}/webhooks/sets/bring-back?set=").status_code == 404
    assert rows(database) == []


def test_it_is_renamed_unless_the_name_is_taken(database: Database, people: People, editor: Browser) -> None:
    crm(editor, people)
    add(editor, people, "Sheet", "Tables")
    assert "Another set of this project has this name." in post(
        editor, people, "sets/rename", set="CRM", name=" Tables "
    )
    assert "This is empty." in post(editor, people, "sets/rename", set="CRM", name=" ")
    post(editor, people, "sets/rename", set="CRM", name="Sales")
    assert [row.set_name for row in rows(database)] == ["Sales", "", "Sales", "Sales", "Tables"]
    with database.read() as session:
        (line,) = session.scalars(select(AuditEntry).where(AuditEntry.action == "webhook set renamed"))
        assert (line.subject, line.changes) == ("CRM", {"set": ["CRM", "Sales"]})


def test_a_set_of_another_project_does_not_exist(people: People, editor: Browser) -> None:
    answer = editor.post(f"/projects/{people.project}/webhooks/sets/delete", {"set": "CRM"})
    assert answer.status_code == 404
    assert editor.get(f"/projects/{people.project}/webhooks/export.json?set=CRM").status_code == 404


def test_it_travels_as_a_file_of_its_own(database: Database, people: People, editor: Browser) -> None:
    crm(editor, people)
    file = editor.get(f"/projects/{people.project}/webhooks/export.json?set=CRM").get_data(as_text=True)
    assert file.count('"set": "CRM"') == 3
    post(editor, people, "sets/delete", set="CRM")
    post(editor, people, "import", text=file, confirmed="1")
    assert [(row.name, row.set_name) for row in rows(database)][1:] == [
        (REGISTER, "CRM"), (FINISH, "CRM"), (ATTACH, "CRM")
    ]  # fmt: skip


def test_a_renamed_webhook_is_named_anew_by_those_that_lead_to_it(
    database: Database, people: People, editor: Browser
) -> None:
    ids = crm(editor, people)
    data = {"name": "Open card", "stage": "incoming.before", "enabled": True, "spec": spec(), "revision": 1}
    path = f"/projects/{people.project}/webhooks/{ids[0]}/save"
    assert editor.client.post(path, json=data, headers={"X-CSRFToken": editor.token}).status_code == 200
    names = {row.name: (row.spec.wait_for, row.revision, row.set_name) for row in rows(database)}
    assert names == {
        "Open card": ("", 2, "CRM"), "Slack": ("", 1, ""), FINISH: ("Open card", 2, "CRM"), ATTACH: (FINISH, 1, "CRM"),
    }  # fmt: skip


def test_a_new_name_does_not_hide_a_chain_without_an_end(database: Database, people: People, editor: Browser) -> None:
    """The other one leads back to the old name, and will lead back to the new one."""
    first = add(editor, people, "A")
    add(editor, people, "B", spec=spec(on_success="A"))
    path = f"/projects/{people.project}/webhooks/{first}/save"
    data = {"name": "A2", "stage": "incoming.after", "spec": spec(on_success="B"), "revision": 1}
    answer = editor.client.post(path, json=data, headers={"X-CSRFToken": editor.token})
    assert answer.status_code == 422
    assert "leads back to itself" in answer.get_json()["errors"][0]["message"]


def add_bitrix24(browser: Browser, people: People, status: int = 302) -> str:
    answers = {"portal": "b.bitrix24.com", "default_user": "1", "client_id": "local.1", "secret": "s", "dial": "on"}
    path = f"/projects/{people.project}/webhooks/gallery/bitrix24-telephony"
    browser.get(path)
    answer = browser.post(path, answers)
    assert answer.status_code == status
    return answer.text


def address_of_clicks(browser: Browser, people: People) -> str:
    found = re.search(r'id="address"[^>]*>([^<]+)<', browser.get(f"/projects/{people.project}/crm-calls").text)
    return found[1] if found else ""


def test_the_address_for_clicks_in_the_crm_comes_and_goes_with_its_set(people: People, signed_in: SignedIn) -> None:
    owner, link = signed_in("owner"), "Address for calls from the CRM"
    add_bitrix24(owner, people)
    made = address_of_clicks(owner, people)
    assert "/dial?key=" in made
    assert link in owner.get(f"/projects/{people.project}/webhooks").text
    assert link not in signed_in("editor").get(f"/projects/{people.project}/webhooks").text
    post(owner, people, "sets/rename", set="Bitrix24: telephony", name="B24")
    post(owner, people, "sets/delete", set="B24")
    assert address_of_clicks(owner, people) == ""
    post(owner, people, "sets/bring-back?set=B24")
    assert address_of_clicks(owner, people) == made


def test_an_address_that_was_made_by_itself_stays_without_the_set(people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    owner.get(f"/projects/{people.project}/crm-calls")
    owner.post(f"/projects/{people.project}/crm-calls/renew", {})
    made = address_of_clicks(owner, people)
    add_bitrix24(owner, people)
    post(owner, people, "sets/delete", set="Bitrix24: telephony")
    assert made
    assert address_of_clicks(owner, people) == made


def test_an_address_that_was_deleted_does_not_come_back_with_the_set(people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    add_bitrix24(owner, people)
    owner.post(f"/projects/{people.project}/crm-calls/delete", {})
    post(owner, people, "sets/delete", set="Bitrix24: telephony")
    post(owner, people, "sets/bring-back?set=Bitrix24: telephony")
    assert address_of_clicks(owner, people) == ""


def test_an_editor_does_not_bring_the_address_back(people: People, signed_in: SignedIn) -> None:
    """Neither by undoing the deletion, nor by deleting another set of that name later."""
    owner, editor, name = signed_in("owner"), signed_in("editor"), "Bitrix24: telephony"
    add_bitrix24(owner, people)
    post(owner, people, "sets/delete", set=name)
    assert "An owner can make a new one." in post(editor, people, f"sets/bring-back?set={name}")
    assert address_of_clicks(owner, people) == ""
    post(editor, people, "sets/delete", set=name)
    post(editor, people, f"sets/bring-back?set={name}")
    assert address_of_clicks(owner, people) == ""


def test_undoing_a_later_deletion_does_not_bring_the_address_back(people: People, signed_in: SignedIn) -> None:
    owner, name = signed_in("owner"), "Bitrix24: telephony"
    add_bitrix24(owner, people)
    post(owner, people, "sets/delete", set=name)
    add(signed_in("editor"), people, "Mine", name)
    post(owner, people, "sets/delete", set=name)
    post(owner, people, f"sets/bring-back?set={name}")
    assert address_of_clicks(owner, people) == ""


def test_the_address_goes_with_the_last_event_of_its_set(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner = signed_in("owner")
    add_bitrix24(owner, people)
    made, (*others, last) = address_of_clicks(owner, people), [row.id for row in rows(database)]
    for one in others:
        post(owner, people, f"{one}/delete")
    assert address_of_clicks(owner, people) == made
    post(owner, people, f"{last}/delete")
    assert address_of_clicks(owner, people) == ""
    post(owner, people, f"{last}/bring-back")
    assert address_of_clicks(owner, people) == made


def test_the_address_goes_when_the_last_event_moves_to_another_set(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner = signed_in("owner")
    add_bitrix24(owner, people)
    file = owner.get(f"/projects/{people.project}/webhooks/export.json").get_data(as_text=True)
    post(owner, people, "import", text=file.replace('"set": "Bitrix24: telephony"', '"set": "B24"'), confirmed="1")
    assert {row.set_name for row in rows(database)} == {"B24"}
    assert address_of_clicks(owner, people) == ""


def test_a_second_set_does_not_share_the_address_of_the_first(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner = signed_in("owner")
    add_bitrix24(owner, people)
    assert "it belongs to the set Bitrix24: telephony; leave it out" in add_bitrix24(owner, people, 422)
    assert {row.set_name for row in rows(database)} == {"Bitrix24: telephony"}


def test_an_editor_gets_no_address(people: People, signed_in: SignedIn, database: Database) -> None:
    editor = signed_in("editor")
    assert 'name="dial"' not in editor.get(f"/projects/{people.project}/webhooks/gallery/bitrix24-telephony").text
    assert "that needs the role owner" in add_bitrix24(editor, people, 422)
    assert rows(database) == []
    assert address_of_clicks(signed_in("owner"), people) == ""


def test_who_exports_or_imports_reads_how_many_subscribers_stay_behind(
    people: People, editor: Browser, database: Database
) -> None:
    crm(editor, people)
    with database.write() as session:
        webhook = session.scalars(select(Webhook).where(Webhook.name == "Slack")).one()
        hook = Resthook(project_id=people.project, name="new-lead", created_on=now())
        session.add(hook)
        session.flush()
        session.add(Subscriber(resthook_id=hook.id, webhook_id=webhook.id, target_url="https://a.example/",
                               created_on=now()))  # fmt: skip
    page = editor.get(f"/projects/{people.project}/webhooks").text
    assert "1 subscriber of REST hooks is not in the file" in page
    file = editor.get(f"/projects/{people.project}/webhooks/export.json").text
    assert "1 subscriber of REST hooks, which is not imported" in post(editor, people, "import", text=file)
