"""Somebody gives an event a certificate to show, and an authority of the receiver's own; the key never comes back."""

import ipaddress
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select, text

from pbxhub.delivery.context import open_context
from pbxhub.sending.address_guard import AddressGuard
from pbxhub.settings import Settings
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.receivers import misbehaving as zoo
from pbxhub.testing.receivers.bad_tls import Authority, new_authority
from pbxhub.testing.receivers.misbehaving import Cage
from pbxhub.vault import Vault
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec, dump_spec
from tests.support.people import Browser, People
from tests.support.shared_app import shared_app

# on one kind of database: other tests of the same pages show that these queries go on both
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

SignedIn = Callable[[str], Browser]


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


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


@pytest.fixture
def cage(authority: Authority) -> Iterator[Cage]:
    """A receiver that lets in only who shows a certificate of its authority."""
    with Cage(zoo.says(zoo.OK), authority.strict_server()) as one:
        yield one


class Form:
    """The editor of one event, as the page sends it."""

    def __init__(self, browser: Browser, people: People, url: str, **request: Any) -> None:
        self.browser, self.pages = browser, f"/projects/{people.project}/webhooks"
        self.id: int | None = None
        self.revision = 1
        self.request = {"url": url, **request}

    def send(self, path: str, **more: Any) -> Any:
        spec = dump_spec(WebhookSpec(request=RequestSpec(**self.request)))
        own = {"id": self.id, "revision": self.revision, "name": "CRM", "stage": "incoming.after", "enabled": True}
        data = {**own, "spec": spec, "sample": "answered", **more}
        return self.browser.client.post(f"{self.pages}/{path}", json=data, headers={"X-CSRFToken": self.browser.token})

    def save(self, **more: Any) -> dict[str, str]:
        """The messages by field; {} when it was saved."""
        answer = self.send(f"{self.id}/save" if self.id else "save", **more)
        if answer.status_code == 200:
            self.revision += 1 if self.id else 0
            self.id = answer.json["id"]
            return {}
        assert answer.status_code == 422, answer.text
        return {error["path"]: error["message"] for error in answer.json["errors"]}


@pytest.mark.slow
def test_a_test_send_shows_the_certificate_that_was_given_and_the_kept_one(
    people: People, editor: Browser, authority: Authority, cage: Cage
) -> None:
    certificate, key = authority.client()
    form = Form(editor, people, cage.url, tls_ca=authority.pem, tls_certificate=certificate)
    assert "Enter the private key" in form.send("test").json["errors"][0]["message"]
    assert "answered 200" in form.send("test", tls_key=key).json["html"]
    assert form.save(tls_key=key) == {}
    assert "answered 200" in form.send("test").json["html"]


def test_the_key_is_sealed_and_in_no_page_no_audit_log_and_no_file(
    database: Database, people: People, editor: Browser, authority: Authority
) -> None:
    certificate, key = authority.client()
    form = Form(editor, people, "https://crm.example.com/", tls_certificate=certificate)
    assert form.save(tls_key=f"Bag Attributes\n    friendlyName: hub\n{key}") == {}
    line = key.splitlines()[1]
    pages = (f"{form.pages}/{form.id}/edit", f"{form.pages}/{form.id}/history", f"{form.pages}/export.json", form.pages)
    shown = [editor.get(path) for path in pages]
    assert {answer.status_code for answer in shown} == {200}
    assert not any(line in answer.text or "PRIVATE KEY-----M" in answer.text for answer in shown)
    assert '"hasTlsKey": true' in shown[0].text
    with database.read() as session:
        stored = json.dumps([list(map(str, row)) for row in session.execute(text("SELECT * FROM webhook"))])
        told = json.dumps([list(map(str, row)) for row in session.execute(text("SELECT * FROM audit_entry"))])
        sealed = session.scalars(select(Webhook.tls_key_sealed).where(Webhook.id == form.id)).one()
    assert line not in stored + told
    assert sealed


