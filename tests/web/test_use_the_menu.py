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


def test_pages_outside_of_a_project_and_failures_keep_its_menu(
    signed_in: Callable[[str], Browser], people: People
) -> None:
    viewer, calls = signed_in("viewer"), f"/projects/{people.project}/calls"
    assert calls not in _menu(viewer, "/profile")  # it has visited no project yet
    assert calls in _menu(viewer, f"{calls}/00000000-0000-0000-0000-000000000000")
    assert calls in _menu(viewer, f"/projects/{people.project}/keys")  # its role does not allow that
    assert calls in _menu(viewer, f"/projects/{people.project}/nowhere")
    viewer.get(calls)
    for path in ("/profile", "/errors", "/errors/3", "/tf-setup", "/nowhere", "/projects/999999999/calls"):
        assert calls in _menu(viewer, path), path


def test_a_stranger_sees_no_menu_of_the_project(signed_in: Callable[[str], Browser], people: People) -> None:
    stranger = signed_in("stranger")
    for path in (f"/projects/{people.project}/calls", "/errors/3", "/profile"):
        assert f"/projects/{people.project}/calls" not in _menu(stranger, path), path
