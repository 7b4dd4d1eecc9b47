"""A user adds a ready-made integration: pastes what the other system shows, and gets all of its events."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy import select

from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.gallery import Item, gallery
from tests.support.people import Browser, People

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


@pytest.mark.parametrize("item", gallery(), ids=lambda item: item.id)
def test_every_integration_can_be_added(item: Item, people: People, signed_in: SignedIn) -> None:
    given = {ask.name: ask.example for ask in item.ask}
    add(signed_in("editor"), people, item.id, **given, secret="s3cret" if item.secret else "")


def test_the_events_of_a_chain_know_each_other_under_the_names_that_were_free(
    people: People, signed_in: SignedIn, database: Database
) -> None:
    browser = signed_in("editor")
    for _ in range(2):
        page = add(browser, people, "bitrix24-telephony", hook="https://p.bitrix24.com/rest/17/abc123def456/")
    assert "Bitrix24 register call (2)" in page
    found = [(row.name, row.spec.on_success) for row in events(database)][-3:]
    assert found == [
        ("Bitrix24 register call (2)", "Bitrix24 finish call (2)"),
        ("Bitrix24 finish call (2)", "Bitrix24 attach recording (2)"),
        ("Bitrix24 attach recording (2)", ""),
    ]


PASTED = [
    ("bitrix24-lead", {"hook": "https://p.bitrix24.com/rest/17/abc123def456/"},
     "https://p.bitrix24.com/rest/17/abc123def456/crm.lead.add.json"),
    ("slack", {"url": "https://hooks.slack.com/services/T0/B0/X1"}, "https://hooks.slack.com/services/T0/B0/X1"),
    ("odoo", {"host": "https://odoo.example.com/web", "database": "db", "user_id": "2", "api_key": "K"},
     "https://odoo.example.com/jsonrpc"),
    ("amocrm", {"subdomain": "https://flowers.kommo.com/leads/"}, "https://flowers.kommo.com/api/v4/calls"),
]  # fmt: skip


@pytest.mark.parametrize(("item", "given", "url"), PASTED, ids=[each[0] for each in PASTED])
def test_an_address_is_pasted_as_the_other_system_shows_it(
    item: str, given: dict[str, str], url: str, people: People, signed_in: SignedIn, database: Database
) -> None:
    add(signed_in("editor"), people, item, **given, secret="s3cret" if item == "amocrm" else "")
    assert url in [row.spec.request.url for row in events(database)]
