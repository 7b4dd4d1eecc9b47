"""A browser, or somebody who plays one, sends what is no form, what no database keeps, and ids that cannot be."""

import re
from collections.abc import Callable

import pytest
from flask import Flask

from pbxhub.store.session import Database
from tests.support.page_routes import page_routes
from tests.support.people import Browser

SignedIn = Callable[[str], Browser]
UNREADABLE = {
    "deep": b"[" * 3000, "deep and closed": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "digits": b'{"port": ' + b"9" * 100_000 + b"}", "NaN": b'{"a": NaN}', "cut": b"{", "no UTF-8": b'{"a": "\xff"}',
    "twice": b'{"spec": {}, "spec": {}}', "NUL": b'{"name": "a\\u0000b"}', "surrogate": b'{"spec": ["\\ud800"]}',
    "list": b"[]", "number": b"5", "null": b"null", "text": b'"x"',
}  # fmt: skip
LARGE_IDS = ("9" * 16, "9" * 5000, "%00", "١")


@pytest.fixture
def owner(app: Flask, signed_in: SignedIn) -> Browser:
    browser = signed_in("owner")
    app.testing = False  # as it runs: what breaks is answered 500
    return browser


def _refusals(endpoint: str) -> tuple[int, ...]:
    """A click in a CRM is refused in its own form: 403 without a key, 422 for JSON that is none."""
    return (400, 403, 422, 429) if endpoint == "dial.order" else (400, 429)


def test_json_that_cannot_be_read_or_kept_is_refused_by_every_page(
    app: Flask, things: dict[str, object], owner: Browser
) -> None:
    for endpoint, method, path in page_routes(app, things):
        if method != "POST" or endpoint in ("security.logout", "profile.end_session", "profile.end_others"):
            continue
        for name, body in UNREADABLE.items():
            answer = owner.client.post(
                path, data=body, content_type="application/json", headers={"X-CSRFToken": owner.token}
            )
            assert answer.status_code in _refusals(endpoint), (endpoint, name, answer.status_code)


def test_a_character_that_no_database_keeps_is_named_with_its_field(
    app: Flask, things: dict[str, object], owner: Browser
) -> None:
    for endpoint, method, path in page_routes(app, things):
        if method == "POST" and endpoint not in ("security.logout", "profile.end_session", "profile.end_others"):
            answer = owner.post(path, {"name": "a\0b"})
            assert answer.status_code in _refusals(endpoint), (endpoint, answer.status_code)
    answer = owner.post(f"/projects/{things['project_id']}/employees/new", {"extension": "10\0"})
    assert "extension: has the character U+0000, which cannot be stored" in answer.text
    answer = owner.get(f"/projects/{things['project_id']}/calls", query_string={"number": "1\0"})
    assert answer.status_code == 400
    assert "number: has the character U+0000, which cannot be stored" in answer.text


def test_the_page_says_what_is_wrong_with_the_json(things: dict[str, object], owner: Browser) -> None:
    def told(body: bytes) -> str:
        path = f"/projects/{things['project_id']}/webhooks/preview"
        return owner.client.post(
            path, data=body, content_type="application/json", headers={"X-CSRFToken": owner.token}
        ).text

    assert "The JSON is nested deeper than 100 levels." in told(UNREADABLE["deep and closed"])
    assert "A number has 100000 digits; at most 100 are allowed." in told(UNREADABLE["digits"])
    assert "spec: contains the same field twice" in told(UNREADABLE["twice"])
    assert "This is JSON, but not an object: begin it with {." in told(b"[]")


def test_an_id_that_no_database_holds_is_an_address_that_does_not_exist(
    app: Flask, things: dict[str, object], owner: Browser
) -> None:
    for rule in app.url_map.iter_rules():
        for name in re.findall(r"<int[^:>]*:(\w+)>", rule.rule):
            for large in LARGE_IDS:
                given = {**things, name: large}
                path = re.sub(r"<(?:[^<>:]+:)?(\w+)>", lambda place, given=given: str(given[place[1]]), rule.rule)
                answer = owner.get(path) if "GET" in rule.methods else owner.post(path)
                assert answer.status_code == 404, (rule.endpoint, name, large[:20], answer.status_code)


def test_an_id_of_the_editors_form_that_no_database_holds_is_not_found(
    things: dict[str, object], owner: Browser
) -> None:
    for field in ("id", "copy_of"):
        for large in (10**15, 2**63, 10**30, -1, True, 1.5, "1"):
            for action in ("preview", "test", "save"):
                path = f"/projects/{things['project_id']}/webhooks/{action}"
                answer = owner.client.post(path, json={field: large}, headers={"X-CSRFToken": owner.token})
                assert answer.status_code in (404, 422), (field, large, action, answer.status_code)


def test_numbers_of_a_form_that_no_database_holds_break_nothing(
    app: Flask, things: dict[str, object], owner: Browser
) -> None:
    for endpoint, method, path in page_routes(app, things):
        if method != "POST" or endpoint in ("security.logout", "profile.end_session", "profile.end_others"):
            continue
        for large in ("9" * 5000, "9" * 30, "-1", "١"):
            names = ("id", "webhook", "pbx_id", "port", "rate", "all", "user_id", "expires", "at_once", "wait", "ring")
            answer = owner.post(path, dict.fromkeys(names, large))
            assert answer.status_code < 500, (endpoint, large[:20])


def test_a_body_of_another_kind_breaks_nothing(app: Flask, things: dict[str, object], owner: Browser) -> None:
    for endpoint, method, path in page_routes(app, things):
        if method != "POST" or endpoint == "security.logout":
            continue
        for kind in ("text/plain", "application/xml", "multipart/form-data", "multipart/form-data; boundary=x", ""):
            answer = owner.client.post(path, data=b"\0\xff{", content_type=kind, headers={"X-CSRFToken": owner.token})
            assert answer.status_code < 500, (endpoint, kind, answer.status_code)


def test_an_address_that_is_too_long_is_refused(things: dict[str, object], owner: Browser) -> None:
    answer = owner.get(f"/projects/{things['project_id']}/calls", query_string={"number": "1" * 8001})
    assert answer.status_code == 414
    assert "The address is too long." in answer.text


def test_an_import_says_what_is_wrong_with_its_file(
    things: dict[str, object], owner: Browser, database: Database
) -> None:
    path = f"/projects/{things['project_id']}/webhooks/import"
    for text, why in (
        ("[" * 3000 + "]" * 3000, "nested deeper than 100 levels"),
        ("<html>", "This is not JSON: see line 1, column 1."),
        ('{"webhooks": [], "webhooks": []}', "contains the same field twice"),
        ('{"webhooks": [{"name": "a\\u0000"}]}', "has the character U+0000"),
    ):  # fmt: skip
        answer = owner.post(path, {"text": text})
        assert answer.status_code == 422
        assert why in re.sub(r"\s+|<[^>]+>", " ", answer.text).replace("  ", " "), answer.text
