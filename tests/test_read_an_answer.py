"""A receiver answers: was it a success, when is it tried again, what is kept for the next webhook of the call."""

import json
from typing import Any

import pytest

from pbxhub.delivery.read_answer import read
from pbxhub.sending.exchange import Answer as Received
from pbxhub.webhooks.answer_verdict import judge
from pbxhub.webhooks.auth import authorize, secret_error
from pbxhub.webhooks.chains import check_chains
from pbxhub.webhooks.check import problems
from pbxhub.webhooks.matching import compile_filters
from pbxhub.webhooks.rendered_request import Request
from pbxhub.webhooks.request import compile_request
from pbxhub.webhooks.retry import delays_of, next_delay
from pbxhub.webhooks.saved_values import Answered, chain_values, read_answer
from pbxhub.webhooks.spec import (
    AnswerSpec,
    Auth,
    BodyCheck,
    FieldError,
    Filter,
    Parameter,
    RequestSpec,
    Retry,
    Saved,
    Success,
    WebhookSpec,
)


@pytest.mark.parametrize(
    ("statuses", "status", "code"),
    [
        ((), 200, "ok"),
        ((), 204, "ok"),
        ((), 299, "ok"),
        ((), 301, "http_3xx"),
        ((), 404, "http_4xx"),
        ((), 410, "gone"),
        ((), 503, "http_5xx"),
        ((), 600, "check_failed"),
        ((200,), 200, "ok"),
        ((200,), 201, "check_failed"),
        ((200, 404), 404, "ok"),
        ((410,), 410, "ok"),
    ],
)
def test_the_status_decides(statuses: tuple[int, ...], status: int, code: str) -> None:
    verdict = judge(Success(statuses), status, b"")
    assert (verdict.ok, verdict.code) == (code == "ok", code)
    assert str(status) in verdict.sentence


@pytest.mark.parametrize(
    ("check", "body", "ok"),
    [
        (BodyCheck("text_contains", "", "ok"), b"all ok", True),
        (BodyCheck("text_contains", "", "ok"), b"OK", False),
        (BodyCheck("text_contains", "", "да"), "да".encode(), True),
        (BodyCheck("json_exists", "result"), b'{"result": null}', True),
        (BodyCheck("json_exists", "result"), b'{"error": {"code": -32601}}', False),
        (BodyCheck("json_exists", "items[1].id"), b'{"items": [{}, {"id": 1}]}', True),
        (BodyCheck("json_exists", "items.1.id"), b'{"items": [{}, {"id": 1}]}', True),
        (BodyCheck("json_exists", "items[2]"), b'{"items": [{}, {"id": 1}]}', False),
        (BodyCheck("json_equals", "ok", "true"), b'{"ok": true}', True),
        (BodyCheck("json_equals", "ok", "true"), b'{"ok": "true"}', True),
        (BodyCheck("json_equals", "ok", "true"), b'{"ok": 1}', False),
        (BodyCheck("json_equals", "code", "0"), b'{"code": 0}', True),
        (BodyCheck("json_equals", "code", "0"), b'{"code": false}', False),
        (BodyCheck("json_equals", "code", "1"), b'{"code": 1.0}', True),
        (BodyCheck("json_equals", "s", "done"), b'{"s": "done"}', True),
        (BodyCheck("json_equals", "s", "done"), b'{"s": null}', False),
        (BodyCheck("json_exists", "a"), b"<html>", False),
        (BodyCheck("json_exists", "a"), b"\xff\xfe\x00", False),
        (BodyCheck("json_exists", "a"), b"[" * 100_000, False),
    ],
)
def test_the_body_decides_too(check: BodyCheck, body: bytes, ok: bool) -> None:
    verdict = judge(Success((), check), 200, body)
    assert (verdict.ok, verdict.code) == (ok, "ok" if ok else "check_failed")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b'{"errors": []}', "ok"),
        (400, b'{"errors": [{"status": 263}]}', "ok"),
        (400, b'{"errors": [{"status": 400}]}', "check_failed"),
        (400, b'{"title": "Bad Request"}', "check_failed"),
        (422, b'{"errors": [{"status": 263}]}', "http_4xx"),
    ],
)
def test_the_body_decides_only_of_the_statuses_that_it_is_to_decide(status: int, body: bytes, code: str) -> None:
    check = BodyCheck("json_equals", "errors[0].status", "263", statuses=(400,))
    assert judge(Success((200, 400), check), status, body).code == code
    assert problems(WebhookSpec(RequestSpec(url="https://a.example"), success=Success((), check))) == []
    wrong = Success((), BodyCheck("json_exists", "a", statuses=(99,)))
    (error,) = problems(WebhookSpec(RequestSpec(url="https://a.example"), success=wrong))
    assert error.path == "success.body.statuses[0]"


