"""A user finds anything from any page with the keyboard, and on a phone."""

import re

from playwright.sync_api import Page, expect

from tests.support.site import Site


def test_a_call_is_found_and_opened_by_keyboard(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/calls")
    number = anna.locator("#rows .row-link").nth(3).text_content() or ""
    anna.goto(f"{site.url}/projects/{site.project}/numbers")
    anna.keyboard.press("Control+k")
    anna.keyboard.type("0" + number.strip().removeprefix("+380"))
    finder = anna.locator("#finder")
    expect(finder.locator(".finder-hit").first).to_contain_text(number.strip())
    anna.keyboard.press("Enter")
    expect(anna.get_by_role("heading", name=f"Call {number.strip()}")).to_be_visible()


def test_a_number_and_a_time_lead_to_the_calls_of_that_time(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/numbers")
    anna.keyboard.press("Control+k")
    anna.keyboard.type("101 last week")
    expect(anna.locator(".finder-hit").first).to_contain_text("Calls of “101”")
    anna.keyboard.press("Enter")
    expect(anna).to_have_url(re.compile(r"calls\?number=101&from=[0-9-]+T00(:|%3A)00&to="))
    expect(anna.get_by_role("searchbox", name="Number, extension or call id")).to_have_value("101")


def test_arrows_choose_among_hits_and_escape_leads_back(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks")
    anna.get_by_role("link", name="Search").click()
    anna.keyboard.type("crm")
    expect(anna.locator(".finder-hit")).to_have_count(2)
    anna.keyboard.press("ArrowDown")
    expect(anna.locator(".finder-hit").first).to_be_focused()
    anna.keyboard.press("ArrowUp")
    expect(anna.get_by_role("searchbox", name="Find anything")).to_be_focused()
    anna.keyboard.press("ArrowDown")
    anna.keyboard.press("ArrowDown")
    anna.keyboard.press("Enter")
    expect(anna).to_have_url(re.compile("/connections/"))
    anna.wait_for_load_state()  # the script that knows the keys
    anna.keyboard.press("Control+k")
    expect(anna.locator("#finder")).to_be_visible()
    anna.keyboard.press("Escape")
    expect(anna.locator("#finder")).to_be_hidden()


def test_on_a_phone_the_menu_leads_to_the_search(site: Site, anna: Page) -> None:
    anna.set_viewport_size({"width": 390, "height": 844})
    anna.goto(f"{site.url}/projects/{site.project}/dashboard")
    anna.get_by_role("button", name="Menu").click()
    anna.get_by_role("link", name="Search").click()
    anna.keyboard.type("ivan")
    expect(anna.locator(".finder-hit")).to_contain_text(["Ivan Sydorenko"])
    assert anna.evaluate("document.querySelector('#finder').scrollWidth <= innerWidth")
    anna.locator(".finder-hit").first.click()
    expect(anna).to_have_url(re.compile(r"calls\?number=101"))
