"""A newcomer connects Bitrix24 in the browser; then calls on a real Asterisk have their cards there, and clicks call.

Bitrix24 and its consent page are stand-ins on loopback: between pages and calls, the host of the portal is replaced by
theirs. Everything else is what a user clicks.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from playwright.sync_api import Page, expect
from sqlalchemy import select

from pbxhub.store.accounts import Project
from pbxhub.store.connections import Connection
from pbxhub.store.dial_addresses import DialAddress
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.pbx.asterisk import Asterisk
from pbxhub.testing.phones.softphone import Agent
from pbxhub.testing.receivers.receiver import Received, Receiver, Reply
from pbxhub.testing.waiting import await_until
from pbxhub.webhooks.connection_spec import ConnectionSpec
from tests.support.calling_user import CallingUser
from tests.support.crm import TOKEN, as_json, query
from tests.support.crm_bitrix24 import Bitrix24, Card
from tests.support.oauth_server import CLIENT, SECRET, OAuthServer, oauth_server
from tests.support.site import chromium

pytestmark = pytest.mark.asterisk
Phone = Callable[..., Agent]
PORTAL = "company.bitrix24.com"
RECORDED = "5550130"  # rings 101 for half a minute, and records
OUTSIDE = "15550001"  # at the far end of trunk 0


class Portal(Bitrix24):
    """Bitrix24 with the tokens of a real provider, and with events. bound: event -> its handler."""

    def __init__(self, provider: OAuthServer) -> None:
        super().__init__()
        self._provider = provider
        self.bound: dict[str, str] = {}

    def answer(self, request: Received) -> Reply:
        given = query(request)
        if given.get("auth") not in {token.access for token in self._provider.tokens}:
            return as_json(401, {"error": "expired_token", "error_description": "The access token has expired."})
        if urlsplit(request.path).path == "/rest/event.bind.json":
            self.bound[given["event"]] = given["handler"]
            return as_json(200, {"result": True})
        return super().answer(replace(request, path=request.path.replace(given["auth"], TOKEN)))

    def click(self, user: str, number: str) -> None:
        """A user clicks on a number: Bitrix24 opens a card of its own, and calls the handler with its id."""
        card = Card("externalCall.click", user, "of the click", {user})
        self.cards.append(card)
        fields = {"PHONE_NUMBER": number, "USER_ID": user, "CALL_ID": card.id}
        form = {"event": "ONEXTERNALCALLSTART", **{f"data[{name}]": value for name, value in fields.items()}}
        answer = requests.post(self.bound["ONEXTERNALCALLSTART"], {**form, "auth[domain]": PORTAL}, timeout=30)
        assert answer.status_code == 200, answer.text


@pytest.fixture
def provider() -> Iterator[OAuthServer]:
    with oauth_server() as server:
        yield server


@pytest.fixture
def portal(provider: OAuthServer) -> Portal:
    return Portal(provider)


@pytest.fixture
def hub(pbx: Asterisk, portal: Portal, provider: OAuthServer, tmp_path: Path) -> Iterator[Hub]:
    """A hub that a newcomer has just set up and connected to Bitrix24."""
    settings = {"PBXHUB_RECORDINGS": str(pbx.recordings)}
    with Receiver(portal) as bitrix, Hub(tmp_path / "hub", settings=settings) as running:
        running.start()
        with chromium() as browser:
            page = browser.new_page(base_url=running.url)
            page.set_default_timeout(60_000)
            set_up(page, running)
            add_the_set(page)
            lead_to_the_stand_ins(running, bitrix.url, provider.url)
            connect(page, running.project_id)
        running.listen_to(CallingUser(pbx.host, pbx.port))
        yield running


def set_up(page: Page, hub: Hub) -> None:
    link = re.search(r"http\S+/setup\?token=\S+", hub.log)
    assert link, hub.log
    page.goto(link[0])
    page.get_by_label("E-mail").fill("anna@example.com")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_label("Project name").fill("Flower shop")
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/projects/**")
    with hub.database.read() as session:
        hub.project_id = session.scalars(select(Project.id).where(Project.name == "Flower shop")).one()


def add_the_set(page: Page) -> None:
    page.get_by_role("link", name="Webhooks", exact=True).click()
    page.get_by_role("link", name="Add event").first.click()
    page.get_by_role("link", name="Bitrix24: telephony").click()
    page.get_by_label("The host of your Bitrix24").fill(f"https://{PORTAL}/crm/")
    page.get_by_label("The id of the user who gets calls").fill("1")
    page.get_by_label("Client id").fill(CLIENT)
    page.get_by_label("Client secret").fill(SECRET)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text("Press Connect here")).to_be_visible()


def lead_to_the_stand_ins(hub: Hub, bitrix: str, provider: str) -> None:
    with hub.database.write() as session:
        row = session.scalars(select(Connection)).one()
        row.spec = _moved(row.spec, bitrix, provider)
        session.get_one(DialAddress, hub.project_id).crm_host = bitrix
        for webhook in session.scalars(select(Webhook).where(Webhook.set_name != "")):
            request = webhook.spec.request
            moved = replace(request, url=request.url.replace(f"https://{PORTAL}", bitrix))
            webhook.spec = replace(webhook.spec, request=moved)
        touch_webhooks(session, hub.project_id)


def _moved(spec: ConnectionSpec, bitrix: str, provider: str) -> ConnectionSpec:
    """pkce: the stand-in for the consent page insists on it."""
    assert spec.oauth
    addresses = {"authorize_url": f"{provider}/authorize", "token_url": f"{provider}/token"}
    return replace(spec, hosts=(bitrix,), oauth=replace(spec.oauth, **addresses, pkce=True))


def connect(page: Page, project: int) -> None:
    page.reload()
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page.get_by_text("Connected.")).to_be_visible()
    page.goto(f"/projects/{project}/crm-calls")
    page.get_by_role("button", name="Subscribe Bitrix24").click()
    expect(page.get_by_text("Bitrix24 sends clicks on numbers to this hub now.")).to_be_visible()
    page.goto(f"/projects/{project}/employees")
    page.get_by_role("link", name="New employee").first.click()
    page.locator("#extension").fill("101")
    page.locator("#name").fill("Anna")
    page.locator("#crm_id").fill("11")
    page.get_by_role("button", name="Save").click()
    page.goto(f"/projects/{project}/webhooks")
    switch = page.get_by_role("switch", name="Bitrix24: telephony is on", exact=True)
    switch.check()
    expect(page.locator(".field-error")).to_have_count(0)
    expect(switch).to_be_checked()


def test_a_call_has_its_card_while_it_rings_and_its_recording_and_a_click_calls(
    hub: Hub, pbx: Asterisk, portal: Portal, phone: Phone, far_end: Phone, outside: Phone
) -> None:
    employee, customer, caller = phone(101), far_end(), outside()
    caller.dial(RECORDED)
    employee.await_incoming("30s")
    await_until(lambda: [card.shown for card in portal.cards] == [{"11"}], "30s")
    employee.accept()
    caller.await_established()
    caller.hangup()
    await_until(lambda: bool(portal.cards[0].recording), "60s")
    (card,) = portal.cards
    newest = max(pbx.recordings.rglob("*.wav"), key=lambda path: path.stat().st_mtime)
    assert card.recording == newest.read_bytes()
    assert card.recording.startswith(b"RIFF")
    assert (card.finished["USER_ID"], card.finished["STATUS_CODE"]) == ("11", "200")

    portal.click("11", OUTSIDE)
    employee.accept("30s")
    customer.accept("30s")
    employee.await_established()
    customer.await_established()
    customer.hangup()
    await_until(lambda: bool(portal.cards[-1].finished), "60s")
    _, clicked = portal.cards  # no third one: the call has the card of the click
    assert (clicked.id, clicked.finished["USER_ID"]) == ("externalCall.click", "11")
    assert clicked.finished["STATUS_CODE"] == "200"
    assert portal.wrong == []
    assert [one for one in portal.answered if one[2] >= 400] == []
    await_until(lambda: {one.state for one in hub.deliveries()} == {"delivered", "cancelled"}, "30s")  # no recording
    assert parse_qs(urlsplit(portal.bound["ONEXTERNALCALLBACKSTART"]).query)["key"]
