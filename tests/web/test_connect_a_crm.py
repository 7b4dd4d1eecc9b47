"""An editor connects a CRM: agrees at the provider and comes back with tokens; nobody else's answer counts."""

import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html import unescape
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Flask
from sqlalchemy import select

from pbxhub.delivery.context import open_context
from pbxhub.delivery.live_connections import open_tokens
from pbxhub.delivery.renewals import RenewalMetrics, renew_due
from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.sender import Sender
from pbxhub.settings import Settings
from pbxhub.store.accounts import AuditEntry
from pbxhub.store.connections import FOREVER, READY, Connection
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.dial_addresses import DialAddress
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.receivers.receiver import Received, Receiver, Reply
from pbxhub.vault import Vault
from pbxhub.webhooks.connection_spec import ConnectionSpec
from tests.support.oauth_server import CLIENT, SECRET, OAuthServer, oauth_server
from tests.support.people import Browser, People
from tests.support.shared_app import shared_app

SignIn = Callable[[str], Browser]


@pytest.fixture
def app(settings: Settings, database: Database) -> Flask:
    """The application; its requests may reach this machine."""
    context = open_context(settings, database, Vault(settings.secret_key))
    application = shared_app(settings, context, AddressGuard((ip_network("127.0.0.0/8"),)))
    application.testing = True
    return application


@pytest.fixture
def provider() -> Iterator[OAuthServer]:
    with oauth_server() as server:
        yield server


def form(provider: OAuthServer, **changes: str) -> dict[str, str]:
    return {
        "name": "Our CRM", "client_id": CLIENT, "secret": SECRET, "scopes": "calls", "hosts": provider.url,
        "test_url": f"{provider.url}/api/me", "authorize_url": f"{provider.url}/authorize",
        "token_url": f"{provider.url}/token", "client_auth": "body", "pkce": "y", "send_as": "header",
        "word": "Bearer", **changes,
    }  # fmt: skip


def rows(database: Database) -> list[Connection]:
    with database.read() as session:
        return list(session.scalars(select(Connection)))


def add(member: Browser, people: People, given: dict[str, str], kind: str = "authorization_code") -> str:
    """Adds a connection; the address of its page."""
    page = f"/projects/{people.project}/connections/new/{kind}"
    member.get(page)
    answer = member.post(page, given)
    assert answer.status_code == 302, re.findall(r'field-error">([^<]*)', answer.text)
    return str(answer.location)


def leave(member: Browser, page: str) -> str:
    """Presses Connect; the address at the provider to which the browser is led."""
    member.get(page)
    answer = member.post(f"{page}/connect")
    found = re.search(r'content="0;url=([^"]*)"', answer.text)
    assert found, answer.text
    return unescape(found[1])


def agree(url: str) -> str:
    """What the provider sends the browser back to."""
    answer = requests.get(url, allow_redirects=False, timeout=10)
    assert answer.status_code == 302, answer.text
    back = urlsplit(answer.headers["Location"])
    assert f"{back.scheme}://{back.netloc}" == "http://localhost"
    return f"{back.path}?{back.query}"


@pytest.mark.slow
def test_an_editor_connects_with_consent_and_pkce(
    signed_in: SignIn, people: People, database: Database, provider: OAuthServer, settings: Settings
) -> None:
    editor = signed_in("editor")
    page = add(editor, people, form(provider))
    assert "http://localhost/connections/callback" in editor.get(page).text
    assert "It is not connected yet. Press Connect." in editor.post(f"{page}/test").text
    url = leave(editor, page)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    assert (asked["code_challenge_method"], asked["scope"], asked["response_type"]) == ("S256", "calls", "code")
    answer = editor.get(agree(url))
    assert answer.location == page
    assert "Connected." in editor.get(page).text
    (row,) = rows(database)
    tokens = open_tokens(Vault(settings.secret_key), row.tokens_sealed)
    assert (row.state, bool(tokens.access), bool(tokens.refresh)) == ("ready", True, True)
    with database.read() as session:
        told = " ".join(f"{each.action} {each.changes}" for each in session.scalars(select(AuditEntry)))
    assert "connection connected" in told
    for secret in (SECRET, tokens.access, tokens.refresh):
        assert secret not in told + editor.get(page).text + editor.get(f"{page}/edit").text + row.tokens_sealed
    tested = editor.post(f"{page}/test")
    assert "The credentials were accepted (status 200)." in tested.text
    assert provider.served == ["me"]


