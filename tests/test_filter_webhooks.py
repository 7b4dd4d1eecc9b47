"""A user says which calls a webhook wants."""

import time
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from pbxhub.webhooks.catalogue import STAGES
from pbxhub.webhooks.matching import PRESETS, Matched, compile_filters, would_match
from pbxhub.webhooks.spec import Filter, SpecError, WebhookSpec, dump_spec, load_spec
from pbxhub.webhooks.working_time import Calendar, calendar
from tests.support.golden_cases import call_values

CALL = call_values(
    {"forward_kind": "ring", "department": "Sales", "first_call": True, "custom": {"city": "Köln", "n": 2}}
)


def matches(*filters: Filter, values: Any = CALL) -> bool:
    return compile_filters(WebhookSpec(filters=filters)).matches(values)


def test_no_filter_wants_every_call() -> None:
    assert matches()
    assert matches(values={})


@pytest.mark.parametrize(
    ("name", "operator", "value", "expected"),
    [
        ("direction", "equals", "incoming", True),
        ("direction", "not_equals", "incoming", False),
        ("dst", "equals", "74951234567", True),
        ("called_did", "equals", "74951234567", True),
        ("dst", "equals", "7495123456", False),
        ("extension", "equals", "101", True),
        ("extension", "equals", "0101", False),
        ("department", "equals", "sales", False),
        ("forward_kind", "equals", "ring", True),
        ("caller", "starts_with", "+7916", True),
        ("caller", "starts_with", "7916", False),
        ("caller", "contains", "1234", True),
        ("caller", "contains", "9999", False),
        ("billsec", "equals", "57", True),
        ("billsec", "equals", "57.0", True),
        ("billsec", "not_equals", "58", True),
        ("billsec", "greater", "56", True),
        ("billsec", "greater", "57", False),
        ("billsec", "at_least", "57", True),
        ("billsec", "less", "57", False),
        ("billsec", "at_most", "57", True),
        ("billsec", "greater", "9", True),
        ("first_call", "equals", "true", True),
        ("is_missed", "equals", "false", True),
        ("custom.city", "equals", "Köln", True),
        ("custom.n", "at_least", "1.5", True),
        ("queue", "equals", "", True),
        ("queue", "not_equals", "", False),
        ("queue", "not_equals", "sales", True),
        ("queue", "contains", "sales", False),
        ("queue", "greater", "0", False),
        ("queue", "less", "0", False),
        ("caller_name", "greater", "5", False),
        ("calldate", "greater", "2026-05-14T10:00:00+00:00", True),
        ("calldate", "less", "2026-05-14T12:30:00+02:00", False),
        ("calldate", "at_least", "2026-05-15", False),
    ],
)
def test_one_condition(name: str, operator: Any, value: str, expected: bool) -> None:
    assert matches(Filter(name, operator, value)) is expected


def test_a_list_of_values() -> None:
    assert matches(Filter("disposition", "in", values=("BUSY", "ANSWERED")))
    assert not matches(Filter("disposition", "in", values=("BUSY", "answered")))
    assert matches(Filter("billsec", "in", values=("5", "57")))
    assert matches(Filter("caller", "not_in", values=("+1", "+2")))
    assert not matches(Filter("billsec", "not_in", values=("57",)))
    assert matches(Filter("queue", "not_in", values=("sales",)))


def test_all_conditions_must_hold() -> None:
    answered, long = Filter("is_answered", "equals", "true"), Filter("billsec", "greater", "60")
    assert matches(answered)
    assert not matches(answered, long)


def test_presets_of_the_editor() -> None:
    missed = call_values({"is_answered": False, "is_missed": True, "billsec": 0, "disposition": "NO ANSWER"})
    unanswered = missed | {"direction": "outgoing", "is_missed": False}
    long = call_values({"billsec": 61})
    matched = {
        one.name: [matches(*one.filters, values=values) for values in (CALL, missed, unanswered, long)]
        for one in PRESETS
    }
    assert matched == {
        "missed": [False, True, False, False],
        "unanswered": [False, True, True, False],
        "answered": [True, False, False, True],
        "longer_than": [False, False, False, True],
        "outside_working_time": [False, False, False, False],
    }


