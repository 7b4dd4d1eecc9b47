"""Every page as people with other needs, screens and connections see it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.support.screenshots import PAGES, visit
from tests.support.site import Site, sign_in

_AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text()
_STILL = {"bypass_csp": True, "reduced_motion": "reduce"}  # no colour is caught on its way to another one
_RUN = """axe.run({resultTypes: ["violations"]}).then((found) => found.violations
  .map((one) => [one.id, ...one.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 150)} ${node.any[0]?.message}`)])
)"""
# 35 KB of it are the CSS and htmx, which every page shares and a browser keeps
_LARGEST = 85 * 1024
_LARGEST_EDITOR = 95 * 1024  # its scripts, and the parameters of every stage that it completes while one types


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(site: Site, open_page: Callable[..., Page], scheme: str) -> None:
    page = sign_in(open_page(color_scheme=scheme, **_STILL), site)
    found = {}
    for name, path in PAGES.items():
        visit(page, site, path)
        page.evaluate(_AXE)
        if problems := page.evaluate(_RUN):
            found[name] = problems
    visit(page, site, PAGES["dashboard"])
    page.keyboard.press("Control+k")
    page.locator("#finder[open]").wait_for()
    page.evaluate(_AXE)
    assert (found, page.evaluate(_RUN)) == ({}, [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_in_open_menus_and_refused_forms(
    site: Site, open_page: Callable[..., Page], scheme: str
) -> None:
    page = sign_in(open_page(color_scheme=scheme, **_STILL), site)
    found = {}

    def look(name: str) -> None:
        page.evaluate(_AXE)
        if problems := page.evaluate(_RUN):
            found[name] = problems

    for name in ("calls", "webhooks", "webhook", "errors", "deliveries", "employees"):
        visit(page, site, PAGES[name])
        for number, menu in enumerate(page.locator("main details.menu > summary, .page-actions summary").all()[:6]):
            if menu.is_visible():
                menu.click()
                look(f"{name}, menu {number}")
                page.keyboard.press("Escape")
    for name, field in (("employee", "extension"), ("pbx-new", "host"), ("connection-zoho", "name")):
        visit(page, site, PAGES[name])
        page.evaluate("document.querySelectorAll('form').forEach((form) => (form.noValidate = true))")
        page.locator(f"main [name={field}]").fill(" ")
        page.locator("main form[method=post] .btn-primary").last.click()
        page.locator(".is-invalid, .invalid-feedback, .alert").first.wait_for()
        look(f"{name}, refused")
    visit(page, site, PAGES["event-new"])
    page.locator("#save").click()
    page.locator(".is-invalid, .invalid-feedback, .alert").first.wait_for()
    look("editor, refused")
    assert found == {}


def test_axe_finds_nothing_before_signing_in(empty: Site, open_page: Callable[..., Page]) -> None:
    page = open_page(**_STILL)
    for path in ("/", "/sign-in", "/reset-password", "/errors", "/errors/3"):
        page.goto(empty.url + path)
        page.evaluate(_AXE)
        assert page.evaluate(_RUN) == [], path


def test_no_page_is_wider_than_a_phone(site: Site, open_page: Callable[..., Page]) -> None:
    page = sign_in(open_page(viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True), site)
    wide = []
    for name, path in PAGES.items():
        visit(page, site, path)
        if page.evaluate("document.documentElement.scrollWidth") > 390:
            wide.append(name)
    assert wide == []
    visit(page, site, PAGES["dashboard"])
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Calls", exact=True).click()
    page.wait_for_url("**/calls")


_INSIDE = """() => {
  const sheet = document.querySelector("details.menu[open] .menu-list").getBoundingClientRect();
  const room = document.querySelector(".main").getBoundingClientRect();
  const page = document.documentElement;
  return sheet.left >= room.left && sheet.right <= room.right && page.scrollWidth <= page.clientWidth;
}"""


@pytest.mark.parametrize("width", [390, 1024])
def test_no_menu_leaves_its_part_of_the_page(site: Site, open_page: Callable[..., Page], width: int) -> None:
    """Nor does it make a phone show the page smaller."""
    page = sign_in(open_page(viewport={"width": width, "height": 844}, is_mobile=width == 390), site)
    for name in ("calls", "errors", "deliveries", "unsent"):
        visit(page, site, PAGES[name])
        menus = [menu for menu in page.locator("main details.menu > summary").all()[:6] if menu.is_visible()]
        assert menus, name
        for menu in menus:
            menu.click()
            page.wait_for_function(_INSIDE, timeout=5_000)
            page.keyboard.press("Escape")


@pytest.mark.parametrize("name", ["dashboard", "calls", "errors", "editor", "webhooks"])
def test_the_first_page_loads_fast_and_nothing_twice(site: Site, open_page: Callable[..., Page], name: str) -> None:
    cookies = sign_in(open_page(), site).context.cookies()
    page = open_page()
    page.context.add_cookies(cookies)  # type: ignore[arg-type]
    visit(page, site, PAGES[name])
    size = page.evaluate("performance.getEntries().reduce((sum, entry) => sum + (entry.transferSize || 0), 0)")
    assert 20_000 < size < (_LARGEST_EDITOR if name == "editor" else _LARGEST)
    loaded = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    files = [address.split("/static/")[1].split("/", 1)[1] for address in loaded if "/static/" in address]
    assert sorted(files) == sorted(set(files))


def test_a_second_page_loads_no_script_again(site: Site, open_page: Callable[..., Page]) -> None:
    page = sign_in(open_page(), site)
    visit(page, site, PAGES["editor"])
    visit(page, site, PAGES["editor"])
    asked = page.evaluate("performance.getEntriesByType('resource').map((one) => [one.name, one.transferSize])")
    assert [name for name, size in asked if "/static/" in name and size] == []
