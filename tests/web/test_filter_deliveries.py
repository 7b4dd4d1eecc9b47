"""A user narrows the list of deliveries; the export, Send and Checked are about exactly what is shown."""

import csv
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask
from sqlalchemy import Connection, event, select, update

from pbxhub.store.resends import Resend
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.wsgi.current import now
from tests.support.made_failures import NOON, Failures
from tests.support.people import Browser, People

SignedIn = Callable[[str], Browser]


@pytest.fixture
def failures(database: Database, people: People) -> Failures:
    made = Failures(database, people.project)
    made.add(NOON, "noon.1")
    made.add(NOON + timedelta(minutes=30), "half.1", outcome="deadline", code=None)
    made.add(NOON + timedelta(hours=1), "one.1", caller="+380670000002", dst="380440000000")
    made.add(NOON + timedelta(hours=2), "two.1", "two.2", outcome="http_4xx", code=404)
    return made


def _shown(browser: Browser, address: str, **fields: str) -> set[str]:
    answer = browser.get(address, query_string=fields)
    assert answer.status_code == 200
    return set(re.findall(r'class="row-link" href="[^"]*/([0-9a-f-]{36})"', answer.text))


def _exported(browser: Browser, address: str, **fields: str) -> set[str]:
    text = browser.get(address, query_string=fields).get_data().decode("utf-8-sig")
    return {row["id"] for row in csv.DictReader(io.StringIO(text))}


FILTERS = [
    ({"outcome": "deadline"}, {"half.1"}), ({"code": "404"}, {"two.1", "two.2"}), ({"code": "0"}, {"half.1"}),
    ({"call": "two.2"}, {"two.2"}),
    ({"call": "none"}, set()), ({"from": "2026-07-10T15:30", "to": "2026-07-10T17:00"}, {"half.1", "one.1"}),
    ({"from": "2026-07-10T16:00:01"}, {"two.1", "two.2"}), ({"to": "2026-07-10T15:30"}, {"noon.1"}),
    ({"hour": "2026-07-10T12:00:00+00:00"}, {"noon.1", "half.1"}),
    ({"hour": "2026-07-10T12:00:00+00:00", "from": "2026-07-10T15:10"}, {"half.1"}),
    ({"number": "380670000002"}, {"one.1"}), ({"number": "+380440000000"}, {"one.1"}), ({"number": "38067"}, set()),
    ({"number": "+380670000001", "outcome": "http_4xx", "to": "2026-07-11T00:00"}, {"two.1", "two.2"}),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "names"), FILTERS)
def test_the_list_the_export_send_and_checked_are_about_the_same_deliveries(
    app: Flask, failures: Failures, people: People, signed_in: SignedIn, fields: dict[str, str], names: set[str]
) -> None:
    editor, root = signed_in("editor"), f"/projects/{people.project}"
    wanted = {str(failures.ids[name]) for name in names}
    assert _shown(editor, f"{root}/deliveries", **fields) == wanted
    assert _shown(editor, f"{root}/errors", **fields) == wanted
    assert _exported(editor, f"{root}/export/deliveries.csv", **fields) == wanted
    assert _exported(editor, f"{root}/export/errors.csv", **fields) == wanted
    form = {"all": "1", "seen": now().isoformat(), **fields}
    preview = editor.post(f"{root}/errors/send/preview", form).text
    assert (f'<td class="num">{len(names)}</td>' in preview) == bool(names)
    editor.post(f"{root}/errors/check", form)
    assert failures.unchecked() == set(failures.ids) - names


def test_a_call_is_found_by_the_id_of_its_card_too(
    app: Flask, failures: Failures, people: People, signed_in: SignedIn
) -> None:
    call = str(failures.ids["one.1"])
    assert _shown(signed_in("viewer"), f"/projects/{people.project}/deliveries", call=call) == {call}


def test_of_an_hour_that_comes_twice_both_are_shown(
    app: Flask, database: Database, people: People, signed_in: SignedIn
) -> None:
    made = Failures(database, people.project)
    made.add(datetime(2026, 10, 25, 0, 20, tzinfo=UTC), "summer")  # 03:20 in Kyiv
    made.add(datetime(2026, 10, 25, 1, 20, tzinfo=UTC), "winter")  # 03:20 again
    fields = {"from": "2026-10-25T03:00", "to": "2026-10-25T03:30"}
    assert len(_shown(signed_in("viewer"), f"/projects/{people.project}/deliveries", **fields)) == 2


