"""A user sets up a webhook, a call happens: exactly this request goes out."""

import math
from collections import Counter
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from pbxhub.webhooks.check import check_spec, problems
from pbxhub.webhooks.gallery import fill, find, gallery
from pbxhub.webhooks.rendered_request import NotSent, Request
from pbxhub.webhooks.request import compile_request
from pbxhub.webhooks.spec import Parameter, RequestSpec, WebhookSpec
from tests.support.golden_cases import GOLDEN, Case, all_cases

CASES = all_cases()


def spec_of(case: Case) -> WebhookSpec:
    if not case.gallery:
        return check_spec({"request": dict(case.request)})
    item_id, _, number = case.gallery.partition(" ")
    item = find(item_id)
    assert item is not None
    return fill(item, {ask.name: ask.example for ask in item.ask})[int(number or 0)].spec


def as_text(result: Request | NotSent) -> str:
    if isinstance(result, NotSent):
        return f"NOT SENT {result.code}\n{result.sentence}"
    head = [f"{result.method} {result.url}", *(f"{name}: {value}" for name, value in result.headers)]
    body = result.body_with_notes().decode()
    if "multipart/" in "".join(head):
        body = body.replace("\r\n", "\n").strip("\n")
    return "\n".join(head) + (f"\n\n{body}" if body else "")


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=[f"{file}: {case.name}" for file, case in CASES])
def test_exactly_this_request_goes_out(case: Case) -> None:
    spec = spec_of(case)
    assert problems(spec) == []
    assert as_text(compile_request(spec).render(case.values, ZoneInfo(case.zone), case.country)) == case.expected


def test_the_table_has_every_format_method_and_gallery_item() -> None:
    specs = [spec_of(case) for _, case in CASES]
    assert len(CASES) >= 120
    assert {name for name, count in Counter(spec.request.format for spec in specs).items() if count >= 3} == {
        "json", "form", "multipart", "json-rpc", "raw", "xml", "none"
    }  # fmt: skip
    assert {spec.request.method for spec in specs} == {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"}
    covered = {case.gallery for _, case in CASES if case.gallery}
    driven = {path.stem for path in (GOLDEN / "crm").iterdir()}  # by calls: tests/test_open_a_card_in_the_crm.py
    every = {f"{item.id} {index}": item.id for item in gallery() for index in range(len(item.webhooks))}
    assert covered <= every.keys()
    assert not [
        one for one, item in every.items() if one not in covered and not any(name.startswith(item) for name in driven)
    ]


def test_what_is_not_finite_is_nothing() -> None:
    parameters = tuple(
        Parameter(name, kind, value)
        for name, kind, value in (
            ("a", "number", "<<custom.n>>"), ("b", "text", "<<custom.n|mul:2>>"),
            ("c", "text", "<<custom.n|default:0>>"),
        )
    )  # fmt: skip
    compiled = compile_request(WebhookSpec(RequestSpec(url="https://r.example/", parameters=parameters)))  # type: ignore[arg-type]
    for value in (math.nan, math.inf, -math.inf):
        request = compiled.render({"custom.n": value})
        assert isinstance(request, Request)
        assert request.body == b'{"a":null,"b":null,"c":"0"}'


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("value", ["<<calldate>>", "<<calldate|unix>>", "<<calldate|date:%Y>>"])
@pytest.mark.parametrize("moment", [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)])
def test_a_time_at_the_end_of_the_calendar_is_written_or_refused(zone: str, value: str, moment: datetime) -> None:
    spec = WebhookSpec(RequestSpec(url="https://r.example/", parameters=(Parameter("t", value=value),)))
    result = compile_request(spec).render({"calldate": moment}, ZoneInfo(zone))
    assert isinstance(result, Request) or "outside the years" in result.sentence
    assert isinstance(result, Request) or "unix" not in value
