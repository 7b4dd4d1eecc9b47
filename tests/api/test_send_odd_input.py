"""A program sends what is no JSON, what no database can keep, and ids that cannot be: a clear 4xx from every route."""

import json
import re
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.served import Served, fill, routes

UNREADABLE = {
    "deep": b"[" * 3000, "deep and closed": b'{"a":' * 3000 + b"1" + b"}" * 3000,
    "a little deep": b"[" * 101 + b"]" * 101,
    "digits": b'{"port": ' + b"9" * 100_000 + b"}", "fraction": b'{"port": 0.' + b"9" * 100_000 + b"}",
    "NaN": b'{"port": NaN}', "Infinity": b'{"a": [-Infinity]}', "too large": b'{"a": 1e999}',
    "no UTF-8": b'{"name": "\xff\xfe"}', "UTF-16": '{"name": "x"}'.encode("utf-16"), "cut": b'{"name": ',
    "twice": b'{"name": "a", "name": "b"}', "twice inside": b'{"spec": {"request": {"url": "a", "url": "b"}}}',
}  # fmt: skip
UNKEPT = {
    "NUL": b'{"name": "a\\u0000b"}',
    "surrogate": b'{"spec": {"x": ["\\ud800"]}}',
    "NUL in a name": b'{"\\u0000": 1}',
}
NO_OBJECT = (b"[]", b"5", b"null", b'"text"', b"true")
LARGE_IDS = ("9" * 16, str(10**15), str(2**53), str(2**63), "9" * 30, "9" * 10_000, "-1", "%00", "١")


@pytest.fixture
def program(hub: Served) -> Iterator[FlaskClient]:
    hub.app.extensions["pbxhub.api"].config["API_RATE"] = "100000 per minute"
    hub.app.testing = False
    with hub.app.test_client() as client:
        client.environ_base["HTTP_X_API_KEY"] = hub.key("admin")
        yield client


def said(answer: TestResponse) -> str:
    """The sentence of a refusal. Anything else, a page in HTML for one, fails."""
    assert answer.content_type == "application/problem+json", answer.text[:200]
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text[:200])
    return str(answer.get_json()["detail"])


def test_a_body_that_cannot_be_read_or_kept_is_refused_by_every_route(
    hub: Served, ids: dict[str, object], program: FlaskClient
) -> None:
    for method, rule in routes(hub):
        if method == "GET":
            continue
        path = "/api/v1" + fill(rule, ids)
        for name, body in (UNREADABLE | UNKEPT).items():
            answer = program.open(path, method=method, data=body, content_type="application/json")
            assert len(said(answer)) > 20, (method, rule, name)
            assert answer.status_code in (400, 422), (method, rule, name)
        for body in NO_OBJECT:
            answer = program.open(path, method=method, data=body, content_type="application/json")
            assert answer.status_code < 500, (method, rule, body)


def test_the_sentence_names_the_fault_and_its_field(hub: Served, program: FlaskClient) -> None:
    def told(body: bytes) -> tuple[str, list[str]]:
        answer = program.post("/api/v1/employees", data=body, content_type="application/json")
        return said(answer), [error["path"] for error in answer.get_json()["errors"]]

    assert told(b"[" * 3000 + b"]" * 3000) == ("The JSON is nested deeper than 100 levels.", [])
    assert told(UNREADABLE["digits"])[0] == "A number has 100000 digits; at most 100 are allowed."
    assert told(b'{\n"name": }') == ("This is not JSON: see line 2, column 9.", [])
    assert told(b'{"name": NaN}')[0] == "NaN is not valid JSON; give a number or null."
    assert told(UNREADABLE["twice"]) == ("name: contains the same field twice", ["name"])
    assert told(b'{"a": [{"b": "\\u0000"}]}')[1] == ["a[0].b"]


def test_json_that_does_not_say_so_is_not_guessed_at(hub: Served, ids: dict[str, object], program: FlaskClient) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", ""):
        answer = program.post("/api/v1/employees", data=b'{"extension": "101"}', content_type=kind)
        assert (answer.status_code, said(answer)) == (415, "Send JSON, with Content-Type: application/json.")
        for method, rule in routes(hub):
            if method not in ("GET", "DELETE"):
                answer = program.open("/api/v1" + fill(rule, ids), method=method, data=b"a=1", content_type=kind)
                assert answer.status_code < 500, (method, rule, kind)


def test_an_id_that_no_database_holds_is_not_found(hub: Served, ids: dict[str, object], program: FlaskClient) -> None:
    for method, rule in routes(hub):
        for name in re.findall(r"<int[^:>]*:(\w+)>", rule):
            for large in LARGE_IDS:
                path = "/api/v1" + fill(rule, {**ids, name: large})
                answer = program.open(path, method=method, json=None if method in ("GET", "DELETE") else {})
                assert answer.status_code in (404, 422), (method, rule, name, large[:20], answer.status_code)
        for name in re.findall(r"<(?!int|uuid)(?:\w+:)?(\w+)>", rule):
            path = "/api/v1" + fill(rule, {**ids, name: "a%00b"})
            assert program.open(path, method=method, json={}).status_code == 404, (method, rule)


def test_an_odd_question_is_refused_and_breaks_nothing(
    hub: Served, ids: dict[str, object], program: FlaskClient
) -> None:
    for method, rule in routes(hub):
        if method != "GET" or "stream" in rule:
            continue
        path = "/api/v1" + fill(rule, ids)
        for odd in ("9" * 5000, "a\0b", "NaN", "-1", "1e400", "٣", "%"):
            names = ("after", "limit", "number", "type", "call_id", "direction", "since", "webhook_id", "status_code")
            for asked in (dict.fromkeys(names, odd[:800]), {"after": odd}, {"number": odd}):
                assert program.get(path, query_string=asked).status_code < 500, (rule, odd[:20])
        answer = program.get(path, query_string={"after": "9" * 8001})
        assert (answer.status_code, said(answer)[:27]) == (414, "The address is too long: it")


def test_a_refused_body_is_not_kept_under_its_idempotency_key(hub: Served, program: FlaskClient) -> None:
    headers = {"Idempotency-Key": "one"}
    answer = program.post("/api/v1/employees", data=b"[" * 3000, content_type="application/json", headers=headers)
    assert answer.status_code == 400
    answer = program.post("/api/v1/employees", data=json.dumps({"extension": "101"}), headers=headers,
                          content_type="application/json")  # fmt: skip
    assert answer.status_code == 201
