"""Two people change webhooks at the same time, switch them, go back to what was, and copy them."""

import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from sqlalchemy import select, update

from pbxhub.calls.stages import CallReport, Stage
from pbxhub.delivery.context import open_context
from pbxhub.delivery.outbox import publish
from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.upload import Upload
from pbxhub.settings import Settings
from pbxhub.store.accounts import Pbx
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, WebhookVersion
from pbxhub.testing.receivers.receiver import Receiver
from pbxhub.vault import Vault
from pbxhub.webhooks.gallery import default_event, fill
from pbxhub.webhooks.spec import Parameter, RequestSpec, WebhookSpec, dump_spec
from pbxhub.wsgi.current import hub
from tests.support.outbox_world import context_of
from tests.support.people import Browser, People
from tests.support.shared_app import shared_app

SignedIn = Callable[[str], Browser]


@pytest.fixture
def app(settings: Settings, database: Database) -> Flask:
    """The account of an operator whose receivers stand on this machine."""
    guard = AddressGuard((ipaddress.ip_network("127.0.0.0/8"),))
    application = shared_app(settings, open_context(settings, database, Vault(settings.secret_key)), guard)
    application.testing = True
    return application


@pytest.fixture
def editor(people: People, signed_in: SignedIn) -> Browser:
    browser = signed_in("editor")
    browser.get(f"/projects/{people.project}/webhooks")
    return browser


def spec(url: str = "https://crm.example.com/", **request: Any) -> dict[str, Any]:
    return dict(dump_spec(WebhookSpec(request=RequestSpec(url=url, **request))))


def send(browser: Browser, path: str, data: dict[str, Any]) -> Any:
    return browser.client.post(path, json=data, headers={"X-CSRFToken": browser.token})


def add(browser: Browser, people: People, name: str = "Lead", **more: Any) -> int:
    draft = {"name": name, "stage": "incoming.after", "enabled": True, "spec": spec(), **more}
    answer = send(browser, f"/projects/{people.project}/webhooks/save", draft)
    assert answer.status_code == 200, answer.json
    return int(answer.json["id"])


def call_over(database: Database, vault: Vault, people: People) -> UUID:
    """A call ends; the id of the delivery it made."""
    with database.write() as session:
        pbx = Pbx(
            project_id=people.project, name="Office", host="h", username="u", secret_sealed="", created_on=utc_now()
        )
        session.add(pbx)
        session.flush()
        pbx_id = pbx.id
    now = utc_now()
    after = Stage("incoming.after", "", 1, now, {"caller": "+380441234567", "dst": "380445556677"})
    report = CallReport(
        "1.1", "incoming", "+380441234567", "", "380445556677", "", now, None, now, "BUSY", after.values
    )
    publish(context_of(database), {pbx_id: [report._replace(stages=(after,))]}, now)
    with database.read() as session:
        return session.scalars(select(Delivery.id)).one()


def webhook(database: Database, webhook_id: int) -> Webhook:
    with database.read() as session:
        return session.get_one(Webhook, webhook_id)


def test_an_event_switched_off_meanwhile_is_not_switched_on_again_by_a_form_left_open(
    database: Database, people: People, editor: Browser
) -> None:
    there = add(editor, people)
    address = f"/projects/{people.project}/webhooks/{there}"
    opened = {"name": "Lead", "stage": "incoming.after", "enabled": True, "spec": spec(), "revision": 1}
    editor.post(f"{address}/enabled", {"enabled": "0"})
    assert send(editor, f"{address}/save", opened).status_code == 409
    assert not webhook(database, there).enabled
    history = editor.get(f"{address}/history").get_data(as_text=True)
    assert "<code>enabled</code>" in history