BAD = [
    ("state", "sent", "Outcome"), ("webhook", "-1", "Webhook"), ("webhook", "9" * 23, "Webhook"),
    ("stage", "incoming", "Stage"), ("outcome", "http_6xx", "Reason"), ("code", "abc", "HTTP status code"),
    ("code", "99", "HTTP status code"), ("code", "²²²", "HTTP status code"), ("number", "1" * 151, "Phone number"),
    ("from", "yesterday", "From"),
    ("from", "2026-07-10T15:30+03:00", "From"), ("to", "0001-01-01T00:00", "To"), ("to", "9999-12-31T23:59", "To"),
    ("hour", "14", "Hour"), ("hour", "9999-12-31T23:30:00+00:00", "Hour"), ("hour", "2026-07-10T12:00", "Hour"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "field"), BAD)
def test_a_value_that_is_none_is_told_by_the_name_of_its_field(
    app: Flask, failures: Failures, people: People, signed_in: SignedIn, name: str, value: str, field: str
) -> None:
    editor, root = signed_in("editor"), f"/projects/{people.project}"
    paths = [f"{root}/{path}" for path in ("deliveries", "errors", "export/errors.csv", "deliveries/newer")]
    answers = [editor.get(path, query_string={name: value}) for path in paths]
    form = {"all": "1", "seen": now().isoformat(), name: value}
    editor.get(root + "/errors")
    answers += [editor.post(f"{root}/errors/{path}", form) for path in ("check", "send", "send/preview")]
    for answer in answers:
        assert answer.status_code == 400
        assert f"{field}: “" in answer.text
    assert failures.unchecked() == set(failures.ids)


@pytest.mark.parametrize("seen", ["", "x", "2026-07-10T12:00", "0001-01-01T00:00:00+14:00", "9" * 400])
def test_without_the_moment_of_its_page_nothing_is_checked_or_sent(
    app: Flask, failures: Failures, people: People, signed_in: SignedIn, seen: str
) -> None:
    editor, root = signed_in("editor"), f"/projects/{people.project}"
    for path in ("check", "send", "send/preview"):
        answer = editor.post(f"{root}/errors/{path}", {"all": "1", "seen": seen})
        assert answer.status_code == 400
        assert "Time of this page: “" in answer.text
    assert failures.unchecked() == set(failures.ids)


def test_the_hour_of_a_bar_stays_until_it_is_taken_away(
    app: Flask, failures: Failures, people: People, signed_in: SignedIn
) -> None:
    address = f"/projects/{people.project}/errors"
    fields = {"hour": "2026-07-10T12:00:00+00:00", "outcome": "deadline"}
    page = signed_in("viewer").get(address, query_string=fields).text
    row = page[page.index('<form class="filters"') : page.index("</form>", page.index('<form class="filters"'))]
    assert '<input type="hidden" name="hour" value="2026-07-10T12:00:00+00:00">' in row
    assert f'class="chip" href="{address}?outcome=deadline"' in " ".join(row.split())
    assert '<option value="deadline" selected>The receiver did not answer completely within the time limit.' in row


def test_only_newer_deliveries_that_match_are_offered(
    app: Flask, failures: Failures, people: People, signed_in: SignedIn
) -> None:
    viewer, root = signed_in("viewer"), f"/projects/{people.project}"
    for fields, count in (({}, "4 new"), ({"outcome": "deadline"}, "1 new"), ({"outcome": "gone"}, "")):
        given = {"since": str(failures.ids["noon.1"]), **fields}
        assert count in viewer.get(f"{root}/deliveries/newer", query_string=given).text
    failures.add(NOON + timedelta(hours=3), "good.1", outcome="ok", code=200, state="delivered")
    page = viewer.get(f"{root}/errors?call=two.1").text
    asked = re.search(r'hx-get="([^"]*/newer[^"]*)"', page)[1].replace("&amp;", "&")
    assert "call=two.1" in asked
    assert "new" not in viewer.get(asked).text