def test_a_refused_form_says_that_the_secret_has_to_be_entered_again(
    signed_in: SignIn, people: People, provider: OAuthServer
) -> None:
    editor, page = signed_in("editor"), f"/projects/{people.project}/connections/new/authorization_code"
    assert "Enter it again" not in editor.get(page).text
    refused = editor.post(page, form(provider, hosts="127.0.0.1/")).text
    assert refused.count("Enter it again") == 1
    assert SECRET not in refused
    assert "Enter it again" not in editor.post(page, form(provider, hosts="127.0.0.1/", secret="")).text


def test_the_answer_of_a_stranger_counts_nothing(
    signed_in: SignIn, people: People, database: Database, provider: OAuthServer
) -> None:
    """A state that was stolen, made up, used before or superseded: nothing is stored, and no code is exchanged."""
    editor, owner = signed_in("editor"), signed_in("owner")
    page = add(editor, people, form(provider))
    back = agree(leave(editor, page))
    for thief, answer in ((owner, back), (editor, re.sub("state=[^&]*", "state=made-up", back)), (editor, back)):
        assert thief.get(answer).status_code == 302
        assert [row.state for row in rows(database)] == ["new"]
    assert "does not belong to a Connect of this browser" in editor.get("/projects").text
    first = agree(leave(editor, page))
    second = agree(leave(editor, page))
    editor.get(first)
    assert [row.state for row in rows(database)] == ["new"]
    assert provider.asked == []
    editor.get(second)
    assert [row.state for row in rows(database)] == ["new"], "the wrong state has ended the consent"


def test_who_does_not_agree_reads_the_words_of_the_provider(
    signed_in: SignIn, people: People, database: Database, provider: OAuthServer
) -> None:
    editor = signed_in("editor")
    page = add(editor, people, form(provider))
    provider.agrees = False
    editor.get(agree(leave(editor, page)))
    assert "The provider refused: access_denied: No, thanks" in editor.get(page).text
    assert [row.state for row in rows(database)] == ["new"]


def test_a_code_is_not_exchanged_for_a_connection_that_was_changed_meanwhile(
    signed_in: SignIn, people: People, provider: OAuthServer, database: Database
) -> None:
    editor = signed_in("editor")
    page = add(editor, people, form(provider))
    back = agree(leave(editor, page))
    editor.get(f"{page}/edit")
    assert editor.post(f"{page}/edit", form(provider, scopes="contacts", secret="")).status_code == 302
    editor.get(back)
    assert "The connection was changed or renewed meanwhile" in editor.get(page).text
    assert provider.asked == []
    assert [row.state for row in rows(database)] == ["new"]


@pytest.mark.slow
def test_a_secret_is_asked_for_again_before_it_goes_anywhere_else(
    signed_in: SignIn, people: People, provider: OAuthServer, database: Database
) -> None:
    editor = signed_in("editor")
    page = add(editor, people, form(provider))
    editor.get(agree(leave(editor, page)))
    assert rows(database)[0].state == "ready"
    for change in ({"hosts": f"{provider.url}\nevil.example.com"}, {"token_url": "https://evil.example.com/token"}):
        answer = editor.post(f"{page}/edit", form(provider, secret="", **change))
        assert answer.status_code == 422
        assert "Enter the secret again: it was entered for other addresses" in unescape(answer.text)
    assert rows(database)[0].spec.hosts == (provider.url,)
    answer = editor.post(f"{page}/edit", form(provider, hosts=f"{provider.url}\nb.example.com"))
    assert answer.status_code == 302
    row = rows(database)[0]
    assert (row.state, row.ready_until, row.tokens_sealed) == ("new", None, ""), "the tokens were for the former hosts"