@pytest.mark.parametrize("wrong", ["another", "locked", "garbage", "none", "cut", "certificate"])
def test_a_key_that_is_none_or_another_ones_is_refused_at_its_field(
    people: People, editor: Browser, authority: Authority, wrong: str
) -> None:
    certificate, key = authority.client()
    given, said = {
        "another": (authority.client()[1], "does not match the certificate"),
        "locked": (key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY").replace("RSA ", "").replace("EC ", ""),
                   "is protected by a password"),
        "garbage": ("my key", "is not a private key in PEM form"),
        "none": ("", "Enter the private key of the certificate"),
        "cut": ("".join(key.splitlines(True)[:2] + key.splitlines(True)[-1:]), "the text between cannot be read"),
        "certificate": (certificate, "is not a private key in PEM form"),
    }[wrong]  # fmt: skip
    form = Form(editor, people, "https://crm.example.com/", tls_certificate=certificate)
    errors = form.save(tls_key=given)
    assert list(errors) == ["tls_key"]
    assert said in errors["tls_key"]
    assert key.splitlines()[1] not in str(errors)


def test_a_certificate_that_cannot_be_read_is_refused_at_its_field(
    people: People, editor: Browser, authority: Authority
) -> None:
    certificate, key = authority.client()
    lines = certificate.splitlines(True)
    cut = "".join(lines[:2] + lines[-1:])
    for field in ("tls_certificate", "tls_ca"):
        errors = Form(editor, people, "https://crm.example.com/", **{field: cut}).save(tls_key=key)
        assert "cannot be read" in errors[field]
    plain = Form(editor, people, "http://crm.example.com/", tls_certificate=certificate).save(tls_key=key)
    assert "https only" in plain["tls_certificate"]
    without = Form(editor, people, "https://crm.example.com/").save(tls_key=key)
    assert without == {"tls_key": "Give the certificate of this key, too."}


def test_certificate_and_key_are_replaced_together_and_removed(
    database: Database, people: People, editor: Browser, authority: Authority
) -> None:
    first, key = authority.client()
    form = Form(editor, people, "https://crm.example.com/", tls_certificate=first)
    assert form.save(tls_key=key) == {}
    before = sealed(database, form)
    assert form.save() == {}
    assert sealed(database, form) == before != ""
    form.request["tls_certificate"], key = authority.client()
    assert "belongs to another" in form.save()["tls_key"]
    assert form.save(tls_key=key) == {}
    assert sealed(database, form) not in ("", before)
    form.request["tls_certificate"] = ""
    assert form.save() == {}
    assert sealed(database, form) == ""
    form.request["tls_certificate"] = first
    assert "Enter the private key" in form.save()["tls_key"]


def test_the_key_does_not_follow_to_another_host(
    database: Database, people: People, editor: Browser, authority: Authority, cage: Cage
) -> None:
    certificate, key = authority.client()
    form = Form(editor, people, "https://crm.example.com/", tls_ca=authority.pem, tls_certificate=certificate)
    assert form.save(tls_key=key) == {}
    form.request["url"] = cage.url
    assert form.save()["tls_key"].startswith(
        "Enter the private key again: it was entered for https://crm.example.com and"
    )
    assert "Enter the private key again" in form.send("test").json["errors"][0]["message"]
    assert "Enter the private key again" in str(form.send("preview").json["notes"])
    assert form.save(tls_key=key) == {}
    assert sealed(database, form)


@pytest.mark.slow
def test_an_event_that_comes_in_a_file_without_its_key_comes_switched_off(
    database: Database, people: People, editor: Browser, authority: Authority
) -> None:
    certificate, key = authority.client()
    form = Form(editor, people, "https://crm.example.com/", tls_certificate=certificate)
    assert form.save(tls_key=key) == {}
    file = editor.get(f"{form.pages}/export.json").json
    assert "PRIVATE KEY" not in json.dumps(file)
    file["webhooks"][0]["spec"]["request"]["tls_certificate"] = authority.client()[0]
    planned = editor.post(f"{form.pages}/import", {"text": json.dumps(file)}).text
    assert "imported switched off" in planned
    editor.post(f"{form.pages}/import", {"text": json.dumps(file), "confirmed": "1"})
    with database.read() as session:
        row = session.get_one(Webhook, form.id)
        assert (row.enabled, row.tls_key_sealed) == (False, "")


def sealed(database: Database, form: Form) -> str:
    with database.read() as session:
        return session.get_one(Webhook, form.id).tls_key_sealed
