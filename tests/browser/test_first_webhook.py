"""A newcomer comes from the first start to the first webhook that arrives."""

import hashlib
import json
import re
from collections.abc import Callable

from playwright.sync_api import Page, expect
from sqlalchemy import select

from pbxhub.account.first_owner import first_setup
from pbxhub.store.delivery_rows import DELIVERED, Delivery
from pbxhub.store.session import Database
from pbxhub.testing.receivers.receiver import Receiver
from pbxhub.wsgi.current import now
from tests.support.site import Site, ring
from tests.support.waiting import wait_until


def states(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(Delivery.state)))


def test_from_the_link_in_the_terminal_to_the_first_delivery(
    empty: Site, receiver: Receiver, open_page: Callable[..., Page]
) -> None:
    page = open_page(timezone_id="Europe/Kiev")  # as browsers still call it
    page.goto(first_setup(empty.settings, empty.database, now()).link.replace("http://localhost", empty.url))
    page.get_by_label("E-mail").fill("anna@example.com")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_label("Project name").fill("Flower shop")
    expect(page.get_by_label("Time zone")).to_have_value("Europe/Kyiv")
    expect(page.get_by_label("Country")).to_have_value("UA")
    page.get_by_role("button", name="Start").click()
    _connect_a_pbx(page)
    _add_an_event(page, receiver)
    ring(empty, "1700000000.1", caller="+380671112233")
    [request] = receiver.wait_for(2)[1:]  # the first one was the test
    body = json.loads(request.body)
    assert body["contact"] == {"phone": "+380671112233"}
    assert body["check"] == hashlib.md5(b"+380671112233salt").hexdigest()
    assert list(body) == ["contact", "check"]
    # the list shows the states of the moment it was opened
    wait_until(lambda: states(empty.context.database) == {DELIVERED})
    page.get_by_role("link", name="Deliveries").click()
    expect(page.get_by_text("delivered · 200")).to_be_visible()


def _connect_a_pbx(page: Page) -> None:
    page.get_by_role("link", name="Connect a PBX").click()
    page.get_by_role("textbox", name="Name").fill("Office")
    page.get_by_label("Address").fill("192.0.2.20")
    page.get_by_role("button", name="Next: configure Asterisk").click()
    expect(page.locator("#snippet")).to_contain_text(re.compile(r"secret = \S{20,}"))


def _add_an_event(page: Page, receiver: Receiver) -> None:
    page.get_by_role("link", name="Webhooks", exact=True).click()
    page.get_by_role("link", name="Add event").first.click()
    page.get_by_role("link", name="Empty event").click()
    page.locator("[data-path=name] input").fill("Calls to my program")
    page.locator("[data-path=url] input").fill(f"{receiver.url}/calls?source=pbx")
    page.get_by_role("button", name="Add a parameter").click()
    page.locator("[data-path='parameters[0]'] .tree-name").fill("contact")
    page.locator(".tree-type").first.select_option("object")
    page.get_by_role("button", name="Add inside").click()
    page.keyboard.type("phone")
    value = page.locator(".tree-list .tree-list .tree-value")
    value.click()
    page.keyboard.type("<<cal")
    expect(page.locator("#completion li").first).to_contain_text("call")
    page.keyboard.type("ler")
    page.keyboard.press("Enter")
    expect(value).to_have_value("<<caller>>")
    page.get_by_role("button", name="Add a parameter").click()
    page.keyboard.type("check")
    page.locator(".tree-type").last.select_option("md5")
    page.locator(".tree-value").last.fill("<<caller>>salt")
    expect(page.locator("#preview")).to_contain_text('"phone": "+79161234567"')
    page.get_by_role("button", name="Send test").click()
    expect(page.locator("#tried")).to_contain_text("The receiver answered 200")
    page.locator("#save").click()
    expect(page.get_by_role("link", name="Calls to my program")).to_be_visible()