@pytest.mark.parametrize(
    ("there", "leads_to"),
    [("http://hub/projects/1/errors?call=two.1", "/projects/1/errors?call=two.1"), ("http://[", "")],
    ids=["a page", "no address"],
)
def test_the_button_for_newer_deliveries_leads_to_the_page_the_browser_is_on(
    there: str, leads_to: str, failures: Failures, people: People, signed_in: SignedIn
) -> None:
    since = {"since": str(failures.ids["noon.1"])}
    viewer = signed_in("viewer")
    path = f"/projects/{people.project}/deliveries/newer"
    assert f'href="{leads_to}"' in viewer.get(path, query_string=since, headers={"HX-Current-URL": there}).text


def test_all_of_a_number_are_checked_and_sent_however_many_and_none_that_failed_later(
    app: Flask, database: Database, people: People, signed_in: SignedIn
) -> None:
    made = Failures(database, people.project)
    old = [f"old.{number}" for number in range(1203)]
    made.add(NOON, *old)
    made.add(NOON, "other.1", caller="+380670000009")
    made.add(NOON + timedelta(hours=2), *(f"late.{number}" for number in range(1003)))
    editor, root = signed_in("editor"), f"/projects/{people.project}"
    form = {"all": "1", "number": "380670000001", "seen": (NOON + timedelta(hours=1)).isoformat()}
    assert "Send 1203 requests again" in editor.post(f"{root}/errors/send/preview", form).text
    editor.post(f"{root}/errors/send", {**form, "rate": "100"})
    with database.read() as session:
        assert session.scalars(select(Resend.total)).all() == [1203]
    editor.post(f"{root}/errors/check", form)
    assert "1203 taken off the list." in editor.get(f"{root}/errors").text
    assert made.unchecked() == set(made.ids) - set(old)


def test_a_problem_is_about_those_it_counts(
    app: Flask, failures: Failures, people: People, signed_in: SignedIn
) -> None:
    """Of the same webhook and reason, some with a status and some without: two problems, each with its own button."""
    failures.add(NOON + timedelta(hours=4), "slow.1", "slow.2", outcome="deadline", code=200)
    editor, root = signed_in("editor"), f"/projects/{people.project}"
    page = editor.get(f"{root}/errors").text
    told = []
    for form in re.findall(r'<form method="post" action="[^"]*/send/preview">.*?</form>', page, re.DOTALL):
        fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form))
        told.append(int(re.search(r"Send (\d+) again", form)[1]))
        assert f'<td class="num">{told[-1]}</td>' in editor.post(f"{root}/errors/send/preview", fields).text
    assert sorted(told) == [1, 2, 2, 2]


def test_a_webhook_repaired_since_it_failed_sends_by_its_current_settings_unless_asked_otherwise(
    database: Database, failures: Failures, people: People, signed_in: SignedIn
) -> None:
    editor, root = signed_in("editor"), f"/projects/{people.project}"
    form, current = {"all": "1", "seen": now().isoformat()}, re.compile(r'name="current" value="1" checked')
    assert not current.search(editor.post(f"{root}/errors/send/preview", form).text)
    with database.write() as session:
        session.execute(update(Webhook).values(revision=Webhook.revision + 1))
    preview = editor.post(f"{root}/errors/send/preview", form).text
    assert current.search(preview)
    assert "Changed since these failures:" in preview


def test_nobody_waits_to_write_while_what_is_sent_again_is_counted(
    app: Flask, database: Database, failures: Failures, people: People, signed_in: SignedIn
) -> None:
    counted = list[bool]()

    def note(connection: Connection, _cursor: object, statement: str, *_more: object) -> None:
        if "count(*)" in statement and "GROUP BY delivery.webhook_id" in statement:
            counted.append(connection.get_execution_options().get("pbxhub_write", False))

    event.listen(database.engine, "before_cursor_execute", note)
    editor, root = signed_in("editor"), f"/projects/{people.project}"
    assert "are being sent again." in editor.post(
        f"{root}/errors/send", {"all": "1", "seen": now().isoformat()}, follow_redirects=True
    ).text  # fmt: skip
    assert counted == [False]
