"""Filters: whether a webhook is sent for this stage of this call. All conditions must hold.

A filter compares a parameter with a text. Numbers are compared as numbers, times as times, booleans as true and false,
everything else character by character. A text that does not fit the parameter's type is refused when the webhook is
saved. A time without a zone is in the project's time zone. A parameter without a value equals an empty text and is
neither greater nor less than anything.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation

from pbxhub.calls.stages import Value
from pbxhub.translatable import say
from pbxhub.webhooks import params
from pbxhub.webhooks.dates import iso
from pbxhub.webhooks.spec import FieldError, Filter, SpecError, WebhookSpec

Values = Mapping[str, Value]
Condition = Callable[[Value], bool]
Number = int | float | Decimal
MOST_CONDITIONS = 1000


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
    """How many of the examined calls match a webhook."""

    matched: int
    of: int


def compile_filters(spec: WebhookSpec, zone: tzinfo = UTC) -> Matcher:
    """Compiles the filters of a webhook. zone: of the project.

    Raises SpecError for an invalid filter.
    """
    errors: list[FieldError] = []
    conditions = []
    if (count := len(spec.filters)) > MOST_CONDITIONS:
        message = say("has %(count)s; give at most %(most)s", count=count, most=MOST_CONDITIONS)
        raise SpecError([FieldError("filters", message)])
    for index, item in enumerate(spec.filters):
        try:
            conditions.append(_compile(item, zone))
        except _WrongError as wrong:
            errors.append(FieldError(f"filters[{index}].{wrong.field}", wrong.message))
    if errors:
        raise SpecError(errors)
    return Matcher(tuple(conditions))


def would_match(matcher: Matcher, calls: Iterable[Values]) -> Matched:
    """For the editor: how many of these stored calls pass the filters."""
    answers = [matcher.matches(values) for values in calls]
    return Matched(sum(answers), len(answers))


def missed_call() -> tuple[Filter, ...]:
    """Preset: the caller reached nobody."""
    return (Filter("is_answered", "equals", "false"),)


def answered_call() -> tuple[Filter, ...]:
    """Preset: the call was answered."""
    return (Filter("is_answered", "equals", "true"),)


def longer_than(seconds: int) -> tuple[Filter, ...]:
    """Preset: a conversation longer than this many seconds."""
    return (Filter("billsec", "greater", str(seconds)),)


class _WrongError(Exception):
    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def _compile(item: Filter, zone: tzinfo) -> tuple[str, Condition]:
    name = params.canonical(item.parameter)
    if name is None:
        raise _WrongError("parameter", params.unknown(item.parameter))
    _check_values(item)
    _check_type(item, name, zone)
    if item.operator in ("in", "not_in"):
        return name, _among(item, zone)
    if item.operator in _ORDERS:
        return name, _ordered(item, zone)
    return name, _TEXTUAL[item.operator](item.value, zone)


def _check_values(item: Filter) -> None:
    if item.operator in ("in", "not_in"):
        if not item.values:
            raise _WrongError("values", say("is empty; give at least one value"))
        if item.value:
            raise _WrongError(
                "value", say("is not used by the operator %(operator)s; put it into values", operator=item.operator)
            )
    elif item.values:
        raise _WrongError(
            "values",
            say("belong to the operators in and not_in; give one value to %(operator)s", operator=item.operator),
        )
    elif item.operator in ("contains", "starts_with") and not item.value:
        raise _WrongError("value", say("is empty and would match every call; give a text"))


def _check_type(item: Filter, name: str, zone: tzinfo) -> None:
    """Refuses a value that the parameter's type cannot have. An empty value means that the parameter has none."""
    kind = params.type_of(name)
    if kind == "bool" and item.operator in _ORDERS:
        raise _WrongError(
            "operator",
            say(
                "%(operator)s compares numbers and times, but %(name)s is true or false",
                operator=item.operator,
                name=name,
            ),
        )
    if item.operator in ("contains", "starts_with"):
        return
    for text in item.values or (item.value,):
        if text == "" and item.operator not in _ORDERS:
            continue
        if message := _type_error(text, name, kind, zone):
            raise _WrongError(
                "values" if item.values else "value",
                say("is %(given)s; %(message)s", given=repr(text), message=message),
            )


def _type_error(text: str, name: str, kind: str, zone: tzinfo) -> str:
    if kind in ("int", "float") and _number(text) is None:
        return say("%(name)s is a number; give a number like 60", name=name)
    if kind == "bool" and text not in ("true", "false"):
        return say("%(name)s must be true or false", name=name)
    if kind == "datetime" and _time(text, zone) is None:
        return say("%(name)s is a time; give a time like 2026-05-01T09:00:00", name=name)
    return ""


def _among(item: Filter, zone: tzinfo) -> Condition:
    same = [_equals(text, zone) for text in item.values]
    texts = frozenset(item.values)
    if item.operator == "in":
        return lambda value: (value in texts) if type(value) is str else any(test(value) for test in same)
    return lambda value: (value not in texts) if type(value) is str else not any(test(value) for test in same)


def _equals(text: str, zone: tzinfo) -> Condition:
    number, moment = _number(text), _time(text, zone)

    def holds(value: Value) -> bool:
        if type(value) is str:
            return value == text
        if type(value) is int:
            return value == number
        if type(value) is float:
            return number is not None and _number(value) == number
        if isinstance(value, datetime):
            return _time(value, UTC) == moment
        return as_text(value) == text

    return holds


def _not_equals(text: str, zone: tzinfo) -> Condition:
    same = _equals(text, zone)
    return lambda value: not same(value)


def _contains(text: str, zone: tzinfo) -> Condition:
    return lambda value: text in as_text(value, zone)


def _starts_with(text: str, zone: tzinfo) -> Condition:
    return lambda value: as_text(value, zone).startswith(text)


_TEXTUAL: dict[str, Callable[[str, tzinfo], Condition]] = {
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


def _ordered(item: Filter, zone: tzinfo) -> Condition:
    compare = _ORDERS[item.operator]
    bound = _number(item.value)
    if bound is None:
        return _ordered_time(item, zone)

    def holds(value: Value) -> bool:
        if type(value) is int:
            return compare(value, bound)
        number = _number(value)
        return number is not None and compare(number, bound)

    return holds


def _ordered_time(item: Filter, zone: tzinfo) -> Condition:
    compare = _ORDERS[item.operator]
    bound = _time(item.value, zone)
    if bound is None:
        raise _WrongError(
            "value", say("is %(value)s; give a number, or a time like 2026-05-01T09:00:00", value=repr(item.value))
        )

    def holds(value: Value) -> bool:
        moment = _time(value, UTC)
        return moment is not None and compare(moment, bound)

    return holds


def _number(value: Value) -> Number | None:
    """The value as a number; None when it is not a number or not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, int):
        return value
    try:
        number = Decimal(value if isinstance(value, str) else repr(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _time(value: Value, zone: tzinfo) -> datetime | None:
    """The value as a time; None when it is not one. zone: for a time without a zone."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=zone)


def as_text(value: Value, zone: tzinfo = UTC) -> str:
    """The value as text for a condition: booleans as true and false, times in ISO 8601, None as an empty text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return iso(value, zone) if isinstance(value, datetime) else str(value)


def presets() -> Sequence[tuple[str, tuple[Filter, ...]]]:
    """Name and filters of each preset in the editor. The user may change the seconds of the last one."""
    return (("missed", missed_call()), ("answered", answered_call()), ("longer_than", longer_than(60)))
