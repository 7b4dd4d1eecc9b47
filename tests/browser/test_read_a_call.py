"""A user reads the page of a call: the drawing to scale, people by their names, and the way to each request."""

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.support.site import Site, sign_in


def open_newest_call(site: Site, page: Page) -> None:
    page.goto(f"{site.url}/projects/{site.project}/calls")
    page.locator("#rows .row-link").first.click()
    page.get_by_role("heading", name="The call to scale").wait_for()


def test_a_request_is_reached_from_the_drawing_by_keyboard(site: Site, anna: Page) -> None:
    open_newest_call(site, anna)
    anna.locator(".scale").get_by_role("link", name="Warehouse").focus()
    anna.keyboard.press("Enter")
    expect(anna).to_have_url(re.compile(r"/deliveries/[0-9a-f-]{36}$"))


def test_bars_are_as_long_as_what_they_show(site: Site, anna: Page) -> None:
    open_newest_call(site, anna)
    widths = [
        float(bar.get_attribute("width", timeout=5000)[:-1])
        for bar in anna.locator(".scale-row").first.locator("rect").all()
    ]  # type: ignore[index]
    assert sum(widths) == 92
    assert widths[0] < widths[1]


def test_people_and_numbers_are_shown_by_name(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/calls")
    first = anna.locator("#rows tbody tr").first
    expect(first).to_contain_text("Site, main page")
    expect(first).not_to_contain_text("380441234567")
    open_newest_call(site, anna)
    expect(anna.locator(".scale-who").nth(1)).to_have_text(re.compile("Sydorenko|Koval|Bondar"))
    expect(anna.locator(".leg-who").first).to_have_text(re.compile(r"\w+ \w+\s+10\d"))


def test_the_drawing_fits_a_phone(site: Site, anna: Page) -> None:
    anna.set_viewport_size({"width": 390, "height": 844})
    open_newest_call(site, anna)
    assert anna.evaluate("document.querySelector('.scale').scrollWidth <= document.querySelector('.scale').clientWidth")
    assert anna.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_phone_shows_of_each_call_who_when_and_how_it_ended(site: Site, open_page: Callable[..., Page]) -> None:
    page = sign_in(open_page(viewport={"width": 390, "height": 844}), site)
    page.goto(f"{site.url}/projects/{site.project}/calls")
    first = page.locator("#rows tbody tr").first
    for shown in (first.locator(".row-link"), first.locator("time:visible"), first.locator(".mark")):
        box = shown.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390 - 16, "within the card"
        assert not shown.evaluate("one => one.closest('td').scrollWidth > one.closest('td').clientWidth + 1"), "cut off"
