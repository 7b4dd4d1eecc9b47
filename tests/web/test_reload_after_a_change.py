"""Somebody changes something and reloads the page that follows."""

import re
from collections.abc import Callable

from sqlalchemy import func, select

from pbxhub.store.accounts import Pbx
from pbxhub.store.session import Database
from tests.web.conftest import Browser, People

SignedIn = Callable[[str], Browser]


def test_a_new_pbx_is_there_once_and_its_secret_is_shown_once(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    owner = signed_in("owner")
    path = f"/projects/{people.project}/pbxs/new"
    owner.get(path)
    made = owner.post(path, {"name": "Office", "host": "192.0.2.1", "port": "5038", "username": "hub",
                             "contexts": "from-trunk"})  # fmt: skip
    assert made.status_code == 302
    secret = re.search(r"secret = ([\w-]{20,})", owner.get(made.location).text)[1]
    assert secret not in owner.get(made.location).text
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Pbx)) == 1


def test_what_is_shown_once_is_for_its_own_page_and_its_own_browser(people: People, signed_in: SignedIn) -> None:
    owner, other = signed_in("owner"), signed_in("owner")
    path = f"/projects/{people.project}/pbxs/new"
    owner.get(path)
    pages = [
        owner.post(path, {"name": name, "host": "192.0.2.1", "port": "5038", "username": "hub",
                          "secret": f"secret-of-{name}", "contexts": "from-trunk"}).location
        for name in ("first", "second")
    ]  # fmt: skip
    cookie = owner.client.get_cookie("pbxhub").value
    assert "secret-of" not in cookie
    assert "secret-of" not in other.get(pages[1]).text
    assert "secret-of" not in owner.get(pages[0]).text
    assert "secret-of-second" in owner.get(pages[1]).text
