"""A user takes a ready-made webhook, fills in what is theirs and has a webhook that can be saved."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pbxhub.calls.stages import Value
from pbxhub.webhooks.chains import check_chains
from pbxhub.webhooks.check import advice, problems
from pbxhub.webhooks.ga4 import debug_url, lint_ga4
from pbxhub.webhooks.ga4_request import lint_request, twin, twin_messages
from pbxhub.webhooks.gallery import Item, default_event, fill, find, gallery, load_item
from pbxhub.webhooks.rendered_request import Request
from pbxhub.webhooks.request import compile_request
from pbxhub.webhooks.spec import Field, Parameter, RequestSpec, SpecError, WebhookSpec
from pbxhub.webhooks.spec_json import json_schema

UNVERIFIED = {
    "bitrix24-lead", "zoho-crm", "slack", "telegram", "make", "google-sheets-script", "google-sheets-api",
    "meta-conversions", "odoo", "odoo-18", "bitrix24-task",
}  # fmt: skip


def examples(item: Item) -> dict[str, str]:
    return {"connection": "CRM", **{ask.name: ask.example for ask in item.ask}}


def test_integrations_are_listed_by_name_and_found_by_id() -> None:
    assert [item.name for item in gallery()] == sorted(item.name for item in gallery())
    assert find("no-such") is None


@pytest.mark.parametrize("item", gallery(), ids=lambda item: item.id)
def test_filled_in_it_can_be_saved_and_nothing_is_unwise(item: Item) -> None:
    webhooks = fill(item, examples(item))
    assert check_chains({ready.name: ready.spec for ready in webhooks}) == {}
    for ready in webhooks:
        assert problems(ready.spec) == []
        assert [note for note in advice(ready.spec, ready.stage) if note.path not in ("wait_for", "limits.delay")] == []
        assert (ready.spec.request.auth.kind == "connection") == bool(item.connection)
        assert ready.spec.request.auth.has_secret == bool(item.secret)
    assert item.description


@pytest.mark.parametrize("item", gallery(), ids=lambda item: item.id)
def test_unfilled_it_is_refused_with_the_names_of_what_is_missing(item: Item) -> None:
    if not item.ask:
        assert fill(item, {})
        return
    with pytest.raises(SpecError) as raised:
        fill(item, {})
    assert [error.path for error in raised.value.errors] == [f"ask.{ask.name}" for ask in item.ask]


@pytest.mark.parametrize("item", gallery(), ids=lambda item: item.id)
def test_no_blank_of_the_form_is_left_and_none_is_unused(item: Item) -> None:
    given = {
        "url": "https://r.example/",
        "hook": "https://p.example",
        "user_id": "123",
        "default_user": "124",
        "contact_id": "456",
    }
    answers = {ask.name: given.get(ask.name, f"answer-{ask.name}.example") for ask in item.ask}
    text = repr([ready.spec for ready in fill(item, {"connection": "CRM", **answers})])
    assert "[[" not in text
    assert all(answer in text for answer in answers.values())


def test_what_was_not_verified_says_check_with_your_provider() -> None:
    noted = {item.id for item in gallery() if "(check with your provider)" in item.note}
    assert noted >= UNVERIFIED


def test_an_answer_cannot_smuggle_a_placeholder_into_the_host() -> None:
    item = find("n8n")
    assert item is not None
    with pytest.raises(SpecError, match="parameter in the host"):
        fill(item, {"host": "<<var.HOST>>", "path": "x"})
    with pytest.raises(SpecError, match="did you mean caller"):
        fill(item, {"host": "n8n.example.com", "path": "<<callr>>"})


def test_a_file_of_the_gallery_in_a_wrong_shape_is_refused() -> None:
    with pytest.raises(SpecError, match=r"webhooks.A.method: is 'FETCH'"):
        load_item({"id": "x", "name": "X", "description": "d", "webhooks": [
            {"name": "A", "stage": "incoming.after", "spec": {"request": {"method": "FETCH"}}}]})  # fmt: skip


def test_the_files_have_a_schema() -> None:
    schema = json_schema(Item)
    assert schema["$ref"] == "#/$defs/Item"
    assert schema["$defs"]["Item"]["required"] == ["description", "id", "name", "webhooks"]
    assert schema["$defs"]["Parameter"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Parameter"}


def ga4(**changes: object) -> WebhookSpec:
    (ready,) = fill(default_event(), examples(default_event()))
    return replace(ready.spec, request=replace(ready.spec.request, **changes))  # type: ignore[arg-type]


def event(name: str, *parameters: Parameter) -> Parameter:
    named = Parameter("name", value=name)
    return Parameter(type="object", children=(named, Parameter("params", "object", children=parameters)))


def events(*items: Parameter) -> tuple[Parameter, ...]:
    client = Parameter("client_id", value="<<client_id>>", mandatory=True)
    return (client, Parameter("events", "array", children=items))


def test_the_default_event_asks_for_measurement_id_and_secret() -> None:
    item = default_event()
    assert [ask.name for ask in item.ask] == ["measurement_id"]
    assert item.secret
    assert item.webhooks[0].stage == "incoming.after"
    assert ga4().request.auth.name == "api_secret"
    assert lint_ga4(ga4()) == []


def test_the_test_button_uses_the_validation_twin() -> None:
    assert debug_url("https://www.google-analytics.com/mp/collect?a=1") == (
        "https://www.google-analytics.com/debug/mp/collect?a=1"
    )


EVENT, PARAMS = "parameters.events[0]", "parameters.events[0].params"
RESERVED = "begins with a prefix reserved by GA4 (_ firebase_ ga_ google_)"
PERSONAL = "sends caller; the policy of Google Analytics forbids personal data"
PROPERTY = Parameter("user_properties", "object", children=(Parameter("x" * 25, "object"),))
BROKEN = [
    (events(), "parameters.events: is missing; give an array of 1 to 25 events"),
    (events(*(event("e") for _ in range(26))), "parameters.events: has 26 events; GA4 accepts 25"),
    (events(event("session_start")), f"{EVENT}.name: session_start is reserved by GA4; use another name"),
    (
        events(event("1st")),
        f"{EVENT}.name: '1st' is not a name that GA4 accepts: letters, digits and _, beginning with a letter",
    ),
    (events(event("ga_x")), f"{EVENT}.name: ga_x {RESERVED}"),
    (events(event("x" * 41)), f"{EVENT}.name: has 41 characters; GA4 accepts 40"),
    (events(event("")), f"{EVENT}.name: is missing; GA4 requires it"),
    (events(event("e", *(Parameter(f"p{n}") for n in range(26)))), f"{PARAMS}: has 26 parameters; GA4 accepts 25"),
    (events(event("e", Parameter("p", value="x" * 101))), f"{PARAMS}.p: has 101 characters; GA4 accepts 100"),
    (events(event("e", Parameter("phone", value="<<caller>>"))), f"{PARAMS}.phone: {PERSONAL}"),
    (events(event("e", Parameter("google_p"))), f"{PARAMS}.google_p: google_p {RESERVED}"),
    ((*events(event("e")), PROPERTY), f"parameters.user_properties.{'x' * 25}: has 25 characters; GA4 accepts 24"),
    (
        (*events(event("e")), Parameter("user_properties", "object", children=(Parameter("user_id", "object"),))),
        "parameters.user_properties.user_id: user_id is reserved by GA4; use another name",
    ),
    (events(event("e"))[1:], "parameters.client_id: is missing; GA4 requires it"),
]


@pytest.mark.parametrize(("parameters", "expected"), BROKEN)
def test_what_google_would_silently_drop_is_said_before(parameters: tuple[Parameter, ...], expected: str) -> None:
    assert [str(note) for note in lint_ga4(ga4(parameters=parameters))] == [expected]


CALLED = datetime(2026, 5, 14, 12, 30, 10, tzinfo=UTC)
GOOD: dict[str, Value] = {
    "client_id": "1391543214.1778750000",
    "ga_session_id": "1778753990",
    "calldate": CALLED,
    "billsec": 49,
    "disposition": "ANSWERED",
    "utm_source": "google",
}


def rendered(values: dict[str, Value], **request: Any) -> Request:
    found = compile_request(ga4(**request)).render(values)
    assert isinstance(found, Request)
    return found


def test_the_request_of_the_default_event_keeps_every_rule_of_google() -> None:
    assert lint_request(rendered(GOOD), CALLED) == []


TOO_OLD = "parameters.timestamp_micros: is not within the last 72 hours; GA4 accepts only such times, in microseconds"
DROPPED: list[tuple[dict[str, Value], str]] = [
    ({"client_id": "visitor-7"}, "parameters.client_id: is 'visitor-7'; a client id from Google Analytics"),
    (
        {"client_id": "GA1.1.11.22"},
        "parameters.client_id: is the whole cookie _ga; the client id of this visitor is 11.22",
    ),
    ({"ga_session_id": "GS1.1.177"}, f"{PARAMS}.session_id: is 'GS1.1.177'; GA4 accepts digits only"),
    ({"utm_source": "x" * 101}, f"{PARAMS}.source: has 101 characters; GA4 accepts 100"),
    ({"calldate": CALLED - timedelta(hours=73)}, TOO_OLD),
    ({"calldate": CALLED + timedelta(hours=2)}, TOO_OLD),
]


@pytest.mark.parametrize(("values", "expected"), DROPPED)
def test_what_google_would_drop_of_this_very_request_is_said(values: dict[str, Value], expected: str) -> None:
    [note] = lint_request(rendered({**GOOD, **values}), CALLED)
    assert str(note).startswith(expected)


def test_a_name_that_only_shows_for_a_call_is_measured_too() -> None:
    request = rendered({**GOOD, "disposition": "NO ANSWER"}, parameters=events(event("<<disposition>>")))
    assert [str(note) for note in lint_request(request, CALLED)] == [
        f"{EVENT}.name: 'NO ANSWER' is not a name that GA4 accepts: letters, digits and _, beginning with a letter"
    ]
    reserved = rendered({**GOOD, "disposition": "session_start"}, parameters=events(event("<<disposition>>")))
    assert [note.path for note in lint_request(reserved, CALLED)] == [f"{EVENT}.name"]


def test_the_answer_of_the_validation_twin_is_read() -> None:
    said = b'{"validationMessages":[{"fieldPath":"events","description":"Too many.","validationCode":"X"}]}'
    assert twin_messages(said) == ["events: Too many."]
    assert twin_messages(b'{"validationMessages": []}') == []
    assert twin_messages(b"") is None
    assert "/debug/mp/collect?" in twin(rendered(GOOD)).url


def test_a_hash_of_a_number_is_not_personal_data() -> None:
    assert lint_ga4(ga4(parameters=events(event("e", Parameter("h", "sha256", "<<caller>>"))))) == []


def test_other_addresses_are_not_measured_by_the_rules_of_google() -> None:
    spec = WebhookSpec(RequestSpec(url="https://r.example/mp/collect", headers=(Field("X", "1"),)))
    assert lint_ga4(spec) == []


SECRET = re.compile(r"authorization|token|secret|password|api[-_]?key", re.IGNORECASE)


@pytest.mark.parametrize("item", gallery(), ids=lambda item: item.id)
def test_no_ready_made_webhook_has_a_secret_in_it(item: Item) -> None:
    """Where a key stands in an address or in a value, there is a blank for the user's own."""
    for ready in item.webhooks:
        request = ready.spec.request
        assert not [field.name for field in (*request.headers, *request.query) if SECRET.search(field.name)]
        assert not re.search(r"(?=[^/?&=]*[0-9])[A-Za-z0-9_-]{16,}", re.sub(r"<<.*?>>|\[\[.*?\]\]", "", request.url))
        assert request.tls_certificate == ""
    with pytest.raises(SpecError, match="secret_sealed"):
        load_item({"id": "x", "name": "x", "description": "", "webhooks": [], "secret_sealed": "x"})
