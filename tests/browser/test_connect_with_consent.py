"""Anna connects her CRM from the list of systems, agrees at the provider, and her webhook uses the connection."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.oauth_server import CLIENT, SECRET, OAuthServer, oauth_server
from tests.support.site import Site, ring


@pytest.fixture
def provider() -> Iterator[OAuthServer]:
    with oauth_server() as server:
        yield server


def test_connect_a_crm_and_use_it_in_a_webhook(site: Site, anna: Page, provider: OAuthServer) -> None:
    def lead_home(route: Route) -> None:
        """The hub's public address is http://localhost, which is not where this test serves it."""
        back = urlsplit(route.request.url)
        route.fulfill(status=302, headers={"Location": f"{site.url}{back.path}?{back.query}"})

    anna.route("http://localhost/**", lead_home)
    anna.goto(f"{site.url}/projects/{site.project}/connections")
    anna.get_by_role("link", name="New connection").first.click()
    anna.get_by_role("link", name="OAuth2: a person agrees in the browser").click()
    for label, value in (
        ("Name", "Our CRM"), ("Client id", CLIENT), ("Client secret", SECRET), ("Scopes", "calls"),
        ("Hosts", provider.url), ("Address where the user agrees (authorize)", f"{provider.url}/authorize"),
        ("Address of tokens", f"{provider.url}/token"), ("Address for a test", f"{provider.url}/api/me"),
    ):  # fmt: skip
        anna.get_by_label(label).first.fill(value)
    anna.get_by_role("button", name="Save").click()
    expect(anna.get_by_text("not connected yet")).to_be_visible()
    anna.get_by_role("button", name="Connect", exact=True).click()
    expect(anna.get_by_text("Connected.")).to_be_visible()
    expect(anna.get_by_text("ready", exact=True)).to_be_visible()
    anna.get_by_role("button", name="Test").click()
    expect(anna.get_by_text("The credentials were accepted (status 200).")).to_be_visible()

    anna.goto(f"{site.url}/projects/{site.project}/webhooks/new")
    anna.locator("[data-path=name] input").fill("To our CRM")
    anna.locator("[data-path=url] input").fill(f"{provider.url}/api/calls")
    anna.locator("[data-path='auth.kind'] select").select_option("connection")
    anna.locator("[data-path='auth.name'] select").select_option("Our CRM")
    expect(anna.locator("#preview")).to_contain_text(re.compile("Authorization"))
    anna.locator("#save").click()
    anna.get_by_role("link", name="To our CRM").wait_for()
    ring(site, "1700000009.1")
    for _ in range(300):
        if "calls" in provider.served:
            break
        anna.wait_for_timeout(100)
    assert "calls" in provider.served
