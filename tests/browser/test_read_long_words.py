"""A user whose names are 200 characters long, on every width of screen: nothing spills, nothing is pushed away."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page
from sqlalchemy import update

from pbxhub.store.accounts import Employee, Number, Pbx, Project, User
from pbxhub.store.webhooks import Webhook
from tests.support.screenshots import PAGES, visit
from tests.support.site import Site, sign_in

_LONG = "Wort" * 50
# on a phone a table may be scrolled, inside its card
_SPILLS = """() => {
  const wide = (element) => element.scrollWidth > element.clientWidth + 1;
  const found = [...document.querySelectorAll(".card, .alert, .problem, main")].filter(wide);
  if (innerWidth > 500) found.push(...[...document.querySelectorAll(".list")].filter(wide));
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
    page = sign_in(open_page(viewport={"width": width, "height": 900}), site)
    spilt = {}
    for name, path in PAGES.items():
        visit(page, site, path)
        if found := page.evaluate(_SPILLS):
            spilt[name] = found
    assert spilt == {}