def test_an_event_whose_secret_has_not_come_with_it_is_not_switched_on(
    database: Database, people: People, editor: Browser
) -> None:
    """An import never has the secret: sent without, the receiver would refuse every request."""
    there = add(editor, people)
    with database.write() as session:
        row = session.get_one(Webhook, there)
        auth = replace(row.spec.request.auth, kind="bearer")
        row.spec, row.enabled = replace(row.spec, request=replace(row.spec.request, auth=auth)), False
    address = f"/projects/{people.project}/webhooks/{there}"
    answer = editor.post(f"{address}/enabled", {"enabled": "1"}, follow_redirects=True)
    assert "auth.secret: Enter the secret" in answer.get_data(as_text=True)
    assert not webhook(database, there).enabled


def test_a_restored_revision_leaves_an_event_off_that_was_switched_off(
    database: Database, people: People, editor: Browser
) -> None:
    there = add(editor, people)
    address = f"/projects/{people.project}/webhooks/{there}"
    editor.post(f"{address}/enabled", {"enabled": "0"})
    editor.post(f"{address}/restore/1")
    assert (webhook(database, there).enabled, webhook(database, there).revision) == (False, 3)


def test_a_revision_whose_name_is_taken_by_now_is_not_restored(
    database: Database, people: People, editor: Browser
) -> None:
    there = add(editor, people)
    address = f"/projects/{people.project}/webhooks/{there}"
    renamed = {"name": "Other", "stage": "incoming.after", "enabled": True, "spec": spec(), "revision": 1}
    assert send(editor, f"{address}/save", renamed).status_code == 200
    add(editor, people, "Lead")
    page = editor.post(f"{address}/restore/1", follow_redirects=True).get_data(as_text=True)
    assert "Revision 1 cannot be restored: Another event of this project has this name." in page
    assert webhook(database, there).name == "Other"


def test_a_revision_with_authentication_is_not_restored_without_its_secret(
    database: Database, people: People, editor: Browser
) -> None:
    bearer = spec()
    bearer["request"]["auth"] = {"kind": "bearer"}
    there = add(editor, people, spec=bearer, secret="t0ken")
    address = f"/projects/{people.project}/webhooks/{there}"
    plain = {"name": "Lead", "stage": "incoming.after", "enabled": True, "spec": spec(), "revision": 1}
    assert send(editor, f"{address}/save", plain).status_code == 200
    page = editor.post(f"{address}/restore/1", follow_redirects=True).get_data(as_text=True)
    assert "Revision 1 cannot be restored: Enter the secret" in page
    assert webhook(database, there).spec.request.auth.kind == "none"


