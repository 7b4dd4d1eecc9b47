"""Filters: does a webhook want this stage of this call? All conditions must hold.

A filter compares a parameter of the catalogue with a text. Numbers compare as numbers, times as times, booleans as
true and false, everything else letter by letter. A parameter without a value is like an empty text; it is neither
greater nor less than anything.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from pbxhub.calls.stages import Value
from pbxhub.webhooks import params
from pbxhub.webhooks.spec import FieldError, Filter, SpecError, WebhookSpec

Values = Mapping[str, Value]
Condition = Callable[[Value], bool]
Number = int | float | Decimal


@dataclass(frozen=True, slots=True)
class Matcher:
    """The filters of one webhook, compiled."""

    conditions: tuple[tuple[str, Condition], ...]

    def matches(self, values: Values) -> bool:
        for name, holds in self.conditions:
            value = values.get(name)
            if value is None:
                value = params.lookup(values, name)
            if not holds(value):
                return False
        return True


@dataclass(frozen=True, slots=True)
class Matched:
    """How many of the calls looked at a webhook would have taken."""

    matched: int
    of: int


def compile_filters(spec: WebhookSpec) -> Matcher:
    """The filters of a webhook, ready to be asked often. Raises SpecError for a filter that makes no sense."""
    errors: list[FieldError] = []
    conditions = []
    for index, item in enumerate(spec.filters):
        try:
            conditions.append(_compile(item))
        except _WrongError as wrong:
            errors.append(FieldError(f"filters[{index}].{wrong.field}", wrong.message))
    if errors:
        raise SpecError(errors)
    return Matcher(tuple(conditions))


def would_match(matcher: Matcher, calls: Iterable[Values]) -> Matched:
    """What the editor shows: how many of these stored calls the filters would have let through."""
    answers = [matcher.matches(values) for values in calls]
    return Matched(sum(answers), len(answers))


def missed_call() -> tuple[Filter, ...]:
    """Preset: nobody talked to the caller."""
    return (Filter("is_answered", "equals", "false"),)


def answered_call() -> tuple[Filter, ...]:
    """Preset: somebody talked to the caller."""
    return (Filter("is_answered", "equals", "true"),)


def longer_than(seconds: int) -> tuple[Filter, ...]:
    """Preset: talk of more than that many seconds."""
    return (Filter("billsec", "greater", str(seconds)),)


class _WrongError(Exception):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def _compile(item: Filter) -> tuple[str, Condition]:
    name = params.canonical(item.parameter)
    if name is None:
        raise _WrongError("parameter", params.unknown(item.parameter))
    if item.operator in ("in", "not_in"):
        return name, _among(item)
    if item.values:
        raise _WrongError("values", f"belong to the operators in and not_in; give one value to {item.operator}")
    if item.operator in _ORDERS:
        return name, _ordered(item)
    if item.operator in ("contains", "starts_with") and not item.value:
        raise _WrongError("value", "is empty and would match every call; give a text")
    return name, _TEXTUAL[item.operator](item.value)


def _among(item: Filter) -> Condition:
    if not item.values:
        raise _WrongError("values", "is empty; give at least one value")
    if item.value:
        raise _WrongError("value", f"is not used by the operator {item.operator}; put it into values")
    same = [_equals(text) for text in item.values]
    texts = frozenset(item.values)
    if item.operator == "in":
        return lambda value: (value in texts) if type(value) is str else any(test(value) for test in same)
    return lambda value: (value not in texts) if type(value) is str else not any(test(value) for test in same)


def _equals(text: str) -> Condition:
    number = _number(text)

    def holds(value: Value) -> bool:
        if type(value) is str:
            return value == text
        if type(value) is int or type(value) is float:
            return value == number
        return as_text(value) == text

    return holds


def _not_equals(text: str) -> Condition:
    same = _equals(text)
    return lambda value: not same(value)


def _contains(text: str) -> Condition:
    return lambda value: text in as_text(value)


def _starts_with(text: str) -> Condition:
    return lambda value: as_text(value).startswith(text)


_TEXTUAL: dict[str, Callable[[str], Condition]] = {
    "equals": _equals,
    "not_equals": _not_equals,
    "contains": _contains,
    "starts_with": _starts_with,
}

_ORDERS: dict[str, Callable[[Number | datetime, Number | datetime], bool]] = {
    "greater": lambda a, b: a > b,  # type: ignore[operator]
    "less": lambda a, b: a < b,  # type: ignore[operator]
    "at_least": lambda a, b: a >= b,  # type: ignore[operator]
    "at_most": lambda a, b: a <= b,  # type: ignore[operator]
}


def _ordered(item: Filter) -> Condition:
    compare = _ORDERS[item.operator]
    bound = _number(item.value)
    if bound is None:
        return _ordered_time(item)

    def holds(value: Value) -> bool:
        if type(value) is int:
            return compare(value, bound)
        number = _number(value)
        return number is not None and compare(number, bound)

    return holds


def _ordered_time(item: Filter) -> Condition:
    compare = _ORDERS[item.operator]
    bound = _time(item.value)
    if bound is None:
        raise _WrongError("value", f"is {item.value!r}; give a number, or a time like 2026-05-01T09:00:00+03:00")

    def holds(value: Value) -> bool:
        moment = _time(value)
        return moment is not None and compare(moment, bound)

    return holds


def _number(value: Value) -> Number | None:
    """The number a value is or spells; None for everything else, and for what is not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, int):
        return value
    try:
        number = Decimal(value if isinstance(value, str) else repr(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _time(value: Value) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def as_text(value: Value) -> str:
    """How a value reads in a condition: booleans as true and false, times as ISO 8601, nothing as an empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def presets() -> Sequence[tuple[str, tuple[Filter, ...]]]:
    """Name and filters of each preset the editor offers; the seconds of the last one are the user's to change."""
    return (("missed", missed_call()), ("answered", answered_call()), ("longer_than", longer_than(60)))