@pytest.mark.slow
def test_a_connection_keeps_its_tokens_when_only_its_name_changes_and_its_webhooks_follow(
    signed_in: SignIn, people: People, provider: OAuthServer, database: Database
) -> None:
    editor = signed_in("editor")
    page = add(editor, people, form(provider))
    editor.get(agree(leave(editor, page)))
    webhook = _webhook(editor, people, provider, "Our CRM")
    editor.get(f"{page}/edit")
    assert editor.post(f"{page}/edit", form(provider, name="CRM of ours", secret="")).status_code == 302
    assert rows(database)[0].state == "ready"
    with database.read() as session:
        row = session.get_one(Webhook, webhook)
        assert (row.spec.request.auth.name, row.revision) == ("CRM of ours", 2)
    refused = editor.post(f"{page}/edit", form(provider, name="CRM of ours", hosts="other.example.com", test_url=""))
    assert "These webhooks need another host: To the CRM." in unescape(refused.text)
    editor.get(page)
    editor.post(f"{page}/delete")
    assert "It is used by: To the CRM." in editor.get(page).text


def test_more_parameters_go_to_the_address_of_the_consent_but_none_in_place_of_the_hubs_own(
    signed_in: SignIn, people: People, provider: OAuthServer
) -> None:
    editor = signed_in("editor")
    page = f"/projects/{people.project}/connections/new/authorization_code"
    editor.get(page)
    refused = editor.post(page, form(provider, extra="access_type=offline\nstate=mine\nscope=all"))
    assert refused.status_code == 422
    assert "has scope, state, which the hub sets itself; remove it" in refused.text
    url = leave(
        editor, add(editor, people, form(provider, extra="access_type=offline\nuri=https://a.example.com/?b=c"))
    )
    asked = parse_qs(urlsplit(url).query)
    assert (asked["access_type"], asked["uri"]) == (["offline"], ["https://a.example.com/?b=c"])
    assert (len(asked["state"]), asked["scope"]) == (1, ["calls"])


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("basic", {"username": "hub"}), ("bearer", {}), ("header", {"field_name": "X-Way"}),
        ("query", {"field_name": "way"}),
    ],
)  # fmt: skip
def test_an_answer_that_repeats_the_secret_shows_no_part_of_it(
    signed_in: SignIn, people: People, kind: str, given: dict[str, str]
) -> None:
    """Not even where the shown part of the answer ends in the middle of it."""
    secret = "wordofthehub" * 4

    def repeat(asked: Received) -> Reply:
        sent = f"{asked.header('authorization')} {asked.header('x-way')} {asked.path}"
        return Reply(body=("x" * 480 + sent).encode() if "/late" in asked.path else f"You sent: {sent}".encode())

    editor = signed_in("editor")
    with Receiver(repeat) as receiver:
        host = f"http://127.0.0.1:{receiver.port}"
        for where in ("early", "late"):
            wanted = {"name": where, "secret": secret, "hosts": host, "test_url": f"{host}/{where}", **given}
            page = add(editor, people, wanted, kind)
            shown = editor.post(f"{page}/test").text
            assert "The credentials were accepted (status 200)." in shown
            assert "wordof" not in shown
            assert b64encode(b"hub:wordof").decode()[:12] not in shown


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"name": "CRM of ours"}, {"test_url": ""}, {"secret": SECRET}])
def test_a_token_that_is_being_renewed_is_not_lost_when_an_editor_saves(
    signed_in: SignIn, people: People, provider: OAuthServer, database: Database, settings: Settings,
    change: dict[str, str],
) -> None:  # fmt: skip
    """The provider has rotated the refresh token: the former one is good for nothing."""
    editor = signed_in("editor")
    page = add(editor, people, form(provider))
    editor.get(agree(leave(editor, page)))
    former = open_tokens(Vault(settings.secret_key), rows(database)[0].tokens_sealed)
    provider.before_answer = lambda: _edit(editor, page, form(provider, **{"secret": "", **change}))
    _renew(settings, database)
    tokens = open_tokens(Vault(settings.secret_key), rows(database)[0].tokens_sealed)
    assert tokens.refresh not in ("", former.refresh)
    assert tokens.access != former.access
    provider.before_answer = lambda: None
    _renew(settings, database)
    assert (rows(database)[0].state, provider.asked[1:]) == ("ready", ["refresh_token"] * 2)