def test_a_wrong_body_is_told_in_a_sentence() -> None:
    verdict = judge(Success((), BodyCheck("json_equals", "result.code", "0")), 200, b'{"result": {"code": 5}}')
    assert verdict.sentence == "The receiver answered 200, but result.code is 5, not 0."


JSON_ANSWER = b'{"result": {"CALL_ID": "C1", "items": [{"id": 7}], "none": null}, "nul": "a\\u0000b"}'
XML_ANSWER = b"""<a:call xmlns:a="urn:x" id="9"><leg n="1"><status>BUSY</status></leg>
<leg><status>OK &amp; on</status></leg></a:call>"""


@pytest.mark.parametrize(
    ("answer_format", "path", "expected"),
    [
        ("json", "result.CALL_ID", "C1"),
        ("json", "result.items[0].id", 7),
        ("json", "result.items", [{"id": 7}]),
        ("json", "nul", "a\ufffdb"),
        ("xml", "leg/status", "BUSY"),
        ("xml", "leg[1]/status", "OK & on"),
        ("xml", "call/leg[0]/@n", "1"),
        ("xml", "/call/leg/status", "BUSY"),
        ("xml", "@id", "9"),
    ],
)
def test_values_of_the_answer_are_saved(answer_format: Any, path: str, expected: Any) -> None:
    body = JSON_ANSWER if answer_format == "json" else XML_ANSWER
    read = read_answer(AnswerSpec(answer_format, (Saved("X", path, True),)), body)
    assert (read.values, read.problem) == ({"X": expected}, "")


@pytest.mark.parametrize(
    ("answer_format", "path", "body", "problem"),
    [
        ("json", "result.id", JSON_ANSWER, "the body has no result.id, which is mandatory"),
        ("json", "id", b'{"id":" "}', "id of the body is empty, but it is mandatory"),
        ("xml", "id", b"<a><id/></a>", "id of the body is empty, but it is mandatory"),
        ("json", "result.none", JSON_ANSWER, "the body has no result.none, which is mandatory"),
        ("json", "a", b"<a/>", "the body is not JSON, so a cannot be saved"),
        ("xml", "leg[5]/status", XML_ANSWER, "the body has no leg[5]/status, which is mandatory"),
        ("xml", "@none", XML_ANSWER, "the body has no @none, which is mandatory"),
        ("xml", "a", b"{}", "the body is not XML, so a cannot be saved"),
        ("xml", "a", b'<?xml version="1.0" encoding="nonsense"?><a/>', "the body is not XML, so a cannot be saved"),
    ],
)
def test_a_mandatory_value_that_is_missing_is_a_problem(
    answer_format: Any, path: str, body: bytes, problem: str
) -> None:
    assert read_answer(AnswerSpec(answer_format, (Saved("X", path, True),)), body).problem == problem
    assert read_answer(AnswerSpec(answer_format, (Saved("X", path),)), body).problem == ""


