"""Pictures of every page, light, dark and on a phone: python -m tests.support.screenshots [name …]"""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.support import shop
from tests.support.site import Site, chromium, serving

_FOLDER = Path("screenshots")
_LOOKS = {
    "light": {"viewport": {"width": 1360, "height": 850}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1360, "height": 850}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light", "is_mobile": True, "has_touch": True},
}
PAGES = {
    "dashboard": "/projects/{p}/dashboard",
    "calls": "/projects/{p}/calls",
    "calls-filters": "/projects/{p}/calls?employee=101&recorded=yes > .more-button",
    "report": "/projects/{p}/calls/report?last=30d",
    "report-numbers": "/projects/{p}/calls/report?last=30d&by=number",
    "search": "/projects/{p}/search?q=crm",
    "call": "/projects/{p}/calls > table .row-link",
    "call-events": "/projects/{p}/calls > table .row-link > a[href$='/events']",
    "webhooks": "/projects/{p}/webhooks",
    "webhook": "/projects/{p}/webhooks/3",
    "missing-requests": "/projects/{p}/webhooks/3/missing?last=30d",
    "unsent": "/projects/{p}/unsent?last=30d&all=1",
    "simulate": "/projects/{p}/simulate?kind=missed",
    "simulate-real": "/projects/{p}/calls > table .row-link > a[href*='/simulate']",
    "gallery": "/projects/{p}/webhooks/gallery",
    "template": "/projects/{p}/webhooks/gallery/slack",
    "editor": "/projects/{p}/webhooks/2/edit",
    "copy": "/projects/{p}/webhooks/2/copy",
    "history": "/projects/{p}/webhooks/2/history",
    "google": "/projects/{p}/webhooks/1/setup",
    "import": "/projects/{p}/webhooks/import",
    "errors": "/projects/{p}/errors",
    "outcome": "/errors/3",
    "outcomes": "/errors",
    "delivery": "/projects/{p}/errors > table .row-link",
    "deliveries": "/projects/{p}/deliveries",
    "pbxs": "/projects/{p}/pbxs",
    "pbx": "/projects/{p}/pbxs/1",
    "dial-plan": "/projects/{p}/pbxs/1/dial-plan",
    "pbx-new": "/projects/{p}/pbxs/new",
    "call-control": "/projects/{p}/call-control",
    "question": "/projects/{p}/call-control/new",
    "crm-calls": "/projects/{p}/crm-calls",
    "subscribers": "/projects/{p}/resthooks",
    "event-new": "/projects/{p}/webhooks/new",
    "employees": "/projects/{p}/employees",
    "employee": "/projects/{p}/employees/new",
    "numbers": "/projects/{p}/numbers",
    "connections": "/projects/{p}/connections",
    "connection": "/projects/{p}/connections > table .row-link",
    "connection-new": "/projects/{p}/connections/new",
    "connection-zoho": "/projects/{p}/connections/new/zoho",
    "members": "/projects/{p}/members",
    "keys": "/projects/{p}/keys",
    "settings": "/projects/{p}/settings",
    "audit": "/projects/{p}/audit",
    "projects": "/projects",
    "operator": "/operator",
    "operator-pbx": "/operator/pbxs/1",
    "operator-project": "/operator/projects/{p}",
    "operator-log": "/operator/log",
    "profile": "/profile",
    "two-factor": "/tf-setup",
    "password": "/change-password",
    "missing": "/projects/{p}/calls/00000000-0000-0000-0000-000000000000",
}


def main(wanted: list[str]) -> None:
    _FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder), shop.fill) as site, chromium() as browser:
        for look in _LOOKS:
            with _signed_in(browser, site.url, look) as page:
                for name, path in PAGES.items():
                    if not wanted or name in wanted:
                        visit(page, site, path)
                        page.screenshot(path=_FOLDER / f"{name}-{look}.png", full_page=True)


def visit(page: Page, site: Site, path: str) -> None:
    """Opens a page of PAGES and waits until nothing of it is loading."""
    address, *clicks = path.format(p=site.project).split(" > ")
    page.goto(site.url + address)
    for click in clicks:
        page.locator(click).first.click()
        page.wait_for_load_state("load")
    if clicks and page.locator("table[data-drawer]").count() and page.evaluate("innerWidth >= 700"):
        page.locator("#drawer[open]").wait_for()
    page.locator(".loading-line, .dots.loading, [aria-busy=true]").first.wait_for(state="hidden")


@contextmanager
def _signed_in(browser: Browser, url: str, look: str) -> Iterator[Page]:
    context = browser.new_context(**_LOOKS[look])  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(f"{url}/sign-in")
    page.screenshot(path=_FOLDER / f"sign-in-{look}.png")
    page.get_by_label("E-mail").fill(shop.EMAIL)
    page.get_by_label("Password").fill(shop.PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/projects/**")
    yield page
    context.close()


if __name__ == "__main__":
    main(sys.argv[1:])
