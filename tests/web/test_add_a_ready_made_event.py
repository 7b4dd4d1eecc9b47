"""A user adds a ready-made integration: pastes what the other system shows, and gets all of its events."""

import re
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import select

from pbxhub.store.accounts import Employee
from pbxhub.store.connections import FOREVER, READY, Connection
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.connection_presets import find_preset
from pbxhub.webhooks.gallery import Item, gallery
from tests.support.people import Browser, People

# on one kind of database: other tests of the same pages show that these queries go on both
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

KEY = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PORTAL = {"portal": "https://company.bitrix24.com/crm/", "default_user": "1"}
SignedIn = Callable[[str], Browser]


def add(browser: Browser, people: People, item: str, **given: str) -> str:
    path = f"/projects/{people.project}/webhooks/gallery/{item}"
    browser.get(path)
    answer = browser.post(path, given, follow_redirects=True)
    assert answer.status_code == 200, re.findall(r'class="field-error">([^<]+)', answer.get_data(as_text=True))
    return str(answer.get_data(as_text=True))


def events(database: Database) -> list[Webhook]:
    with database.read() as session:
        return list(session.scalars(select(Webhook).where(~Webhook.locked).order_by(Webhook.position)))


@pytest.mark.slow
@pytest.mark.parametrize("item", gallery(), ids=lambda item: item.id)
def test_every_integration_can_be_added(item: Item, people: People, signed_in: SignedIn) -> None:
    preset = find_preset(item.connection)
    given = {ask.name: ask.example for ask in (*item.ask, *(preset.ask if preset else ()))}
    grant = preset.spec.oauth.grant if preset and preset.spec.oauth else ""
    secret = KEY if grant == "jwt_bearer" else "s3cret" if item.secret or preset else ""
    page = add(signed_in("editor"), people, item.id, **given, client_id="id-1" if preset else "", secret=secret)
    assert ("Press Connect here" in page) == (grant == "authorization_code")


def test_the_events_of_a_chain_know_each_other_under_the_names_that_were_free(
    people: People, signed_in: SignedIn, database: Database
) -> None:
    browser = signed_in("editor")
    page = add(browser, people, "bitrix24-telephony", **PORTAL, connection="", client_id="app.1", secret="s3cret")
    assert "Press Connect here" in page
    page = add(browser, people, "bitrix24-telephony", **PORTAL, connection="Bitrix24: application")
    assert "Bitrix24: telephony (2) was added, switched off" in page
    second = [row for row in events(database) if row.set_name == "Bitrix24: telephony (2)"]
    assert {row.connection_id for row in second} == {row.connection_id for row in events(database)}
    assert {row.spec.request.auth.name for row in second} == {"Bitrix24: application"}
    named = {row.name: (row.spec.wait_for, row.spec.on_success) for row in second}
    assert named["Bitrix24: show the card (2)"] == ("Bitrix24: register an incoming call (2)", "")
    assert named["Bitrix24: finish an outgoing call (2)"] == (
        "Bitrix24: register an outgoing call (2)", "Bitrix24: attach the recording (2)"
    )  # fmt: skip


def test_nothing_is_added_if_the_connection_is_refused(people: People, signed_in: SignedIn, database: Database) -> None:
    browser = signed_in("editor")
    path = f"/projects/{people.project}/webhooks/gallery/bitrix24-telephony"
    browser.get(path)
    assert browser.post(path, {**PORTAL, "client_id": "", "secret": "s3cret"}).status_code == 422
    page = browser.post(path, {**PORTAL, "connection": "No such"})
    assert "No such is not a connection of this project" in page.get_data(as_text=True)
    with database.read() as session:
        assert session.scalars(select(Connection)).all() == []
    assert events(database) == []


PASTED = [
    ("bitrix24-lead", {"hook": "https://p.bitrix24.com/rest/17/abc123def456/"},
     "https://p.bitrix24.com/rest/17/abc123def456/crm.lead.add.json"),
    ("slack", {"url": "https://hooks.slack.com/services/T0/B0/X1"}, "https://hooks.slack.com/services/T0/B0/X1"),
    ("odoo", {"host": "https://odoo.example.com/web", "database": "db"},
     "https://odoo.example.com/json/2/res.partner/search_read"),
    ("amocrm", {"subdomain": "https://flowers.kommo.com/leads/", "link": "https://flowers.kommo.com", "client_id": "x"},
     "https://flowers.kommo.com/api/v4/calls"),
]  # fmt: skip


@pytest.mark.parametrize(("item", "given", "url"), PASTED, ids=[each[0] for each in PASTED])
def test_an_address_is_pasted_as_the_other_system_shows_it(
    item: str, given: dict[str, str], url: str, people: People, signed_in: SignedIn, database: Database
) -> None:
    add(signed_in("editor"), people, item, **given, secret="s3cret" if item in ("amocrm", "odoo") else "")
    assert url in [row.spec.request.url for row in events(database)]


def test_an_address_that_is_none_is_refused(people: People, signed_in: SignedIn, database: Database) -> None:
    browser, path = signed_in("editor"), f"/projects/{people.project}/webhooks/gallery/odoo"
    browser.get(path)
    given = {"host": "https://[x", "database": "db", "secret": "s3cret"}
    assert browser.post(path, given).status_code == 422
    assert events(database) == []


def test_who_has_connected_a_crm_reads_what_is_left_to_do(
    people: People, signed_in: SignedIn, database: Database
) -> None:
    owner = signed_in("owner")
    given = {**PORTAL, "client_id": "app.1", "secret": "s3cret", "dial": "on"}
    assert "None of the events" not in add(owner, people, "bitrix24-telephony", **given), "it is not connected yet"
    with database.write() as session:
        session.add(Employee(project_id=people.project, extension="101"))
        connection = session.scalars(select(Connection)).one()
        connection.state, connection.ready_until = READY, FOREVER
        page = f"/projects/{people.project}/connections/{connection.id}"
    told = owner.get(page).text
    assert "None of the events that use it is switched on." in told
    assert "1 employee has no id in the CRM" in told
    assert f'href="/projects/{people.project}/crm-calls">Calls from the CRM' in told
    with database.write() as session:
        session.scalars(select(Employee)).one().crm_id = "17"
    owner.post(f"/projects/{people.project}/webhooks/sets/enabled", {"set": "Bitrix24: telephony", "enabled": "1"})
    told = owner.get(page).text
    assert "None of the events" not in told
    assert "no id in the CRM" not in told


@pytest.mark.parametrize(
    ("item", "value"), [("odoo", "webhook.saved.ODOO_NAME"), ("queue-pause", "webhook.saved.PAUSE")]
)
def test_the_note_shows_the_value_to_insert_in_its_double_brackets(
    item: str, value: str, people: People, signed_in: SignedIn
) -> None:
    page = signed_in("editor").get(f"/projects/{people.project}/webhooks/gallery/{item}").get_data(as_text=True)
    assert f"&lt;&lt;{value}&gt;&gt;" in page
