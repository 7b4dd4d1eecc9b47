"""A member opens the entries of the side menu: each role sees what it may use, and nothing else."""

import re
from collections.abc import Callable
from html import unescape

import pytest

from tests.support.people import Browser, People

_MENU = re.compile(r'<nav id="side-menu".*?</nav>', re.DOTALL)
_LINK = re.compile(r'<a [^>]*href="(/[^"]*)"')
FOR_OWNERS = {"keys", "settings", "audit"}


def _menu(member: Browser, path: str) -> list[str]:
    (menu,) = _MENU.findall(member.get(path).get_data(as_text=True))
    return [unescape(link) for link in _LINK.findall(menu)]


@pytest.mark.slow
@pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
def test_every_link_of_the_menu_opens(signed_in: Callable[[str], Browser], people: People, role: str) -> None:
    member = signed_in(role)
    links = _menu(member, f"/projects/{people.project}/calls")
    assert len(links) > 8
    for link in links:
        assert member.get(link).status_code == 200, link


@pytest.mark.parametrize("role", ["viewer", "editor", "owner"])
def test_the_menu_shows_everything_the_role_may_use(
    signed_in: Callable[[str], Browser], people: People, role: str
) -> None:
    ends = {link.rsplit("/", 1)[-1] for link in _menu(signed_in(role), f"/projects/{people.project}/calls")}
    assert ends & FOR_OWNERS == (FOR_OWNERS if role == "owner" else set())
    assert {"calls", "webhooks", "errors", "deliveries", "pbxs", "employees", "numbers", "members"} <= ends