def test_the_locked_event_has_a_history_from_the_beginning(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner = signed_in("operator")
    owner.get("/projects/new")
    owner.post("/projects/new", {"name": "Shop", "time_zone": "UTC", "country": "UA"})
    with database.read() as session:
        locked = session.scalars(select(Webhook).where(Webhook.locked).order_by(Webhook.id.desc())).first()
    assert locked
    address = f"/projects/{locked.project_id}/webhooks/{locked.id}"
    owner.get(f"{address}/setup")
    owner.post(f"{address}/setup", {"measurement_id": "G-ABC123DEF4", "api_secret": "very secret"})
    page = owner.get(f"{address}/history").get_data(as_text=True)
    assert "G-ABC123DEF4" in page
    assert "as it was made" in page
    assert "very secret" not in page


def test_a_copy_shows_what_is_different_from_its_source(people: People, editor: Browser) -> None:
    there = add(editor, people)
    copied = {
        "copy_of": there,
        "name": "Lead 2",
        "stage": "incoming.before",
        "enabled": True,
        "spec": spec(method="PUT"),
    }
    html = send(editor, f"/projects/{people.project}/webhooks/preview", copied).json["html"]
    assert "Difference from Lead" in html
    assert "<del>POST</del>" in html
    assert "<ins>PUT</ins>" in html
    assert "request.url" not in html


def test_a_test_of_a_copy_is_authorized_like_its_source(people: People, editor: Browser) -> None:
    with Receiver() as receiver:
        bearer = spec(receiver.url)
        bearer["request"]["auth"] = {"kind": "bearer"}
        there = add(editor, people, spec=bearer, secret="t0ken")
        copied = {"copy_of": there, "name": "Lead 2", "stage": "incoming.after", "enabled": True, "spec": bearer}
        send(editor, f"/projects/{people.project}/webhooks/test", {**copied, "sample": "answered"})
        [request] = receiver.wait_for(1)
    assert request.header("Authorization") == "Bearer t0ken"


def test_a_request_is_explained_by_the_revision_it_was_made_from(
    settings: Settings, database: Database, people: People, editor: Browser
) -> None:
    first = spec(parameters=(Parameter("phone", value="<<caller>>"),))
    there = add(editor, people, spec=first)
    delivery_id = call_over(database, Vault(settings.secret_key), people)
    second = spec(parameters=(Parameter("other", value="<<dst>>"),))
    changed = {"name": "Lead", "stage": "incoming.after", "enabled": True, "spec": second, "revision": 1}
    assert send(editor, f"/projects/{people.project}/webhooks/{there}/save", changed).status_code == 200
    page = editor.get(f"/projects/{people.project}/deliveries/{delivery_id}").get_data(as_text=True)
    assert "parameters.phone" in page
    assert "parameters.other" not in page


def test_a_change_of_its_settings_is_a_mark_in_the_chart_with_who_and_what(
    database: Database, people: People, editor: Browser
) -> None:
    there = add(editor, people)
    address = f"/projects/{people.project}/webhooks/{there}"
    when = utc_now()
    with database.write() as session:
        session.add(Delivery(id=new_id(), project_id=people.project, webhook_id=there, webhook_revision=1, lane=1,
                             state="delivered", due_at=when, method="GET", url="https://crm.example.com/", headers=[],
                             body=b"", created_on=when))  # fmt: skip
    assert "chart-edit" not in editor.get(address).text
    editor.post(f"{address}/enabled", {"enabled": "0"})
    (mark,) = re.findall(r'class="chart-edit"[^>]* aria-label="([^"]*)"', editor.get(address).text)
    assert re.fullmatch(r"\d\d:\d\d:\d\d · Revision 2 · editor@example.com: enabled", mark), mark
    with database.write() as session:
        session.execute(update(WebhookVersion).values(created_on=when - timedelta(days=2)))
    assert "chart-edit" not in editor.get(address).text


def with_bearer(url: str) -> dict[str, Any]:
    bearer = spec(url)
    bearer["request"]["auth"] = {"kind": "bearer"}
    return bearer


def moved(url: str, **more: Any) -> dict[str, Any]:
    return {"name": "Lead", "stage": "incoming.after", "enabled": True, "spec": with_bearer(url), "revision": 1, **more}


AGAIN = "Enter the secret again: it was entered for https://crm.example.com and would be sent to "


@pytest.mark.parametrize(
    "origin", ["https://other.example.com", "http://crm.example.com", "https://crm.example.com:8443"]
)
def test_a_secret_does_not_follow_an_event_to_another_host(people: People, editor: Browser, origin: str) -> None:
    there = add(editor, people, spec=with_bearer("https://crm.example.com/a"), secret="t0ken")
    address = f"/projects/{people.project}/webhooks"
    for path, data in (
        (f"{address}/{there}/save", moved(f"{origin}/a")),
        (f"{address}/save", moved(f"{origin}/a", name="Copy", copy_of=there)),
        (f"{address}/test", moved(f"{origin}/a", id=there, sample="answered")),
    ):
        answer = send(editor, path, data)
        assert answer.json["errors"] == [{"path": "auth.secret", "message": AGAIN + origin + "."}], path
    notes = send(editor, f"{address}/preview", moved(f"{origin}/a", id=there, sample="answered")).json["notes"]
    assert {"path": "auth.secret", "message": AGAIN + origin + "."} in notes


def test_a_secret_typed_again_goes_to_the_other_host(database: Database, people: People, editor: Browser) -> None:
    there = add(editor, people, spec=with_bearer("https://crm.example.com/a"), secret="t0ken")
    address = f"/projects/{people.project}/webhooks/{there}/save"
    assert send(editor, address, moved("https://crm.example.com/b")).status_code == 200
    sealed = webhook(database, there).secret_sealed
    assert sealed
    answer = send(editor, address, moved("https://other.example.com/b", secret="an0ther", revision=2))
    assert answer.status_code == 200
    assert webhook(database, there).secret_sealed not in ("", sealed)


def test_a_revision_for_another_host_is_not_restored_with_the_secret_of_this_one(
    database: Database, people: People, editor: Browser
) -> None:
    there = add(editor, people, spec=with_bearer("https://crm.example.com/a"), secret="t0ken")
    address = f"/projects/{people.project}/webhooks/{there}"
    assert send(editor, f"{address}/save", moved("https://other.example.com/", secret="an0ther")).status_code == 200
    page = editor.post(f"{address}/restore/1", follow_redirects=True).get_data(as_text=True)
    assert "Revision 1 cannot be restored: Enter the secret again" in page
    assert webhook(database, there).spec.request.url == "https://other.example.com/"


def test_an_import_that_changes_the_host_takes_the_secrets_away_and_switches_off(
    database: Database, people: People, editor: Browser
) -> None:
    bearer = add(editor, people, "Bearer", spec=with_bearer("https://crm.example.com/a"), secret="t0ken")
    signed = add(editor, people, "Signed")
    address = f"/projects/{people.project}/webhooks"
    editor.get(f"{address}/{signed}/edit")
    editor.post(f"{address}/{signed}/signing", {"do": "make"})
    file = editor.get(f"{address}/export.json").get_data(as_text=True)
    elsewhere = file.replace("crm.example.com", "other.example.com")
    editor.get(f"{address}/import")
    editor.post(f"{address}/import", {"text": elsewhere, "confirmed": "1"})
    for one in (webhook(database, bearer), webhook(database, signed)):
        assert "other.example.com" in one.spec.request.url
        assert (one.enabled, one.secret_sealed, one.signing_sealed) == (False, "", "")


def test_a_signing_key_is_not_used_for_another_host(database: Database, people: People, editor: Browser) -> None:
    there = add(editor, people)
    address = f"/projects/{people.project}/webhooks"
    editor.get(f"{address}/{there}/edit")
    editor.post(f"{address}/{there}/signing", {"do": "make"})
    elsewhere = {"name": "Lead", "stage": "incoming.after", "enabled": True, "spec": spec("https://other.example.com/")}
    answer = send(editor, f"{address}/{there}/save", {**elsewhere, "revision": 1})
    assert [error["path"] for error in answer.json["errors"]] == ["signing"]
    copy = send(editor, f"{address}/save", {**elsewhere, "name": "Copy", "copy_of": there})
    assert webhook(database, copy.json["id"]).signing_sealed == ""
    same = send(editor, f"{address}/save", {**elsewhere, "spec": spec(), "name": "Copy 2", "copy_of": there})
    assert webhook(database, same.json["id"]).signing_sealed


def test_a_preview_shows_everything_that_a_test_sends(people: People, editor: Browser) -> None:
    with Receiver() as receiver:
        wanted = with_bearer(receiver.url)
        wanted["request"] |= {
            "format": "json-rpc",
            "rpc_method": "log",
            "headers": [{"name": "X-Id", "value": "<<delivery_id>>/<<attempt>>"}],
        }
        there = add(editor, people, spec=wanted, secret="t0ken")
        address = f"/projects/{people.project}/webhooks"
        editor.get(f"{address}/{there}/edit")
        editor.post(f"{address}/{there}/signing", {"do": "make"})
        data = {"id": there, "name": "Lead", "stage": "incoming.after", "spec": wanted, "sample": "answered"}
        shown = send(editor, f"{address}/preview", data).json["html"]
        send(editor, f"{address}/test", data)
        [request] = receiver.wait_for(1)
    message_id = request.header("webhook-id")
    assert str(UUID(message_id or "")) == message_id
    assert request.header("X-Id") == f"{message_id}/1"
    assert json.loads(request.body)["id"] == message_id
    assert request.header("webhook-test") == "1"
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature", "Authorization", "X-Id"):
        assert name in shown
        assert request.header(name)
    assert "t0ken" not in shown


def test_a_webhook_of_a_chain_is_tried_with_the_answer_of_the_one_before(people: People, editor: Browser) -> None:
    chained = spec(
        parameters=(Parameter("id", value="<<webhook.json.result.id>>"), Parameter("n", value="<<billsec>>"))
    )
    data = {"name": "Second", "stage": "chain", "spec": chained, "sample": "answered"}
    html = send(editor, f"/projects/{people.project}/webhooks/preview", data).json["html"]
    assert "&#34;id&#34;: 12" in html
    assert "&#34;n&#34;: 49" in html


@pytest.mark.parametrize("sample", ["answered", "missed", "anonymous", "transferred", "nasty"])
def test_a_sample_has_everything_that_google_analytics_needs(people: People, editor: Browser, sample: str) -> None:
    (ready,) = fill(default_event(), {"measurement_id": "G-ABC123DEF4"})
    data = {"name": "GA", "stage": ready.stage, "spec": dump_spec(ready.spec), "sample": sample, "secret": "s3cret"}
    shown = send(editor, f"/projects/{people.project}/webhooks/preview", data).json
    assert (shown["errors"], shown["notes"]) == ([], [])
    assert "1391543214.1778750000" in shown["html"]
    assert "1778753990" in shown["html"]


def take_in(editor: Browser, people: People, *webhooks: dict[str, Any]) -> Any:
    file = json.dumps({"format": "pbxhub-webhooks", "version": 1, "webhooks": webhooks})
    address = f"/projects/{people.project}/webhooks/import"
    editor.get(address)
    return editor.post(address, {"text": file, "confirmed": "1"})


def test_an_import_cannot_put_itself_before_the_locked_event(
    database: Database, people: People, editor: Browser
) -> None:
    with database.write() as session:
        locked = Webhook(
            project_id=people.project,
            name="GA",
            stage="incoming.after",
            locked=True,
            spec=WebhookSpec(),
            created_on=utc_now(),
        )
        session.add(locked)
    answer = take_in(editor, people, {"name": "GA", "stage": "incoming.after", "spec": spec()})
    assert answer.status_code == 422
    assert "webhooks.GA.name" in answer.get_data(as_text=True)
    with database.read() as session:
        assert [row.locked for row in session.scalars(select(Webhook))] == [True]


def test_an_import_to_an_address_that_is_refused_is_refused(people: People, editor: Browser) -> None:
    answer = take_in(editor, people, {"name": "X", "stage": "incoming.after", "spec": spec("http://169.254.169.254/")})
    assert answer.status_code == 422
    assert "webhooks.X.url" in answer.get_data(as_text=True)


@pytest.mark.parametrize("depth", [120, 5_000, 100_000])
def test_json_nested_beyond_all_measure_is_refused(people: People, editor: Browser, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    address = f"/projects/{people.project}/webhooks"
    there = add(editor, people)
    headers = {"X-CSRFToken": editor.token, "Content-Type": "application/json"}
    for body in (deep, f'{{"copy_of": {there}, "stage": "incoming.after", "spec": {{"request": {deep}}}}}'):
        assert editor.client.post(f"{address}/preview", data=body, headers=headers).status_code == 400
    editor.get(f"{address}/import")
    assert editor.post(f"{address}/import", {"text": deep}).status_code == 422


def test_an_event_with_blanks_of_a_template_is_not_switched_on(
    people: People, editor: Browser, database: Database
) -> None:
    left = spec(
        "https://hook.eu1.make.com/[[id]]", parameters=(Parameter("chat", value="<<caller>> [[chat_id]] [[x]]"),)
    )
    address = f"/projects/{people.project}/webhooks"
    draft = {"name": "Lead", "stage": "incoming.after", "spec": left}
    answer = send(editor, f"{address}/save", {**draft, "enabled": True})
    assert answer.json["errors"] == [
        {
            "path": path,
            "message": f"still contains [[{blank}]] of the template; fill it in before you switch the webhook on",
        }
        for path, blank in (("url", "id"), ("parameters.chat", "chat_id"))
    ]
    there = send(editor, f"{address}/save", {**draft, "enabled": False}).json["id"]
    editor.get(address)
    page = editor.post(f"{address}/{there}/enabled", {"enabled": "1"}, follow_redirects=True).get_data(as_text=True)
    assert "url: still contains [[id]] of the template" in page
    assert not webhook(database, there).enabled
    assert take_in(editor, people, {"name": "B", "stage": "incoming.after", "spec": left}).status_code == 422


def test_another_zone_of_the_project_is_that_of_its_requests_from_the_next_call_on(
    settings: Settings, database: Database, people: People, editor: Browser, signed_in: SignedIn
) -> None:
    add(editor, people, spec=spec(parameters=(Parameter("at", value="<<calldate|date:%z>>"),)))
    with database.read() as session:
        known = context_of(database).webhook_cache.fetch(session, {people.project})[people.project]
    assert str(known.zone) == "Europe/Kyiv"
    owner, address = signed_in("owner"), f"/projects/{people.project}/settings"
    owner.get(address)
    owner.post(address, {"name": "Ours", "time_zone": "Asia/Tokyo", "country": "UA"})
    call_over(database, Vault(settings.secret_key), people)
    with database.read() as session:
        assert json.loads(session.scalars(select(Delivery.body)).one()) == {"at": "+0900"}


def test_a_sample_of_an_outgoing_call_is_one(people: People, editor: Browser) -> None:
    parameters = tuple(Parameter(name, value=f"<<{name}>>") for name in ("direction", "call_type", "legs"))
    data = {"name": "x", "stage": "outgoing.after", "spec": spec(parameters=parameters), "sample": "missed"}
    html = unescape(send(editor, f"/projects/{people.project}/webhooks/preview", data).json["html"])
    assert '"call_type": "out"' in html
    assert '"status": "NO ANSWER"' in html


def test_a_secret_sealed_with_another_key_is_said_and_nothing_is_sent(
    database: Database, people: People, editor: Browser
) -> None:
    with Receiver() as receiver:
        there = add(editor, people, spec=with_bearer(receiver.url), secret="t0ken")
        with database.write() as session:
            session.get_one(Webhook, there).secret_sealed = Vault(b"other".ljust(32)).seal("t0ken")
        data = {"id": there, "name": "Lead", "stage": "incoming.after", "spec": with_bearer(receiver.url)}
        for path in ("preview", "test"):
            answer = send(editor, f"/projects/{people.project}/webhooks/{path}", {**data, "sample": "answered"})
            assert "restore the old key" in answer.json["html"]
        assert receiver.connections == 0


def test_a_test_that_has_to_wait_keeps_no_file_open(
    app: Flask, people: People, editor: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, close = [], Upload.close
    monkeypatch.setattr(Upload, "close", lambda upload: (closed.append(upload), close(upload)))
    sends = {"request": {"url": "http://r.example/", "format": "multipart",
                         "parameters": [{"name": "audio", "type": "recording"}]}}  # fmt: skip
    data = {"name": "x", "stage": "incoming.after", "spec": sends, "sample": "answered"}
    with app.app_context():
        slow = hub().slow_requests
    with slow.one(people.project), slow.one(people.project):
        assert send(editor, f"/projects/{people.project}/webhooks/test", data).status_code == 429
    assert len(closed) == 1
