"""A user leaves a page open: what has not changed is not sent again, so that nothing moves under the mouse."""

import html
import re
from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import update

from pbxhub.store.accounts import Pbx
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.resends import Resend
from pbxhub.store.session import Database
from pbxhub.wsgi.current import now
from tests.support.made_failures import NOON, Failures
from tests.support.people import Browser, People

# on one kind of database: other tests of the same pages show that these queries go on both
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

SignedIn = Callable[[str], Browser]


@pytest.fixture
def things(database: Database, people: People) -> dict[str, object]:
    """A call that goes on, its delivery that waits, and a resend that runs: everything that pages ask for again."""
    made = Failures(database, people.project)
    made.add(NOON, "1.1", state="pending")
    with database.write() as session:
        session.execute(update(Call).values(ended_on=None))
        session.add(Resend(id=new_id(), project_id=people.project, state="running", selection={}, rate=5, total=9,
                           current_settings=False, stepped_on=NOON, created_on=NOON))  # fmt: skip
    return {"id": made.ids["1.1"], "pbx": made.pbx}


def _asked_again(page: str) -> dict[str, str]:
    """Every address that a page asks again, with the mark of what it shows so far ("" when it is not in the page)."""
    found = {}
    for element in re.findall(r"<\w+[^>]*hx-trigger=\"[^\"]*every[^>]*>", page):
        mark = re.search(r'data-mark="([^"]*)"', element)
        found[html.unescape(re.search(r'hx-get="([^"]*)"', element)[1])] = html.unescape(mark[1]) if mark else ""
    return found


PAGES = ["deliveries/{id}", "calls/{id}", "pbxs/{pbx}", "errors", "deliveries", "webhooks"]


@pytest.mark.parametrize("path", PAGES)
def test_a_part_that_has_not_changed_is_answered_with_nothing(
    app: Flask, things: dict[str, object], people: People, signed_in: SignedIn, path: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("pbxhub.web.pages.calls.now", lambda: NOON)  # a call that goes on is drawn as far as now
    editor = signed_in("editor")
    page = editor.get(f"/projects/{people.project}/{path.format(**things)}").text
    asked = _asked_again(page)
    assert asked
    for address, mark in asked.items():
        headers = {"HX-Request": "true", **({"If-None-Match": mark} if mark else {})}
        first = editor.get(address, headers=headers)
        assert first.status_code == (204 if mark else 200), address
        again = editor.get(address, headers={**headers, "If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (204, b""), address
        assert again.headers["ETag"] == first.headers["ETag"]


@pytest.mark.parametrize("path", ["deliveries/{id}", "calls/{id}", "errors"])
def test_what_is_in_the_page_from_the_beginning_is_known_to_be_shown(
    app: Flask, things: dict[str, object], people: People, signed_in: SignedIn, path: str
) -> None:
    page = signed_in("editor").get(f"/projects/{people.project}/{path.format(**things)}").text
    assert any(_asked_again(page).values())


def test_live_calls_that_are_none_stay_none(app: Flask, people: People, signed_in: SignedIn) -> None:
    viewer, root = signed_in("viewer"), f"/projects/{people.project}/calls"
    mark = html.unescape(re.search(r'<div data-mark="([^"]*)" class="live-head"', viewer.get(root).text)[1])
    assert viewer.get(f"{root}/live", headers={"HX-Request": "true", "If-None-Match": mark}).status_code == 204


@pytest.mark.slow
def test_a_part_that_has_changed_comes_with_a_new_mark(
    app: Flask, database: Database, things: dict[str, object], people: People, signed_in: SignedIn
) -> None:
    editor = signed_in("editor")
    changes = {
        f"deliveries/{things['id']}": update(Delivery).values(attempts=2),
        f"calls/{things['id']}": update(Call).values(extension="107"),
        f"pbxs/{things['pbx']}/state": update(Pbx).values(state="refused", state_since=now()),
        "errors/resends": update(Resend).values(queued=3),
    }
    for path, change in changes.items():
        address = f"/projects/{people.project}/{path}"
        before = editor.get(address, headers={"HX-Request": "true"}).headers["ETag"]
        with database.write() as session:
            session.execute(change)
        after = editor.get(address, headers={"HX-Request": "true", "If-None-Match": before})
        assert after.status_code == 200, path
        assert after.data
        assert after.headers["ETag"] != before


def test_a_whole_page_is_always_sent(
    app: Flask, things: dict[str, object], people: People, signed_in: SignedIn
) -> None:
    address, viewer = f"/projects/{people.project}/deliveries/{things['id']}", signed_in("viewer")
    mark = viewer.get(address, headers={"HX-Request": "true"}).headers["ETag"]
    assert "<html" in viewer.get(address, headers={"If-None-Match": mark}).text