def test_the_editor_offers_a_preset_where_it_makes_a_difference() -> None:
    """A missed call is an incoming one; before the end of a call nobody knows whether it will be answered."""
    offered = {stage: [one.name for one in PRESETS if stage in one.stages()] for stage in STAGES}
    assert offered["incoming.before"] == ["outside_working_time"]
    assert offered["incoming.after"] == ["missed", "answered", "longer_than", "outside_working_time"]
    assert offered["outgoing.after"] == ["unanswered", "answered", "longer_than", "outside_working_time"]
    assert offered["internal.after"] == offered["outgoing.after"]
    assert offered["call.complete"] == ["missed", "unanswered", "answered", "longer_than", "outside_working_time"]
    assert offered["form.sent"] == []


def test_the_editor_shows_how_many_stored_calls_would_have_matched() -> None:
    calls = (call_values({"billsec": seconds}) for seconds in range(50))
    matcher = compile_filters(WebhookSpec(filters=(Filter("billsec", "at_least", "40"),)))
    assert would_match(matcher, calls) == Matched(10, 50)


def test_times_of_stored_calls_compare_as_times() -> None:
    stored = {"calldate": "2026-05-14T10:30:10+00:00"}
    assert matches(Filter("calldate", "equals", "2026-05-14T10:30:10+00:00"), values=stored)
    assert matches(Filter("calldate", "greater", "2026-05-14T11:00:00+02:00"), values=stored)
    moment = {"calldate": datetime(2026, 5, 14, 10, 30, 10, tzinfo=UTC)}
    assert matches(Filter("calldate", "at_most", "2026-05-14T10:30:10+00:00"), values=moment)


@pytest.mark.parametrize(
    ("operator", "value", "expected"),
    [
        ("at_least", "2026-05-14T13:30:10", True),
        ("at_least", "2026-05-14T13:30:11", False),
        ("less", "2026-05-14T13:30:11", True),
        ("equals", "2026-05-14T13:30:10", True),
        ("equals", "2026-05-14T10:30:10Z", True),
        ("not_equals", "2026-05-14T13:30:10", False),
        ("starts_with", "2026-05-14T13:", True),
        ("starts_with", "2026-05-14T10:", False),
    ],
)
def test_a_time_without_a_zone_is_one_of_the_project(operator: Any, value: str, expected: bool) -> None:
    spec = WebhookSpec(filters=(Filter("calldate", operator, value),))
    moment = {"calldate": datetime(2026, 5, 14, 10, 30, 10, tzinfo=UTC)}
    assert compile_filters(spec, Calendar(ZoneInfo("Europe/Kyiv"))).matches(moment) is expected


def test_a_fraction_equals_itself() -> None:
    assert matches(Filter("response_duration", "equals", "0.184"), values={"response_duration": 0.184})
    assert matches(Filter("response_duration", "in", values=("1", "0.1840")), values={"response_duration": 0.184})


def test_a_value_of_call_data_that_is_not_a_number_never_raises() -> None:
    for value in ("", "x", "NaN", "Infinity", "1" * 5000, True, None, [1], {"a": 1}, float("nan")):
        assert matches(Filter("custom.x", "greater", "0"), values={"custom.x": value}) in (True, False)
        assert matches(Filter("custom.x", "equals", "0"), values={"custom.x": value}) is False


def test_a_thousand_webhooks_are_asked_within_a_few_milliseconds() -> None:
    """The benchmark measures it; here only a slip by an order of magnitude fails."""
    filters = [
        (Filter("disposition", "equals", "ANSWERED"), Filter("billsec", "greater", str(n % 90))) for n in range(1000)
    ]
    matchers = [compile_filters(WebhookSpec(filters=pair)) for pair in filters]
    started = time.process_time()
    assert sum(matcher.matches(CALL) for matcher in matchers) == 11 * 57 + 10
    assert time.process_time() - started < 0.1


ANSWERED, LONG = Filter("is_answered", "equals", "true"), Filter("billsec", "greater", "60")
MARKED = Filter("caller", "starts_with", "+7916")


def group(operator: Any, *filters: Filter) -> Filter:
    return Filter("", operator, filters=filters)


def test_of_a_group_any_condition_or_all_must_hold() -> None:
    assert matches(group("any", LONG, ANSWERED))
    assert not matches(group("any", LONG, Filter("queue", "equals", "sales")))
    assert not matches(group("all", ANSWERED, LONG))
    assert matches(group("all", ANSWERED, MARKED))


