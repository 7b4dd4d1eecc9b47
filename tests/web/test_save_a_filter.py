"""A member saves the filter of a list under a name, for oneself or for the project, and comes back by a short link."""

import re
from collections.abc import Callable

import pytest
from sqlalchemy import select

from pbxhub.account import saved_filters
from pbxhub.store.accounts import AuditEntry, Employee, SavedFilter
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import RequestSpec, WebhookSpec
from pbxhub.wsgi.current import now
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]
MISSED = {"page": "calls", "name": "Missed", "disposition": "NO ANSWER", "last": "7d"}


def links(browser: Browser, address: str) -> list[str]:
    return re.findall(r'href="(/projects/\d+/filters/\d+)"', browser.get(address).text)


def test_a_filter_of_ones_own_is_seen_by_nobody_else(database: Database, people: People, signed_in: SignedIn) -> None:
    root, viewer, editor = f"/projects/{people.project}", signed_in("viewer"), signed_in("editor")
    assert "Save this filter as" not in viewer.get(f"{root}/calls").text
    assert "Save this filter as" in viewer.get(f"{root}/calls?last=7d").text
    assert "Saved." in viewer.post(f"{root}/filters", MISSED, follow_redirects=True).text
    (link,) = links(viewer, f"{root}/calls")
    assert viewer.get(link).location == f"{root}/calls?disposition=NO+ANSWER&last=7d"
    assert links(viewer, f"{root}/deliveries") == links(editor, f"{root}/calls") == []
    assert [editor.get(link).status_code, editor.post(f"{link}/delete").status_code] == [404, 404]
    assert "Deleted." in viewer.post(f"{link}/delete", follow_redirects=True).text
    assert links(viewer, f"{root}/calls") == []


def test_a_filter_of_the_project_is_everybodys_and_an_editor_keeps_it(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    root, viewer, editor = f"/projects/{people.project}", signed_in("viewer"), signed_in("editor")
    shared = {"page": "errors", "name": "Slow", "outcome": "deadline", "shared": "1"}
    refused = viewer.post(f"{root}/filters", shared, follow_redirects=True)
    assert "save filters for yourself only" in refused.text
    editor.post(f"{root}/filters", shared)
    editor.post(f"{root}/filters", {**shared, "outcome": "steering_refused"})  # the same name: replaced
    (link,) = links(viewer, f"{root}/errors")
    assert viewer.get(link).location == f"{root}/errors?outcome=steering_refused"
    assert "your own filters only" in viewer.post(f"{link}/delete", follow_redirects=True).text
    assert signed_in("stranger").get(link).status_code == 404
    editor.post(f"{link}/delete")
    with database.read() as session:
        actions = session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert actions == ["filter saved", "filter saved", "filter deleted"]


def test_what_cannot_be_saved_is_refused_with_a_sentence(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    root, viewer = f"/projects/{people.project}", signed_in("viewer")
    with database.write() as session:
        session.add_all(
            SavedFilter(project_id=people.project, user_id=1, page="calls", name=f"f{number}", fields={"number": "1"},
                        created_on=now())
            for number in range(saved_filters.MOST)
        )  # fmt: skip
    for form, sentence in (
        (MISSED, "There are 50 saved filters already."), ({**MISSED, "name": " "}, "This is empty."),
        ({"page": "calls", "name": "x"}, "This filter is empty."),
        ({**MISSED, "last": "x" * 151}, "A value is too long."),
        ({"page": "none", "name": "x", "last": "7d"}, "This filter is empty."),
    ):  # fmt: skip
        assert (
            sentence in viewer.post(f"{root}/filters", form, follow_redirects=False).text
            or sentence in viewer.get(f"{root}/members").text
        )


@pytest.mark.parametrize(
    ("page", "name", "value"),
    [
        ("calls", "from", "rubbish"), ("calls", "to", "9999-99-99"), ("calls", "last", "zz"),
        ("calls", "direction", "zz"), ("calls", "result", "zz"), ("calls", "recorded", "9"),
        ("calls", "talk_from", "-1"),
        ("calls", "talk_to", "9" * 30), ("deliveries", "state", "zz"), ("deliveries", "stage", "zz"),
        ("deliveries", "outcome", "zz"), ("deliveries", "hour", "2026-11-28T10:00"), ("errors", "webhook", "-1"),
        ("errors", "code", "99"), ("errors", "from", "0001-01-01T00:00"),
    ],
)  # fmt: skip
def test_what_its_list_cannot_read_is_not_saved(
    database: Database, people: People, signed_in: SignedIn, page: str, name: str, value: str
) -> None:
    root, viewer = f"/projects/{people.project}", signed_in("viewer")
    assert viewer.get(f"{root}/{page}", query_string={name: value}).status_code == 400
    viewer.post(f"{root}/filters", {"page": page, "name": "x", name: value})
    with database.read() as session:
        assert session.scalars(select(SavedFilter)).all() == []


def test_a_filter_of_what_is_gone_says_so_instead_of_showing_an_empty_list(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    root, viewer = f"/projects/{people.project}", signed_in("viewer")
    with database.write() as session:
        hook = Webhook(project_id=people.project, name="Old CRM", stage="incoming.after", created_on=now(),
                       deleted_on=now(), spec=WebhookSpec(RequestSpec(url="https://crm.example.com/")))  # fmt: skip
        session.add(hook)
        session.flush()
        deleted = hook.id
    for page in ("deliveries", "errors"):
        assert "The webhook “Old CRM” was deleted." in viewer.get(f"{root}/{page}?webhook={deleted}").text
        gone = viewer.get(f"{root}/{page}?webhook=4711").text
        assert "The webhook of this filter no longer exists" in gone
        assert '<option value="4711" selected>' in gone
    assert "There is no longer an employee called “Ivan”." in viewer.get(f"{root}/calls?employee=Ivan").text
    with database.write() as session:
        session.add(Employee(project_id=people.project, extension="101", name="Ivan"))
    for known in ("Ivan", "101"):
        assert "There is no longer an employee" not in viewer.get(f"{root}/calls?employee={known}").text


def test_a_value_that_its_list_no_longer_knows_is_left_out_with_a_sentence(
    database: Database, people: People, signed_in: SignedIn
) -> None:
    root, viewer = f"/projects/{people.project}", signed_in("viewer")
    with database.write() as session:
        row = SavedFilter(project_id=people.project, user_id=None, page="errors", name="Slow", created_on=now(),
                          fields={"outcome": "of_an_older_version", "last": "7d"})  # fmt: skip
        session.add(row)
        session.flush()
        link = f"{root}/filters/{row.id}"
    answer = viewer.get(link)
    assert answer.location == f"{root}/errors?last=7d"
    assert "“Slow” is shown without of_an_older_version, which no longer exists." in viewer.get(answer.location).text


def test_a_link_that_a_list_cannot_read_leads_to_the_list_without_filters(people: People, signed_in: SignedIn) -> None:
    root, viewer = f"/projects/{people.project}", signed_in("viewer")
    refused = viewer.get(f"{root}/calls?direction=zz")
    assert refused.status_code == 400
    assert f'href="{root}/calls"' in refused.text