@pytest.mark.slow
def test_a_secret_entered_while_the_former_one_is_refused_is_tried_at_once(
    signed_in: SignIn, people: People, provider: OAuthServer, database: Database, settings: Settings
) -> None:
    editor = signed_in("editor")
    page = add(editor, people, form(provider, secret="wrong", client_auth="header"), "client_credentials")
    provider.before_answer = lambda: _edit(editor, page, form(provider, client_auth="header"))
    _renew(settings, database)
    assert rows(database)[0].state == "new"
    provider.before_answer = lambda: None
    _renew(settings, database)
    assert (rows(database)[0].state, provider.asked) == ("ready", ["client_credentials"] * 2)


def _edit(editor: Browser, page: str, given: dict[str, str]) -> None:
    editor.get(f"{page}/edit")
    assert editor.post(f"{page}/edit", given).status_code == 302


def _renew(settings: Settings, database: Database) -> None:
    """Renews the token of the only connection now."""
    context = open_context(settings, database, Vault(settings.secret_key))
    with database.write() as session:
        (row,) = session.scalars(select(Connection))
        row.renew_on = datetime.now(UTC)
    sender = Sender(AddressGuard((ip_network("127.0.0.0/8"),)))
    assert renew_due(context, sender, datetime.now(UTC), RenewalMetrics()) == 1
    sender.close()


def test_a_webhook_names_a_connection_that_is_there_and_may_go_to_its_host(
    signed_in: SignIn, people: People, provider: OAuthServer
) -> None:
    editor = signed_in("editor")
    add(editor, people, form(provider))
    for name, url, why in (
        ("Our CMR", f"{provider.url}/api", "Our CMR is not a connection of this project."),
        (
            "Our CRM",
            "https://evil.example.com/",
            "The connection Our CRM may not be used for https://evil.example.com.",
        ),
    ):
        answer = _save(editor, people, _payload(name, url))
        assert answer.status_code == 422
        assert why in answer.get_json()["errors"][0]["message"]


def _payload(connection: str, url: str) -> dict[str, Any]:
    auth = {"kind": "connection", "name": connection}
    return {"name": "To the CRM", "stage": "incoming.after", "enabled": True,
            "spec": {"request": {"url": url, "auth": auth}}}  # fmt: skip


def _save(editor: Browser, people: People, data: dict[str, Any]) -> Any:
    path = f"/projects/{people.project}/webhooks/save"
    return editor.client.post(path, json=data, headers={"X-CSRFToken": editor.token})


def _webhook(editor: Browser, people: People, provider: OAuthServer, connection: str) -> int:
    data = _payload(connection, f"{provider.url}/api/calls")
    answer = _save(editor, people, data)
    assert answer.status_code == 200, answer.text
    return int(answer.get_json()["id"])


def test_a_preset_asks_for_what_it_does_not_know_and_keeps_the_rest(
    signed_in: SignIn, people: People, database: Database
) -> None:
    editor = signed_in("editor")
    page = f"/projects/{people.project}/connections/new/zoho"
    shown = editor.get(page)
    given = dict(re.findall(r'name="(\w+)"[^>]*value="([^"]*)"', unescape(shown.text)))
    given |= {"hosts": "www.zohoapis.[[domain]]", "extra": "access_type=offline\nprompt=consent", "client_auth": "body",
              "send_as": "header", "client_id": "ours", "secret": SECRET}  # fmt: skip
    refused = editor.post(page, {**given, "domain": ""})
    assert refused.status_code == 422
    assert "give the domain of your Zoho data centre" in unescape(refused.text)
    assert editor.post(page, {**given, "domain": "eu"}).status_code == 302
    (row,) = rows(database)
    assert row.spec.oauth
    assert (row.spec.hosts, row.spec.oauth.word) == (("www.zohoapis.eu",), "Zoho-oauthtoken")
    assert row.spec.oauth.token_url == "https://accounts.zoho.eu/oauth/v2/token"


def test_a_waiting_webhook_and_its_delivery_say_for_which_connection(
    signed_in: SignIn, people: People, provider: OAuthServer, things: dict[str, Any], database: Database
) -> None:
    editor = signed_in("editor")
    add(editor, people, form(provider))
    webhook = _webhook(editor, people, provider, "Our CRM")
    assert "waits until the connection Our CRM has a token" in editor.get(f"/projects/{people.project}/webhooks").text
    with database.write() as session:
        delivery = session.get_one(Delivery, things["delivery_id"])
        delivery.webhook_id, delivery.state = webhook, "pending"
    page = editor.get(f"/projects/{people.project}/deliveries/{things['delivery_id']}").text
    assert "Waits until the connection Our CRM has a token." in page