def test_a_group_counts_as_one_condition_beside_the_others() -> None:
    assert matches(ANSWERED, group("any", LONG, MARKED))
    assert not matches(LONG, group("any", ANSWERED, MARKED))


def test_a_group_may_stand_in_a_group() -> None:
    assert matches(group("any", LONG, group("all", ANSWERED, MARKED)))
    assert not matches(group("any", LONG, group("all", LONG, MARKED)))
    assert matches(group("all", ANSWERED, group("any", LONG, group("all", ANSWERED, MARKED))))


def test_groups_come_back_from_their_json() -> None:
    spec = WebhookSpec(filters=(group("any", LONG, group("all", ANSWERED, MARKED)),))
    assert load_spec(dump_spec(spec)) == spec


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        (group("any"), "filters[0].filters", "is empty"),
        (Filter("caller", "any", filters=(LONG,)), "filters[0].filters", "no parameter"),
        (Filter("caller", "equals", "1", filters=(LONG,)), "filters[0].filters", "any and all"),
        (group("any", group("all", group("any", group("all", LONG)))), "filters[0].filters[0].filters[0].filters[0]",
         "deeper than 3"),
        (group("any", LONG, Filter("billsec", "equals", "x")), "filters[0].filters[1].value", "is a number"),
        (Filter("caller", "matches", "(?=x)"), "filters[0].value", "RE2"),
        (Filter("caller", "matches", "x" * 1001), "filters[0].value", "at most 1000"),
        (Filter("caller", "matches", "(a{1000}){1000}"), "filters[0].value", "RE2"),
        (Filter("caller", "matches"), "filters[0].value", "is empty"),
        (Filter("caller", "working_time"), "filters[0].parameter", "is not a time"),
        (Filter("calldate", "working_time", "yes"), "filters[0].value", "is not used"),
        (Filter("calldate", "between", "9-18"), "filters[0].value", "09:00-18:00"),
        (Filter("calldate", "between", "09:00-09:00"), "filters[0].value", "09:00-18:00"),
        (Filter("calldate", "on_days"), "filters[0].values", "is empty"),
        (Filter("calldate", "on_days", values=("monday",)), "filters[0].values", "use one of mon"),
    ],
)  # fmt: skip
def test_a_wrong_condition_is_refused_at_its_field(given: Filter, path: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as refused:
        compile_filters(WebhookSpec(filters=(given,)))
    assert refused.value.errors[0].path.startswith(path)


def test_no_more_conditions_than_a_hundred_in_all_groups_together() -> None:
    many = group("any", *(LONG,) * 60)
    with pytest.raises(SpecError, match="at most 100"):
        compile_filters(WebhookSpec(filters=(many, many)))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("^[+]7916", True), ("4567$", True), ("916", True), ("^916", False), ("^[+]7(916|917)[0-9]{7}$", True)],
)
def test_a_regular_expression_is_looked_for_anywhere(pattern: str, expected: bool) -> None:
    assert matches(Filter("caller", "matches", pattern)) is expected
    assert matches(Filter("caller", "not_matches", pattern)) is not expected


def test_a_regular_expression_reads_every_value_as_text() -> None:
    assert matches(Filter("custom.city", "matches", "(?i)^köln$"))
    assert matches(Filter("billsec", "matches", "^5"))
    assert matches(Filter("queue", "not_matches", "."))
    assert not matches(Filter("custom.x", "matches", "a"), values={"custom.x": "\ud800"})


def test_no_regular_expression_keeps_the_hub_busy() -> None:
    began = time.process_time()
    assert not matches(Filter("custom.x", "matches", "^(a+)+$"), values={"custom.x": "a" * 50_000 + "!"})
    assert time.process_time() - began < 2


KYIV = ZoneInfo("Europe/Kyiv")
SHOP = calendar(KYIV, ["mon-fri 09:00-18:00", "sat 10:00-14:00", "sun 22:00-02:00"], ["12-25 Christmas", "2026-05-15"])


