"""A PBX is connected through the page, the API and the command line: one rule, one sentence, one line in the log."""

import hashlib
from collections.abc import Callable
from html import unescape

import pytest
from flask import Flask
from sqlalchemy import select, update

from pbxhub.delivery.context import open_context
from pbxhub.settings import Settings
from pbxhub.store.accounts import ApiKey, AuditEntry, Pbx, Project, User
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.vault import Vault
from pbxhub.webhooks.spec import RequestSpec, Steering, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People
from tests.support.shared_app import shared_app

SignedIn = Callable[[str], Browser]
GOOD = {"name": "Office", "host": "pbx.example.com", "port": 5038, "username": "hub", "secret": "s3cret word"}
INJECTED = "hub]\nsecret = x\npermit = 0.0.0.0/0.0.0.0\n[hub2"
KEY = "pbx_test_key"


@pytest.fixture
def app(settings: Settings, database: Database) -> Flask:
    """Pages and API."""
    return shared_app(settings, open_context(settings, database, Vault(settings.secret_key)))


@pytest.fixture
def key(database: Database, people: People) -> dict[str, str]:
    with database.write() as session:
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        session.add(ApiKey(project_id=people.project, name="k", key_hash=digest, prefix="p", scopes=["admin"],
                           created_on=now()))  # fmt: skip
    return {"X-API-KEY": KEY}


def pbx(database: Database) -> Pbx:
    with database.read() as session:
        return session.scalars(select(Pbx)).one()


def put(database: Database, people: People, **values: object) -> str:
    """A row as an earlier version let it in; the address of its page."""
    usual = {"name": "p", "host": "h", "username": "u", "secret_sealed": "", "created_on": now()}
    with database.write() as session:
        row = Pbx(project_id=people.project, **{**usual, **values})
        session.add(row)
        session.flush()
        return f"/projects/{people.project}/pbxs/{row.id}"


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("username", INJECTED, "as one word in manager.conf"),
        ("username", "two words", "as one word in manager.conf"),
        ("username", "a;b", "as one word in manager.conf"),
        ("username", "General", "has a special meaning in manager.conf"),
        ("username", "pbxhub-rights", "has a special meaning in manager.conf"),
        ("host", "http://pbx.example.com", "not a host name or an IP address"),
        ("host", "127.1", "not a host name or an IP address"),
        ("host", "127.0.0.1", "must not be at this address"),
        ("host", "10.0.0.5", "must not be at this address"),
        ("host", "localhost", "must not be at this address"),
        ("port", 65536, ""),
        ("secret", "a\nb", "control characters"),
        ("name", "a\tb", "control characters"),
        ("incoming_contexts", "from-trunk]", "not names of dialplan contexts"),
        ("incoming_contexts", "from trunk", "not names of dialplan contexts"),
        ("charset", "utf-16", "does not know this charset"),
        ("tls_ca", "-----BEGIN NONSENSE-----", "is not a certificate in PEM form"),
    ],
)
def test_page_and_api_refuse_the_same(
    app: Flask, database: Database, people: People, signed_in: SignedIn, key: dict[str, str],
    field: str, value: object, sentence: str,
) -> None:  # fmt: skip
    owner, by_list = signed_in("owner"), field == "incoming_contexts"
    page = owner.post(
        f"/projects/{people.project}/pbxs/new", {"contexts": "a", **GOOD, "contexts" if by_list else field: value}
    )
    by_api = [value] if by_list else value
    answer = app.test_client().post("/api/v1/pbxs", json={**GOOD, field: by_api}, headers=key)
    assert (page.status_code, answer.status_code) == (422, 422)
    assert sentence in unescape(page.text)
    assert sentence in answer.json["detail"]
    assert answer.json["errors"][0]["path"].startswith(field)
    with database.read() as session:
        assert session.scalars(select(Pbx)).all() == []


def test_an_empty_secret_is_refused_by_the_api(app: Flask, people: People, key: dict[str, str]) -> None:
    """The page makes one and shows it; a program would never learn it."""
    for body in ({**GOOD, "secret": ""}, {name: GOOD[name] for name in GOOD if name != "secret"}):
        answer = app.test_client().post("/api/v1/pbxs", json=body, headers=key)
        assert (answer.status_code, answer.json["errors"][0]["path"]) == (422, "secret")


def test_both_doors_have_every_field_and_write_the_same_line_in_the_log(
    app: Flask, database: Database, people: People, signed_in: SignedIn, key: dict[str, str]
) -> None:
    form = {**GOOD, "contexts": "from-a, from-b", "plain_login": "y", "enabled": "y"}
    signed_in("owner").post(f"/projects/{people.project}/pbxs/new", form)
    body = {**GOOD, "incoming_contexts": ["from-a", "from-b"], "plain_login": True, "tls_ca": ""}
    made = app.test_client().post("/api/v1/pbxs", json=body, headers=key)
    assert (made.status_code, made.json["plain_login"], made.json["tls_ca"]) == (201, True, "")
    with database.read() as session:
        first, second = session.scalars(select(Pbx).order_by(Pbx.id))
        own = ("id", "secret_sealed", "salt", "created_on")
        names = [column.key for column in Pbx.__table__.c if column.key not in own]
        assert [getattr(first, name) for name in names] == [getattr(second, name) for name in names]
        by_page, by_api = session.scalars(select(AuditEntry).where(AuditEntry.action == "PBX added"))
        assert by_page.changes == by_api.changes