@pytest.mark.parametrize("depth", [99, 101, 500, 950, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_an_answer_nested_without_end_is_read_without_harm(depth: int, opening: bytes, closing: bytes) -> None:
    body = opening * depth + b"1" + closing * depth
    values = chain_values(Answered(200, (), body, 0.1, "", "", {}))
    assert (values["webhook.json"] is None) == (depth > 100)
    assert read_answer(AnswerSpec("json", (Saved("X", "a.a"),)), body).values.keys() <= {"X"}


def test_entities_of_an_answer_are_never_resolved() -> None:
    for body in (
        b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
        b'<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;&b;">]><a>&c;</a>',
    ):
        assert read_answer(AnswerSpec("xml", (Saved("X", "a"),)), body).values == {}


def test_the_next_webhook_of_the_chain_sees_the_answer() -> None:
    answered = Answered(
        201,
        (("X-Id", "9"), ("Location", "/c/9")),
        JSON_ANSWER,
        0.1834,
        "",
        "",
        {"CALL_ID": "C1"},
    )
    parameters = (
        "webhook.status", "webhook.json.result.items[0].id", "webhook.headers.x-id", "webhook.saved.CALL_ID",
        "response_status", "response_status_code", "response_status_type", "response_duration", "response_error",
        "webhook.json.nul",
    )  # fmt: skip
    tree = tuple(Parameter("", value=f"<<{name}>>") for name in parameters)
    compiled = compile_request(WebhookSpec(RequestSpec(url="http://r.example/", parameters=tree, top="array")))
    request = compiled.render(chain_values(answered))
    assert isinstance(request, Request)
    assert json.loads(request.body) == [201, 7, "9", "C1", "SUCCESS", 201, "Success", 0.183, False, "a\ufffdb"]


def test_a_mandatory_value_that_is_missing_is_the_reason() -> None:
    saving = WebhookSpec(answer=AnswerSpec(save=(Saved("ID", "id", mandatory=True),)))
    values = read(saving, Received("ok", "", 200, body=b"{}")).values
    assert (values["response_status"], values["error_reason"]) == ("FAILED", "MISSING_MANDATORY")
    assert values["response_raw"] == "{}"


@pytest.mark.parametrize(
    ("status", "kind"),
    [(101, "Informational"), (204, "Success"), (302, "Redirection"), (404, "Client Error"), (503, "Server Error")],
)
def test_the_class_of_a_status_is_named_in_words(status: int, kind: str) -> None:
    assert chain_values(Answered(status, (), b"", 0.1, "", "", {}))["response_status_type"] == kind


def test_a_failure_without_an_answer_is_seen_too() -> None:
    values = chain_values(Answered(None, (), b"", 10.0, "TIMEOUT", "No answer within 10 s.", {}))
    names = (
        "response_status",
        "response_status_code",
        "response_status_type",
        "response_error",
        "error_reason",
        "error_sentence",
        "response_raw",
        "webhook.json",
    )
    assert [values[name] for name in names] == [
        "FAILED", None, None, True, "TIMEOUT", "No answer within 10 s.", None, None,
    ]  # fmt: skip


def linked(**targets: tuple[str, str]) -> dict[str, WebhookSpec]:
    return {name: WebhookSpec(on_success=good, on_failure=bad) for name, (good, bad) in targets.items()}


def test_chains_end() -> None:
    assert check_chains(linked(a=("b", "c"), b=("c", ""), c=("", ""))) == {}
    assert check_chains(linked(a=("a", ""))) == {
        "a": [FieldError("on_success", "leads back to itself: a → a; a chain must have an end")]
    }
    assert check_chains(linked(a=("b", ""), b=("", "c"), c=("a", ""))) == {
        "a": [FieldError("on_success", "leads back to itself: a → b → c → a; a chain must have an end")],
        "b": [FieldError("on_failure", "leads back to itself: b → c → a → b; a chain must have an end")],
        "c": [FieldError("on_success", "leads back to itself: c → a → b → c; a chain must have an end")],
    }
    assert check_chains(linked(a=("x", ""))) == {
        "a": [FieldError("on_success", "names the webhook x, which does not exist")]
    }


def test_a_webhook_that_leads_into_a_cycle_of_others_is_refused_too() -> None:
    assert set(check_chains(linked(start=("a", ""), a=("b", ""), b=("a", "")))) == {"start", "a", "b"}
    wrong = check_chains(linked(start=("a", ""), a=("b", ""), b=("a", "")))["start"]
    assert wrong == [FieldError("on_success", "makes a chain longer than 20 webhooks")]


def test_a_chain_of_twenty_is_allowed_and_one_of_twenty_one_is_not() -> None:
    chain = {f"w{n}": (f"w{n + 1}", "") for n in range(19)} | {"w19": ("", "")}
    assert check_chains(linked(**chain)) == {}
    assert set(check_chains(linked(**chain, first=("w0", "")))) == {"first"}


def test_when_a_delivery_is_tried_again() -> None:
    assert next_delay(Retry(), 1, True) is None
    minutes = Retry("minutes")
    assert [next_delay(minutes, attempt, True) for attempt in (1, 2, 3, 4)] == [60, 300, 900, None]
    assert next_delay(minutes, 1, False) is None
    assert next_delay(minutes, 1, True, chance=0.0) == pytest.approx(54)
    assert next_delay(minutes, 1, True, chance=1.0) == pytest.approx(66)
    assert next_delay(minutes, 1, True, retry_after=200) == 200
    assert next_delay(minutes, 1, True, retry_after=5) == 60
    assert next_delay(minutes, 1, True, retry_after=10**9) == 3600
    assert next_delay(Retry("own", (7,)), 1, True) == 7
    assert delays_of(Retry("fast")) == (2, 4, 8)
    assert len(delays_of(Retry("ringostat"))) == 3
    assert (delays_of(Retry("standard"))[0], delays_of(Retry("standard"))[-1]) == (5, 24 * 3600)


REQUEST = Request(
    "POST", "https://r.example/h?a=1", (("Content-Type", "application/json"), ("authorization", "old")), b"{}"
)


@pytest.mark.parametrize(
    ("auth", "secret", "added"),
    [
        (Auth("basic", username="Аня"), "p:w", ("Authorization", "Basic 0JDQvdGPOnA6dw==")),
        (Auth("bearer"), "T0K", ("Authorization", "Bearer T0K")),
        (Auth("header", name="Authorization"), "Zoho-oauthtoken 1000.ab", ("Authorization", "Zoho-oauthtoken 1000.ab")),
        (Auth("header", name="X-Key"), "k", ("X-Key", "k")),
    ],
)
def test_credentials_join_as_a_header(auth: Auth, secret: str, added: tuple[str, str]) -> None:
    sent = authorize(REQUEST, auth, secret)
    kept = [pair for pair in REQUEST.headers if pair[0].lower() != added[0].lower()]
    assert sent.headers == (*kept, added)
    assert (sent.url, sent.body) == (REQUEST.url, REQUEST.body)


def test_credentials_join_the_query() -> None:
    assert (
        authorize(REQUEST, Auth("query", name="api key"), "a&b=c").url == "https://r.example/h?a=1&api%20key=a%26b%3Dc"
    )
    plain = Request("GET", "https://r.example/h", (), b"")
    assert authorize(plain, Auth("query", name="k"), "s").url == "https://r.example/h?k=s"
    assert authorize(plain, Auth(), "s") == plain


@pytest.mark.parametrize("secret", ["", " x", "x ", "a\r\nX: y", "ключ", "a\x00"])
def test_a_secret_that_a_header_cannot_carry_is_refused(secret: str) -> None:
    assert secret_error(Auth("bearer"), secret)
    assert secret_error(Auth("header", name="X"), secret)
    assert secret_error(Auth("bearer"), "fine-secret") == ""


def test_a_header_of_the_answer_is_found_in_any_letter_case() -> None:
    values = chain_values(Answered(200, (("X-Request-ID", "7"),), b"", 0.1, "", "", {}))
    texts = ("<<webhook.headers.x-request-id>>", "<<webhook.headers.X-Request-Id>>")
    parameters = tuple(Parameter(f"p{index}", value=text) for index, text in enumerate(texts))
    filters = (Filter("webhook.headers.X-REQUEST-ID", "equals", "7"),)
    spec = WebhookSpec(RequestSpec(url="https://r.example/", parameters=parameters), filters=filters)
    assert problems(spec) == []
    request = compile_request(spec).render(values)
    assert isinstance(request, Request)
    assert request.body == b'{"p0":"7","p1":"7"}'
    assert compile_filters(spec).matches(values)