def is_working(text: str, operator: Any = "working_time", **more: Any) -> bool:
    moment = datetime.fromisoformat(text).replace(tzinfo=KYIV).astimezone(UTC)
    spec = WebhookSpec(filters=(Filter("calldate", operator, **more),))
    return compile_filters(spec, SHOP).matches({"calldate": moment})


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-05-14T08:59:59", False),
        ("2026-05-14T09:00:00", True),
        ("2026-05-14T17:59:59", True),
        ("2026-05-14T18:00:00", False),
        ("2026-05-15T12:00:00", False),  # a holiday of this year
        ("2027-05-14T12:00:00", True),
        ("2029-12-25T12:00:00", False),  # a holiday of every year, a Tuesday
        ("2026-05-16T13:00:00", True),
        ("2026-05-16T15:00:00", False),
        ("2026-05-17T23:00:00", True),  # over midnight, from Sunday
        ("2026-05-18T01:59:00", True),
        ("2026-05-18T02:00:00", False),
        ("2026-05-17T01:00:00", False),  # Saturday's hours do not go on
    ],
)
def test_working_hours_are_those_of_the_project_in_its_zone(moment: str, expected: bool) -> None:
    assert is_working(moment) is expected
    assert is_working(moment, "not_working_time") is not expected


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-05-18T23:00:00", False),  # Monday, the holiday
        ("2026-05-19T02:00:00", False),  # the same shift
        ("2026-05-25T23:00:00", True),
        ("2026-05-26T02:00:00", True),
        ("2026-06-02T02:00:00", True),  # a holiday, but the shift began on the day before
        ("2026-06-02T23:00:00", False),
    ],
)
def test_a_shift_over_midnight_is_off_if_it_began_on_a_holiday(moment: str, expected: bool) -> None:
    night = calendar(KYIV, ["mon,tue 22:00-06:00"], ["2026-05-18", "2026-06-02"])
    assert night.works_at(datetime.fromisoformat(moment).replace(tzinfo=KYIV)) is expected


def test_a_time_that_is_not_there_is_neither_inside_nor_outside() -> None:
    for operator in ("working_time", "not_working_time"):
        spec = WebhookSpec(filters=(Filter("answer_time", operator),))  # type: ignore[arg-type]
        assert not compile_filters(spec, SHOP).matches({})


@pytest.mark.parametrize(
    ("moment", "condition"),
    [
        (moment, condition)
        for moment in ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00")
        for condition in (
            Filter("custom.when", "between", "09:00-18:00"),
            Filter("custom.when", "on_days", values=("mon", "holiday")),
            Filter("custom.when", "working_time"),
            Filter("custom.when", "not_working_time"),
        )
    ],
)
def test_a_time_without_a_day_in_the_zone_of_the_project_is_at_no_time(moment: str, condition: Filter) -> None:
    assert not compile_filters(WebhookSpec(filters=(condition,)), SHOP).matches({"custom.when": moment})


def test_a_project_without_hours_works_at_any_time_but_on_holidays() -> None:
    spec = WebhookSpec(filters=(Filter("calldate", "working_time"),))
    works = compile_filters(spec, calendar(UTC, [], ["12-25"]))
    assert works.matches({"calldate": datetime(2026, 5, 17, 3, tzinfo=UTC)})
    assert not works.matches({"calldate": datetime(2026, 12, 25, 12, tzinfo=UTC)})


def test_days_and_hours_can_be_named_in_a_condition() -> None:
    assert is_working("2026-05-16T23:59:00", "on_days", values=("sat", "sun"))
    assert not is_working("2026-05-18T00:00:00", "on_days", values=("sat", "sun"))
    assert is_working("2026-05-15T12:00:00", "on_days", values=("holiday",))
    assert is_working("2026-05-15T03:00:00", "between", value="22:00-06:00")
    assert not is_working("2026-05-15T06:00:00", "between", value="22:00-06:00")
    assert is_working("2026-05-15T23:59:59", "between", value="18:00-24:00")


def test_the_change_of_the_clocks_moves_no_working_hour() -> None:
    spec = WebhookSpec(filters=(Filter("calldate", "between", "09:00-10:00"),))
    nine = compile_filters(spec, SHOP)
    assert nine.matches({"calldate": datetime(2026, 10, 23, 6, 30, tzinfo=UTC)})  # summer: UTC+3
    assert nine.matches({"calldate": datetime(2026, 10, 26, 7, 30, tzinfo=UTC)})  # winter: UTC+2