@pytest.mark.slow
def test_an_operator_puts_a_pbx_anywhere_and_an_owner_who_moves_it_is_asked_again(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    with database.write() as session:
        session.execute(update(User).where(User.name == "Owner").values(operator=True))
    operator, form = signed_in("owner"), {**GOOD, "host": "10.0.0.5", "contexts": "a", "enabled": "y"}
    operator.post(f"/projects/{people.project}/pbxs/new", form)
    assert (pbx(database).host, pbx(database).any_network) == ("10.0.0.5", True)
    with database.write() as session:
        session.execute(update(User).where(User.name == "Owner").values(operator=False))
    page = f"/projects/{people.project}/pbxs/{pbx(database).id}/edit"
    assert signed_in("owner").post(page, {**form, "name": "Other"}).status_code == 302
    assert (pbx(database).name, pbx(database).any_network) == ("Other", True)
    assert signed_in("owner").post(page, {**form, "port": "22"}).status_code == 422
    assert signed_in("owner").post(page, {**form, "host": "192.168.0.1"}).status_code == 422
    assert signed_in("owner").post(page, {**form, "host": "pbx.example.com"}).status_code == 302
    assert (pbx(database).host, pbx(database).any_network) == ("pbx.example.com", False)


def test_an_owner_may_use_a_network_that_was_granted(database: Database, people: People, signed_in: SignedIn) -> None:
    with database.write() as session:
        session.get_one(Project, people.project).pbx_networks = ["10.0.0.0/24"]
    owner, form = signed_in("owner"), {**GOOD, "contexts": "a", "enabled": "y"}
    page = f"/projects/{people.project}/pbxs/new"
    refused = owner.post(page, {**form, "host": "10.0.1.5"})
    assert "Give a public address, or one in 10.0.0.0/24" in refused.text
    assert owner.post(page, {**form, "host": "10.0.0.5"}).status_code == 302
    assert not pbx(database).any_network


def test_an_owner_names_no_files_of_the_host(database: Database, people: People, signed_in: SignedIn) -> None:
    owner = signed_in("owner")
    form = {**GOOD, "contexts": "a", "cel_path": "/etc/passwd", "recordings": "/etc"}
    owner.post(f"/projects/{people.project}/pbxs/new", form)
    owner.post(f"/projects/{people.project}/pbxs/{pbx(database).id}/edit", form)
    assert (pbx(database).cel_path, pbx(database).recordings) == ("", "")


def test_the_page_tells_neither_path_of_a_pbx(database: Database, people: People, signed_in: SignedIn) -> None:
    with_files = put(database, people, cel_path="/var/cel/master.db", recordings="/var/spool/a",
                     state="connected", state_code="cel_unreadable", state_detail="/var/cel/master.db")  # fmt: skip
    page = signed_in("owner").get(with_files).text
    assert "/var/cel" not in page
    assert "/var/spool/a" not in page
    assert page.count("named by the operator") == 2
    assert "CEL cannot be read" in page


def test_a_user_name_that_an_earlier_version_let_in_is_not_printed_into_manager_conf(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    page = unescape(signed_in("owner").get(put(database, people, username=INJECTED)).text)
    assert "permit = 0.0.0.0" not in page
    assert 'id="snippet"' not in page
    assert "The user name of this PBX cannot be used in manager.conf" in page


@pytest.mark.slow
def test_such_a_pbx_can_still_be_changed_elsewhere_and_asks_for_a_name_when_that_is_changed(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    address = put(database, people, username="two words", incoming_contexts=["a"])
    owner, form = signed_in("owner"), {"name": "Renamed", "host": "h", "port": "5038", "contexts": "a"}
    assert owner.post(f"{address}/edit", {**form, "username": "two words"}).status_code == 302
    assert owner.post(f"{address}/edit", {**form, "username": "three words now"}).status_code == 422
    assert owner.post(f"{address}/edit", {**form, "username": "hub"}).status_code == 302
    assert (pbx(database).name, pbx(database).username) == ("Renamed", "hub")


@pytest.mark.parametrize("secret", ["half;comment", ">arrow"])
def test_a_secret_that_manager_conf_would_read_otherwise_is_not_printed(
    database: Database, people: People, signed_in: SignedIn, secret: str
) -> None:
    form = {**GOOD, "contexts": "a", "secret": secret}
    page = signed_in("owner").post(f"/projects/{people.project}/pbxs/new", form, follow_redirects=True)
    assert secret not in unescape(page.text)
    assert "would not read the secret you entered correctly from manager.conf" in page.text


def test_the_name_of_a_question_that_would_change_the_dialplan_is_not_printed_there(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    name = "x))\n same => n,System(id"
    spec = WebhookSpec(RequestSpec(url="https://example.com/"), steering=Steering())
    with database.write() as session:
        hook = Webhook(project_id=people.project, name=name, stage="call.question", spec=spec, created_on=now())
        session.add(hook)
        session.flush()
        page = f"/projects/{people.project}/call-control/{hook.id}"
    shown = signed_in("editor").get(page)
    assert "cannot be used in the dialplan" in shown.text
    assert "pbxhub-ask" not in shown.text
