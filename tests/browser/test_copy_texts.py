"""Somebody presses Copy: what was meant is in the clipboard, or they are told and can copy it themselves."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from pbxhub.paths import ASTERISK_CONF
from tests.support.site import Site, sign_in

# what browsers do with pages that came by plain http from another machine
NO_CLIPBOARD = "Object.defineProperty(navigator, 'clipboard', {value: undefined});"
REFUSED = """Object.defineProperty(navigator, 'clipboard',
    {value: {writeText: () => Promise.reject(new DOMException('no', 'NotAllowedError'))}});"""
NO_OLD_WAY = "Document.prototype.execCommand = () => false;"
BROKEN_OLD_WAY = "Document.prototype.execCommand = () => { throw new Error('gone'); };"

SNIPPET = (
    "#include pbxhub/manager.conf\n[pbxhub](pbxhub-rights)\nsecret = (the secret you entered)\n"
    "permit = 192.0.2.10/255.255.255.255"
)


def pbx_page(site: Site, page: Page, *scripts: str) -> Page:
    for script in scripts:
        page.add_init_script(script)
    sign_in(page, site)
    page.goto(f"{site.url}/projects/{site.project}/pbxs/1")
    return page


def press_copy(page: Page) -> None:
    page.locator("[data-copies=snippet]").click()


def pasted(page: Page) -> str:
    """What is in the clipboard, by the only sure way: pasting it."""
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<textarea id=pasted></textarea>')")
    page.locator("#pasted").focus()
    page.keyboard.press("Control+V")
    return page.locator("#pasted").input_value()


@pytest.mark.parametrize("scripts", [[NO_CLIPBOARD], [REFUSED]], ids=["plain http", "refused"])
def test_copying_works_without_the_clipboard_of_secure_pages(
    site: Site, open_page: Callable[..., Page], scripts: list[str]
) -> None:
    page = pbx_page(site, open_page(), *scripts)
    press_copy(page)
    expect(page.locator("#toasts")).to_contain_text("Copied")
    expect(page.locator("[data-copies=snippet]")).to_be_focused()
    assert pasted(page) == SNIPPET


def test_copying_works_on_a_secure_page(site: Site, open_page: Callable[..., Page]) -> None:
    page = pbx_page(site, open_page(permissions=["clipboard-read", "clipboard-write"]))
    press_copy(page)
    expect(page.locator("#toasts")).to_contain_text("Copied")
    assert pasted(page) == SNIPPET


@pytest.mark.parametrize("old_way", [NO_OLD_WAY, BROKEN_OLD_WAY], ids=["returns false", "throws"])
def test_a_copy_that_fails_says_so_and_selects_the_text(
    site: Site, open_page: Callable[..., Page], old_way: str
) -> None:
    page = pbx_page(site, open_page(), NO_CLIPBOARD, old_way)
    press_copy(page)
    expect(page.locator("#toasts")).to_contain_text("The text is selected")
    expect(page.locator("#toasts")).not_to_contain_text("Copied")
    assert page.evaluate("String(getSelection())").strip() == SNIPPET
    page.keyboard.press("Control+C")
    assert pasted(page).strip() == SNIPPET


def test_a_copied_file_is_the_file(site: Site, open_page: Callable[..., Page]) -> None:
    """All of it: what a browser makes of tabs, tags and line ends must not change a configuration."""
    page = pbx_page(site, open_page(), NO_CLIPBOARD)
    file = page.locator("details.file").filter(has=page.locator("summary").get_by_text("manager.conf", exact=True))
    file.locator("summary").click()
    file.get_by_role("button", name="Copy").click()
    expect(page.locator("#toasts")).to_contain_text("Copied")
    assert pasted(page) == (ASTERISK_CONF / "manager.conf").read_text()
