"""A user points at something to click it while parts of the page renew themselves: it stays under the pointer."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import select, update

from pbxhub.delivery.outbox import Selection, order_resend
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.resends import DONE, Resend
from pbxhub.wsgi.current import now
from tests.support import shop
from tests.support.screenshots import PAGES, visit
from tests.support.site import Site, ring, serving, sign_in

_SHIFTS = """window.moved = [];
const html = (source) => source.node?.outerHTML?.slice(0, 80);
const counts = (one) => !one.hadRecentInput && one.value > 0.001;
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (counts(one)) moved.push([one.value, ...one.sources.map(html)]);
}).observe({ type: "layout-shift", buffered: true })"""


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_moves_while_a_page_loads(site: Site, open_page: Callable[..., Page], width: int) -> None:
    page = open_page(viewport={"width": width, "height": 850})
    page.add_init_script(_SHIFTS)
    sign_in(page, site)
    moved = {}
    for name in ("dashboard", "errors", "webhooks", "webhook", "editor", "event-new", "deliveries", "calls", "pbx"):
        visit(page, site, PAGES[name])
        page.wait_for_load_state("networkidle")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        if shifts := page.evaluate("moved"):
            moved[name] = shifts
    assert moved == {}


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Site]:
    """The flower shop without a worker: nothing happens in it but what a test does."""
    with serving(tmp_path, shop.fill) as site:
        yield site


@pytest.mark.parametrize("failed", [0, 9], ids=["nothing to tell", "failures to tell"])
def test_a_resend_that_ends_leaves_the_list_where_it_is(
    still: Site, open_page: Callable[..., Page], failed: int
) -> None:
    page = sign_in(open_page(viewport={"width": 1280, "height": 1400}), still)
    for _ in range(2):
        _begun(still)
    page.goto(f"{still.url}/projects/{still.project}/errors")
    expect(page.locator("#resends .resend")).to_have_count(2)
    box = page.locator("tbody input[name=id]").nth(1)
    box.hover()
    top = _top(box)
    _ended(still, failed)
    expect(page.locator("#resends .resend")).to_have_count(0)
    expect(page.locator("#resends .verdict")).to_have_count(1 if failed else 0)
    assert _top(box) == pytest.approx(top, abs=1)
    page.mouse.down()
    page.mouse.up()
    expect(box).to_be_checked()


def test_calls_that_begin_leave_the_list_where_it_is(still: Site, open_page: Callable[..., Page]) -> None:
    page = sign_in(open_page(), still)
    page.goto(f"{still.url}/projects/{still.project}/calls")
    row = page.locator("#rows .row-link").nth(1)
    row.hover()
    top, address = _top(row), row.get_attribute("href")
    live = page.locator(".live-call")
    before = live.count()
    for number in range(8):
        ring(still, f"1700000020.{number}", over=False)
    expect(live).to_have_count(before + 8)
    assert (_top(row), row.get_attribute("href")) == (pytest.approx(top, abs=1), address)


def test_a_live_call_under_the_pointer_stays_there(still: Site, open_page: Callable[..., Page]) -> None:
    page = sign_in(open_page(), still)
    ring(still, "1700000021.0", over=False)
    page.goto(f"{still.url}/projects/{still.project}/calls")
    call = page.locator(".live-call").first
    address = call.get_attribute("href")
    call.hover()
    ring(still, "1700000021.1", over=False)
    for _ in range(2):
        with page.expect_response(lambda answer: "/calls/live" in answer.url):
            pass
    assert page.evaluate("document.querySelector('.live-call:hover').getAttribute('href')") == address
    count = page.locator(".live-call").count()
    page.locator("h1").hover()
    expect(page.locator(".live-call")).to_have_count(count + 1)


def _begun(site: Site) -> None:
    with site.database.write() as session:
        order_resend(session, site.project, Selection(), 9, now(), rate=1)


def _ended(site: Site, failed: int) -> None:
    """The orders are over, and so many deliveries of the newest one have failed again."""
    with site.database.write() as session:
        session.execute(update(Resend).values(state=DONE, queued=9, stepped_on=now()))
        newest = session.scalars(select(Resend.id).order_by(Resend.id.desc())).first()
        rows = select(Delivery.id).where(Delivery.state == "failed").order_by(Delivery.id).limit(failed)
        session.execute(update(Delivery).where(Delivery.id.in_(rows)).values(resend_id=newest))


def _top(place: Locator) -> float:
    return float(place.evaluate("(one) => one.getBoundingClientRect().top"))
