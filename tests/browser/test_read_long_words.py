"""A user whose names are 200 characters long, on every width of screen: nothing spills, nothing is pushed away."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page
from sqlalchemy import update

from pbxhub.store.accounts import Employee, Number, Pbx, Project, User
from pbxhub.store.history import Call
from pbxhub.store.webhooks import Webhook
from tests.support.screenshots import PAGES, visit
from tests.support.site import Site, sign_in

_LONG = "Wort" * 50
_RIGHT_TO_LEFT = "شركة الزهور الجميلة للتجارة والاستيراد المحدودة"
# on a phone a table may be scrolled, inside its card
_SPILLS = """() => {
  const wide = (element) => element.scrollWidth > element.clientWidth + 1;
  const found = [...document.querySelectorAll(".card, .alert, .problem, main")].filter(wide);
  if (innerWidth > 500) found.push(...[...document.querySelectorAll(".list")].filter(wide));
  found.push(...[...document.querySelectorAll(".live-call")].filter((one) => one.offsetHeight > 90));
  if (document.documentElement.scrollWidth > innerWidth) found.push(document.documentElement);
  return found.map((one) => `${one.tagName}.${one.className} ${one.scrollWidth}>${one.clientWidth}`);
}"""


@pytest.mark.parametrize("width", [390, 1024, 1280, 1440])
def test_no_card_is_wider_than_its_page(site: Site, open_page: Callable[..., Page], width: int) -> None:
    with site.database.write() as session:
        session.execute(update(Webhook).values(name=Webhook.name + _LONG[:180], paused_reason=_LONG))
        session.execute(update(Employee).values(name=_LONG, department=_LONG[:100], email=f"{_LONG[:60]}@example.com"))
        session.execute(update(Number).values(label=_LONG))
        session.execute(update(Pbx).values(name=_LONG))
        session.execute(update(Project).values(name=_LONG))
        session.execute(update(User).values(name=_LONG))
        session.execute(update(Call).values(caller_name=_LONG))
    page = sign_in(open_page(viewport={"width": width, "height": 900}), site)
    spilt = {}
    for name, path in PAGES.items():
        visit(page, site, path)
        if found := page.evaluate(_SPILLS):
            spilt[name] = found
    assert spilt == {}


def test_a_name_from_right_to_left_that_is_cut_shows_its_beginning(site: Site, open_page: Callable[..., Page]) -> None:
    with site.database.write() as session:
        session.execute(update(Employee).values(name=_RIGHT_TO_LEFT))
        session.execute(update(Number).values(label=_RIGHT_TO_LEFT))
    page = sign_in(open_page(viewport={"width": 1280, "height": 900}), site)
    visit(page, site, PAGES["calls"])
    edges = page.evaluate(
        """() => [...document.querySelectorAll(".live-who bdi, .calls-table .phone")].filter((cell) =>
          cell.scrollWidth > cell.clientWidth && /[\u0600-\u06ff]/.test(cell.textContent)).map((cell) => {
            const walk = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
            let text = walk.nextNode();
            while (!text.data.trim()) text = walk.nextNode();
            const range = document.createRange();
            const first = text.data.length - text.data.trimStart().length;
            range.setStart(text, first);
            range.setEnd(text, first + 1);
            const [letter, box] = [range.getBoundingClientRect(), cell.getBoundingClientRect()];
            return letter.left >= box.left && letter.right <= box.right;
          })"""
    )
    assert edges
    assert all(edges)
