"""A viewer and a program with a `read` key look at everything there is: no secret of anybody is in it."""

import re
from base64 import b64decode
from collections.abc import Iterator
from itertools import product

import pytest
from flask import Flask
from flask.testing import FlaskClient

from pbxhub.api import streams
from tests.support.planted import Planted, plant
from tests.support.served import OPEN, Served
from tests.support.signing_in import member, program

_FILE = re.compile(r'"file": ?"([A-Za-z0-9+/]+={0,2})"')  # a body as bytes, in base64
_REFUSED = "limit: is not a name that the query can have"
_PLACE = re.compile(r"<(?:[^<>:]+:)?(\w+)>")


@pytest.fixture
def planted(hub: Served, monkeypatch: pytest.MonkeyPatch) -> Planted:
    monkeypatch.setattr(streams, "STREAM_SECONDS", 0.1)
    hub.app.extensions["pbxhub.api"].config["API_RATE"] = "100000 per minute"
    return plant(hub)


def paths(app: Flask, planted: Planted, prefix: str = "") -> Iterator[str]:
    """Every address that can be read, with everything that was planted."""
    for rule in app.url_map.iter_rules():
        if "GET" not in rule.methods or rule.rule in OPEN or rule.endpoint.startswith(("security.", "static")):
            continue
        names = _PLACE.findall(rule.rule)
        for values in product(*(planted.ids[name] for name in names)):
            filled = dict(zip(names, values, strict=True))
            yield prefix + _PLACE.sub(lambda place, filled=filled: str(filled[place[1]]), rule.rule)


def read(client: FlaskClient, path: str, **headers: str) -> str:
    answer = client.get(path, headers=headers)
    assert answer.status_code < 500, path
    files = [b64decode(file).decode() for file in _FILE.findall(answer.text)]
    return "\n".join([str(answer.headers), answer.text, *files])


def read_whole(client: FlaskClient, path: str) -> str:
    """What is no list refuses a limit, and then tells nothing that could be searched."""
    again = {"Last-Event-ID": "0.0"}
    told = "" if "stream" in path else read(client, f"{path}?limit=200", **again)
    return told if told and _REFUSED not in told else read(client, path, **again)


def found(markers: list[str], text: str, path: str) -> list[str]:
    return [f"{marker} in {path}" for marker in markers if marker in text]


def read_all(hub: Served, client: FlaskClient, planted: Planted) -> dict[str, str]:
    """What the API answers: every list whole, every stream from its beginning, and the previews."""
    api = hub.app.extensions["pbxhub.api"]
    answers = {path: read_whole(client, path) for path in paths(api, planted, "/api/v1")}
    for webhook_id in planted.ids["webhook_id"]:
        path = f"/api/v1/webhooks/{webhook_id}/preview"
        answers[path] = client.post(path, json={"sample": "answered"}).text
    return answers


def test_a_viewer_reads_no_secret_on_any_page(hub: Served, planted: Planted) -> None:
    viewer = member(hub, "viewer")
    seen = []
    for path in paths(hub.app, planted):
        for headers in ({}, {"HX-Request": "true"}):
            seen += found([*planted.hidden, *planted.always_hidden], read(viewer, path, **headers), path)
    assert seen == []


def test_a_program_with_a_read_key_reads_no_secret(hub: Served, planted: Planted) -> None:
    answers = read_all(hub, program(hub, "read"), planted)
    markers = [*planted.hidden, *planted.always_hidden]
    seen = [item for path, text in answers.items() for item in found(markers, text, path)]
    assert seen == []
    assert '"hello"' in answers["/api/v1/webhooks"]  # what is none stays readable
    assert "destination" in answers["/api/v1/webhooks"]


def test_an_editor_reads_no_secret_of_a_request_that_was_sent(hub: Served, planted: Planted) -> None:
    editor = member(hub, "editor")
    seen = []
    for path in paths(hub.app, planted):
        seen += found(planted.always_hidden, read(editor, path), path)
    answers = read_all(hub, program(hub, "read", "write", "call"), planted)
    seen += [item for path, text in answers.items() for item in found(planted.always_hidden, text, path)]
    assert seen == []


def test_who_may_change_webhooks_reads_how_they_are_set_up(hub: Served, planted: Planted) -> None:
    """That the others find nothing means something: all of it is there."""
    answers = "".join(read_all(hub, program(hub, "write"), planted).values())
    assert [marker for marker in planted.hidden if marker not in answers] == []


def test_an_idempotency_key_does_not_read_what_another_key_was_told(hub: Served, planted: Planted) -> None:
    path, again = f"/api/v1/webhooks/{planted.ids['webhook_id'][0]}/preview", {"Idempotency-Key": "one"}
    told = program(hub, "read", "write").post(path, json={}, headers=again)
    assert found(planted.hidden, told.text, path)
    answer = program(hub, "read").post(path, json={}, headers=again)
    assert (answer.status_code, found(planted.hidden, answer.text, path)) == (422, [])
    assert program(hub, "read", "write").post(path, json={}, headers=again).text == told.text


def test_nobody_reads_a_hidden_value_by_a_webhook_of_their_own(hub: Served, planted: Planted) -> None:
    """Under a name that marks no secret it would stand in the open."""
    path, request = "/api/v1/webhooks/preview", {"url": "https://example.com/", "format": "json"}
    request["parameters"] = [{"name": "x", "value": "<<custom.password>>"}]
    for stage, call_id in product(("incoming.after", "call.complete"), planted.ids["call_id"]):
        asked = {"stage": stage, "sample": str(call_id), "spec": {"request": request}}
        answer = program(hub, "read").post(path, json=asked)
        assert (answer.status_code, found(planted.hidden, answer.text, path)) == (403, [])
        assert program(hub, "write").post(path, json=asked).status_code == 200
