"""A user gets from what they see to what they need: the editor with the very call, the log of one author, the API."""

import re

from playwright.sync_api import Page, expect

from tests.support.site import Site


def test_the_editor_opens_with_the_call_of_the_delivery(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/errors")
    row = anna.locator("#rows tbody tr").first
    caller = (row.locator("td a").last.text_content() or "").strip()
    row.locator(".row-link").click()
    anna.locator("#drawer").get_by_role("link", name="Edit and test").click()
    chosen = anna.locator("#sample option:checked")
    expect(chosen).to_contain_text(caller)
    expect(anna.locator("#sample optgroup").last).to_have_attribute("label", "Calls of this project")
    expect(anna.locator("#preview")).to_contain_text(caller.removeprefix("+"))


def test_the_title_counts_what_needs_attention(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/webhooks")
    expect(anna).to_have_title(re.compile(r"^\(\d+\+?\) Webhooks"))
    anna.goto(f"{site.url}/projects/{site.project}/calls")
    expect(anna).to_have_title(re.compile(r"^\(2\) Calls"))


def test_the_audit_log_is_filtered_and_a_key_comes_with_its_curl_line(site: Site, anna: Page) -> None:
    anna.goto(f"{site.url}/projects/{site.project}/keys")
    anna.get_by_label("What is it for?").fill("CRM")
    anna.get_by_role("checkbox").first.check()
    anna.get_by_role("button", name="Create the key").click()
    expect(anna.locator("#key-curl")).to_have_text(re.compile(r"^curl -H 'X-API-KEY: \S+' http\S+/api/v1/projects$"))
    expect(anna.get_by_role("link", name="What programs can do")).to_have_attribute("href", re.compile("/api/v1/docs$"))
    anna.goto(f"{site.url}/projects/{site.project}/webhooks/2")
    anna.goto(f"{site.url}/projects/{site.project}/audit")
    anna.get_by_label("What").select_option("API key made")
    expect(anna).to_have_url(re.compile("action=API"))
    expect(anna.locator("#rows tbody tr")).to_have_count(1)
    anna.get_by_label("What").select_option("webhook deleted")
    expect(anna.get_by_text("No change matches")).to_be_visible()
