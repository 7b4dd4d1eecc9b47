"""A user reads on in a list, takes failures off it by mistake, and comes back to where they were."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.site import Site


def test_older_rows_go_below_under_one_heading_and_back_leads_to_all_of_them(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/deliveries")
    for shown in (100, 150):
        anna.get_by_role("link", name="Show older").click()
        expect(anna.locator("#rows tbody tr")).to_have_count(shown)
    expect(anna.locator("#rows thead")).to_have_count(1)
    anna.goto(f"{site.url}/projects/{site.project}/calls")
    anna.go_back()
    expect(anna.locator("#rows tbody tr")).to_have_count(150)


def test_all_that_match_are_checked_after_a_question_and_can_be_put_back(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/errors")
    before = anna.locator(".nav-entry .count").text_content()
    anna.once("dialog", lambda dialog: dialog.dismiss())
    anna.get_by_role("button", name="All that match are checked").click()
    expect(anna.locator(".nav-entry .count")).to_have_text(before or "")
    anna.once("dialog", lambda dialog: dialog.accept())
    anna.get_by_role("button", name="All that match are checked").click()
    expect(anna.get_by_text("taken off the list")).to_be_visible()
    expect(anna.locator(".nav-entry .count")).to_have_count(0)
    anna.get_by_role("button", name="Undo").click()
    expect(anna.locator(".nav-entry .count")).to_have_text(before or "")


@pytest.mark.parametrize(
    ("here", "zone", "country"),
    [("America/Toronto", "America/Toronto", "CA"), ("Europe/Kiev", "Europe/Kyiv", "UA"), ("UTC", "UTC", "")],
)
def test_the_setup_begins_in_the_time_zone_of_the_browser_and_in_its_country(
    anna: Page, site: Site, here: str, zone: str, country: str
) -> None:
    page = anna.context.browser.new_context(timezone_id=here).new_page()  # type: ignore[union-attr]
    page.context.add_cookies(anna.context.cookies())  # type: ignore[arg-type]
    page.goto(f"{site.url}/projects/new")
    expect(page.get_by_label("Time zone")).to_have_value(zone)
    expect(page.get_by_label("Country")).to_have_value(country)
    page.context.close()
