"""A user reads delivery after delivery in the drawer, by time, and comes back to the very row."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect
from sqlalchemy import select

from pbxhub.account.first_owner import first_setup
from pbxhub.store.delivery_rows import Delivery
from pbxhub.wsgi.current import now
from tests.support.site import Site, receiving


def test_rows_open_in_the_drawer_one_after_another_by_keyboard(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/deliveries?state=failed")
    anna.locator("#rows .row-link").first.focus()
    anna.keyboard.press("Enter")
    drawer = anna.locator("#drawer")
    expect(drawer.get_by_role("heading", name="Request")).to_be_visible()
    first = drawer.get_by_text("webhook-id").locator("xpath=following::code").first.text_content()
    anna.keyboard.press("ArrowDown")
    expect(anna.locator("#rows tr.open .row-link")).to_have_count(1)
    expect(drawer).not_to_contain_text(first or "-")
    expect(anna).to_have_url(re.compile(r"state=failed&open="))
    anna.reload()
    expect(drawer.get_by_role("heading", name="Request")).to_be_visible()
    anna.keyboard.press("Escape")
    expect(drawer).to_be_hidden()
    expect(anna).not_to_have_url(re.compile("open="))


def test_a_request_is_sent_again_in_the_drawer_by_keyboard_and_its_row_tells_what_became_of_it(
    site: Site, anna: Page
) -> None:
    with receiving() as receiver:
        with site.database.write() as session:
            newest = session.scalars(select(Delivery).where(Delivery.state == "failed").order_by(Delivery.id.desc()))
            delivery = newest.first()
            assert delivery
            delivery.url = f"{receiver.url}/again"
        anna.goto(f"{site.url}/projects/{site.project}/errors?open={delivery.id}")
        drawer = anna.locator("#drawer")
        expect(drawer.locator(".verdict.bad")).to_be_visible()
        anna.keyboard.press("e")
        anna.keyboard.press("Enter")
        expect(drawer.locator(".verdict.good")).to_contain_text("Delivered: 200")
        assert drawer.evaluate("one => one.scrollTop") == 0, "its buttons are under its head"
        assert len(receiver.wait_for(1)) == 1
    expect(anna.locator("#rows tr.open [data-outcome]")).to_have_text("delivered · 200")
    expect(anna).to_have_url(re.compile(f"/errors\\?open={delivery.id}$"))
    anna.keyboard.press("ArrowDown")
    expect(drawer.locator(".verdict.bad")).to_be_visible()


def test_every_row_is_one_line_high(site: Site, anna: Page) -> None:
    anna.set_viewport_size({"width": 1280, "height": 900})
    anna.goto(f"{site.url}/projects/{site.project}/errors")
    heights = "[...document.querySelectorAll('#rows tbody tr')].map((row) => Math.round(row.offsetHeight))"
    assert max(anna.evaluate(heights)) <= 42


def test_a_time_range_is_picked_and_stays_in_the_address(site: Site, anna: Page) -> None:
    for page in ("deliveries", "calls"):
        anna.goto(f"{site.url}/projects/{site.project}/{page}")
        rows = anna.locator("#rows tbody tr")
        expect(rows).to_have_count(50)
        anna.locator(".range summary").click()
        anna.locator(".range label", has_text="Last hour").click()
        expect(anna).to_have_url(re.compile("last=1h"))
        expect(anna.locator(".range summary")).to_contain_text("Last hour")
        assert 1 <= rows.count() < 50


def test_a_system_is_found_in_the_gallery_by_its_name(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/gallery")
    anna.get_by_label("Find a system").fill("bitrix tele")
    expect(anna.locator(".tiles .tile:visible")).to_have_count(1)


def test_five_steps_lead_a_newcomer_and_are_ticked_by_facts(empty: Site, open_page: Callable[..., Page]) -> None:
    page = open_page(timezone_id="Europe/Kyiv")  # where a country is chosen
    page.goto(first_setup(empty.settings, empty.database, now()).link.replace("http://localhost", empty.url))
    page.get_by_label("E-mail").fill("anna@example.com")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_label("Project name").fill("Flower shop")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".todo li")).to_have_count(5)
    expect(page.locator(".todo li.done")).to_have_count(0)
    page.get_by_role("link", name="Connect a PBX").click()
    page.get_by_role("textbox", name="Name").fill("Office")
    page.get_by_label("Address").fill("192.0.2.20")
    page.get_by_role("button", name="Next: configure Asterisk").click()
    page.get_by_role("link", name="Dashboard").click()
    expect(page.locator(".todo li.done")).to_have_count(1)
    expect(page.locator(".todo li").nth(1)).to_contain_text("Finish the connection")


def test_a_list_is_worked_through_by_single_keys(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/errors")
    links = anna.locator("#rows .row-link")
    expect(links).to_have_count(50)
    for row in (0, 1):
        anna.keyboard.press("j")
        expect(links.nth(row)).to_be_focused()
    anna.keyboard.press("x")
    expect(anna.locator("[data-chosen]").first).to_have_text("1")
    anna.keyboard.press("o")
    expect(anna.locator("#drawer")).to_be_visible()
    anna.keyboard.press("k")
    expect(anna.locator("#rows tbody tr").nth(0)).to_have_class(re.compile("open"))
    anna.keyboard.press("Escape")
    anna.keyboard.press("/")
    expect(anna.get_by_role("searchbox", name="Phone number")).to_be_focused()
    anna.keyboard.type("jx")  # letters of a field are its own
    expect(anna.get_by_role("searchbox", name="Phone number")).to_have_value("jx")
    links.nth(1).focus()
    anna.keyboard.press("e")
    expect(anna.get_by_role("heading", name="Send 1 request again")).to_be_visible()
    anna.keyboard.press("g")
    anna.keyboard.press("c")
    expect(anna).to_have_url(re.compile(r"/calls$"))
    anna.keyboard.press("?")
    expect(anna.get_by_role("dialog", name="Keys")).to_be_visible()
    anna.get_by_role("switch", name="Single keys are on").uncheck()
    anna.keyboard.press("Escape")
    anna.keyboard.press("?")
    expect(anna.get_by_role("dialog", name="Keys")).to_be_hidden()
