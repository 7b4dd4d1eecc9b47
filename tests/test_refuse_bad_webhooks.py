"""A user saves a webhook that cannot work: every mistake is named by its path, with what would be right."""

import json
from typing import Any

import pytest

from pbxhub.webhooks.check import advice, check_spec, check_stage
from pbxhub.webhooks.request import LARGEST_TEMPLATE, compile_request
from pbxhub.webhooks.spec import FieldError, Parameter, RequestSpec, SpecError, WebhookSpec, dump_spec, load_spec
from tests.support.golden_cases import GOLDEN, Refusal, read_refusals

GOOD = {"url": "https://crm.example.com/calls"}


def errors_of(data: Any) -> list[str]:
    with pytest.raises(SpecError) as raised:
        check_spec(data)
    return [str(error) for error in raised.value.errors]


def request(**fields: Any) -> dict[str, Any]:
    return {"request": {**GOOD, **fields}}


def tree(*parameters: Any, **fields: Any) -> dict[str, Any]:
    return request(parameters=list(parameters), **fields)


def field(name: str, value: str = "", **more: Any) -> dict[str, Any]:
    return {"name": name, "value": value, **more}


CASES = read_refusals(GOLDEN / "refused" / "webhooks.txt")


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_refusal_names_the_field_and_the_way_out(case: Refusal) -> None:
    assert errors_of(case.spec) == case.lines


def test_more_parameters_and_headers_than_allowed_are_refused() -> None:
    assert errors_of(tree(*(field(f"p{number}") for number in range(501)))) == [
        "parameters: has 501 parameters; at most 500 are sent"
    ]
    assert errors_of(request(headers=[field(f"X-{number}", "1") for number in range(51)])) == [
        "headers: has 51 headers; at most 50 are sent"
    ]


@pytest.mark.parametrize("url", ["http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://１２７.0.0.1/"])
def test_unicode_digits_become_the_address_the_guard_will_see(url: str) -> None:
    spec = check_spec(request(url=url, method="GET"))
    assert compile_request(spec).url.origin == "http://127.0.0.1"


@pytest.mark.parametrize(
    "name",
    ["Host", "HOST", "content-length", "Content-LENGTH", "Transfer-Encoding", "connection", "Upgrade", "TE", "te",
     "Trailer", "expect", "Expect", "Proxy-Authorization", "proxy-connection", "webhook-id", "Webhook-Signature"],
)  # fmt: skip
def test_reserved_headers_are_refused_in_any_letter_case(name: str) -> None:
    refusal = f"headers.{name}: {name} is set by the hub and cannot be changed"
    assert errors_of(request(headers=[field(name, "1")])) == [refusal]


def test_a_cyrillic_header_value_is_a_message_at_saving() -> None:
    assert "latin-1 only" in errors_of(request(headers=[field("X-Имя", "1"), field("X-A", "Привет")]))[-1]


def test_templates_of_more_than_64_kilobytes_are_refused() -> None:
    size = LARGEST_TEMPLATE - len(GOOD["url"]) - len("request") - len("a")
    assert check_spec(tree(field("a", "x" * size)))
    refusal = "the webhook has 65537 bytes of text; at most 65536 are allowed"
    assert errors_of(tree(field("a", "x" * (size + 1)))) == [refusal]


def test_a_request_of_more_than_256_kilobytes_and_a_url_of_more_than_8_are_not_sent() -> None:
    get = WebhookSpec(RequestSpec("GET", "https://crm.example.com/?q=<<caller_name>>"))
    assert str(compile_request(get).render({"caller_name": "x" * 8192})) == (
        "NotSent(code='render_error', "
        "sentence='url: has 8219 characters, at most 8192 are allowed; use POST and a body')"
    )
    name = (Parameter("a", value="<<caller_name>>"),)
    post = WebhookSpec(RequestSpec(url="https://crm.example.com/", parameters=name))
    assert "at most 262144 are sent" in str(compile_request(post).render({"caller_name": "я" * 131_072}))


def test_all_mistakes_are_told_at_once() -> None:
    data = {
        "request": {
            "url": "nowhere",
            "parameters": [field("a b")],
            "headers": [field("Host", "x")],
            "auth": {"kind": "query"},
        },
        "filters": [{"parameter": "x", "operator": "equals"}],
        "limits": {"deadline": 0},
    }
    paths = [error.split(":")[0] for error in errors_of(data)]
    assert paths == ["url", "headers.Host", "parameters.a b", "filters[0].parameter", "auth.name", "limits.deadline"]


def test_what_is_nested_without_end_is_refused() -> None:
    deep = field("x", type="object", children=[])
    for _ in range(900):
        deep = field("x", type="object", children=[deep])
    (error,) = errors_of(tree(deep))
    assert error.endswith(".x: is nested deeper than 50 levels")


@pytest.mark.parametrize(("letter", "name"), [("\x00", "U+0000"), ("\ud800", "U+D800")])
def test_letters_that_no_database_keeps_are_refused(letter: str, name: str) -> None:
    refusal = f"has the character {name}, which cannot be stored; delete it"
    assert errors_of(tree(field("a", f"x{letter}"))) == [f"parameters.a.value: {refusal}"]


def test_a_moment_that_does_not_exist_is_refused() -> None:
    assert check_stage("incoming.after") == []
    refusal = check_stage("incoming.afterwards")[0].message
    assert refusal.startswith("is 'incoming.afterwards'; use one of incoming.before, ")


def test_what_is_only_unwise_is_said_and_saved() -> None:
    spec = check_spec(
        {
            "request": {
                "url": "http://crm.example.com/?q=<<billsec>>",
                "parameters": [
                    field("a", type="array", children=[{"value": "<<caller>>"}, {"value": "<<evaluation_mark>>"}])
                ],
            },
            "filters": [{"parameter": "status", "operator": "equals", "value": "BUSY"}],
        }
    )
    plain = FieldError("url", "is not encrypted: anyone on the network path can read it; use https:// if you can")
    assert list(advice(spec, "incoming.before")) == [
        FieldError("filters[0]", "disposition has no value at the stage incoming.before and will be empty"),
        FieldError("url", "billsec has no value at the stage incoming.before and will be empty"),
        FieldError("parameters.a[1]", "evaluation_mark has no value at the stage incoming.before and will be empty"),
        plain,
    ]
    assert list(advice(spec, "chain")) == [plain]


def test_a_webhook_reads_back_as_it_was_written() -> None:
    spec = check_spec(
        {
            "request": {
                **GOOD,
                "method": "PUT",
                "parameters": [
                    field("contact", type="object", children=[field("x", "<<caller>>", mandatory=True)]),
                ],
            },
            "filters": [{"parameter": "dst", "operator": "in", "values": ["1", "2"]}],
            "retry": {"profile": "own", "delays": [1, 60]},
            "success": {"statuses": [200], "body": {"kind": "json_equals", "path": "ok", "value": "true"}},
            "answer": {"format": "xml", "save": [{"name": "A", "path": "a/b[0]/@c", "mandatory": True}]},
            "on_success": "next",
        }
    )
    assert load_spec(json.loads(json.dumps(dump_spec(spec)))) == spec
