"""A user reads JSON: colours, folds by keyboard, and copies a path or a value exactly as it was sent."""

from playwright.sync_api import Page, expect
from sqlalchemy import update

from pbxhub.store.delivery_rows import Delivery
from tests.support.site import Site

BODY = b'{"id":9007199254740993,"tags":["a",{"deep key":"\\u00ab\xd0\xba\xd0\xb2\xc2\xbb"}],"empty":{},"n":null}'


def open_delivery(site: Site, page: Page) -> None:
    with site.database.write() as session:
        session.execute(update(Delivery).values(body=BODY))
    page.goto(f"{site.url}/projects/{site.project}/deliveries")
    page.set_viewport_size({"width": 600, "height": 900})
    page.locator("#rows .row-link").first.click()
    page.get_by_role("tree").first.wait_for()


def test_lines_are_folded_and_copied_by_keyboard(site: Site, anna: Page) -> None:
    anna.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_delivery(site, anna)
    view = anna.locator("json-view").first
    tree, path = view.get_by_role("tree"), view.locator(".json-tools code")
    copied = "navigator.clipboard.readText()"
    tree.focus()
    anna.keyboard.press("ArrowDown")
    expect(path).to_have_text("id")
    view.get_by_role("button", name="Copy value").click()
    assert anna.evaluate(copied) == "9007199254740993"
    tree.focus()
    for _line in range(4):
        anna.keyboard.press("ArrowDown")
    expect(path).to_have_text('tags[1]["deep key"]')
    view.get_by_role("button", name="Copy path").click()
    assert anna.evaluate(copied) == 'tags[1]["deep key"]'
    view.get_by_role("button", name="Copy value").click()
    assert anna.evaluate(copied) == "«кв»"
    tree.focus()
    anna.keyboard.press("ArrowUp")
    anna.keyboard.press("ArrowLeft")
    expect(tree.get_by_text("deep key")).to_be_hidden()
    view.get_by_role("button", name="Copy value").click()
    assert anna.evaluate(copied) == '{\n  "deep key": "«кв»"\n}'


def test_a_fold_inside_a_fold_stays_folded(site: Site, anna: Page) -> None:
    open_delivery(site, anna)
    tree = anna.get_by_role("tree").first
    folds = tree.locator(".json-fold")
    folds.nth(2).click()
    folds.nth(0).click()
    expect(tree.get_by_text('"id"')).to_be_hidden()
    folds.nth(0).click()
    expect(tree.get_by_text('"id"')).to_be_visible()
    expect(tree.get_by_text("deep key")).to_be_hidden()
    expect(tree.get_by_text("empty")).to_be_visible()


def test_what_is_no_json_stays_text_and_ids_are_copied(site: Site, anna: Page) -> None:
    anna.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_delivery(site, anna)
    anna.locator("#delivery-id + .btn").click()
    expect(anna.locator(".toast-note")).to_have_text("Copied")
    assert anna.url.endswith(anna.evaluate("navigator.clipboard.readText()"))
    with site.database.write() as session:
        session.execute(update(Delivery).values(body=b"[x"))
    anna.reload()
    expect(anna.locator("json-view pre").first).to_have_text("[x")
    expect(anna.locator("json-view").first.get_by_role("tree")).to_have_count(0)