def test_bitrix24_is_subscribed_to_the_address_for_clicks(
    signed_in: SignIn, people: People, database: Database, settings: Settings
) -> None:
    owner, project = signed_in("owner"), f"/projects/{people.project}"
    owner.get(f"{project}/webhooks/gallery/bitrix24-telephony")
    answers = {"portal": "b.bitrix24.com", "default_user": "1", "client_id": "local.1", "secret": "s", "dial": "on"}
    owner.post(f"{project}/webhooks/gallery/bitrix24-telephony", answers)
    page = f"{project}/crm-calls"
    assert "It is not connected yet. Press Connect." in owner.post(f"{page}/subscribe", {}, follow_redirects=True).text
    bound: list[dict[str, list[str]]] = []

    def bind(request: Received) -> Reply:
        url = urlsplit(request.path)
        if url.path != "/rest/event.bind.json" or parse_qs(url.query).get("auth") != ["token"]:
            return Reply(401, b'{"error": "NO_AUTH_FOUND"}')
        given = {name: values for name, values in parse_qs(url.query).items() if name != "auth"}
        if given in bound:
            return Reply(400, b'{"error": "ERROR_CORE", "error_description": "Handler already binded"}')
        bound.append(given)
        return Reply(200, b'{"result": true}')

    with Receiver(bind) as bitrix:
        with database.write() as session:
            row = session.scalars(select(Connection)).one()
            row.spec = ConnectionSpec("query", (f"http://127.0.0.1:{bitrix.port}",), name="auth")
            row.secret_sealed, row.state = Vault(settings.secret_key).seal("token"), READY
            session.get_one(DialAddress, people.project).crm_host = row.spec.hosts[0]
            row.ready_until = FOREVER
        for _ in range(2):
            told = owner.post(f"{page}/subscribe", {}, follow_redirects=True).text
            assert "Bitrix24 sends clicks on numbers to this hub now." in told
    address = unescape(re.findall(r'id="address"[^>]*>([^<]+)<', told)[0])
    events = ("ONEXTERNALCALLSTART", "ONEXTERNALCALLBACKSTART")
    assert bound == [{"event": [event], "handler": [address]} for event in events]


def test_the_address_for_clicks_goes_to_no_host_that_an_editor_has_chosen(
    signed_in: SignIn, people: People, database: Database, settings: Settings
) -> None:
    """An editor may put another connection into the set, and other hosts into its connection."""
    owner, project = signed_in("owner"), f"/projects/{people.project}"
    owner.get(f"{project}/webhooks/gallery/bitrix24-telephony")
    answers = {"portal": "b.bitrix24.com", "default_user": "1", "client_id": "local.1", "secret": "s", "dial": "on"}
    owner.post(f"{project}/webhooks/gallery/bitrix24-telephony", answers)
    page = f"{project}/crm-calls"
    assert "it gives this address to https://b.bitrix24.com." in owner.get(page).text
    with Receiver(lambda _: Reply(200, b"{}")) as stranger, database.write() as session:
        row = session.scalars(select(Connection)).one()
        row.spec = ConnectionSpec("query", (f"http://127.0.0.1:{stranger.port}",), name="auth")
        row.secret_sealed, row.state = Vault(settings.secret_key).seal("token"), READY
        row.ready_until = FOREVER
        session.commit()
        told = owner.post(f"{page}/subscribe", {}, follow_redirects=True).text
        assert "The set no longer has a connection for https://b.bitrix24.com." in told
        assert stranger.count == 0


def test_no_address_of_a_set_is_no_button_to_subscribe(signed_in: SignIn, people: People) -> None:
    owner, page = signed_in("owner"), f"/projects/{people.project}/crm-calls"
    owner.get(page)
    owner.post(f"{page}/renew", {})
    assert "Subscribe Bitrix24" not in owner.get(page).text
    assert owner.post(f"{page}/subscribe", {}).status_code == 404
