"""One condition of a filter: a parameter compared with a text.

Numbers are compared as numbers, times as times, booleans as true and false, everything else character by character. A
text that does not fit the parameter's type is refused when the webhook is saved. A time without a zone is in the
project's time zone, and so are days and hours. A parameter without a value equals an empty text and is neither greater
nor less than anything, and at no time of the day.
"""

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation

import re2

from pbxhub.calls.stages import Value
from pbxhub.translatable import Sentence, say
from pbxhub.webhooks import params
from pbxhub.webhooks.dates import iso
from pbxhub.webhooks.spec import Filter
from pbxhub.webhooks.working_time import DAYS, HOLIDAY, Calendar, minute_of, read_hours

LONGEST_PATTERN = 1000  # characters
_MOST_MEMORY = 1 << 20  # bytes for the program of one pattern; .{1000}{1000} would fill any
Condition = Callable[[Value], bool]
Number = int | float | Decimal


WITH_VALUES = ("in", "not_in", "on_days")
WITHOUT_VALUE = ("working_time", "not_working_time")
OF_TIMES = ("on_days", "between", *WITHOUT_VALUE)
_NEEDS_TEXT = ("contains", "starts_with", "matches", "not_matches")


class WrongConditionError(Exception):
    """field: of the condition, to which the message belongs."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def compile_condition(item: Filter, calendar: Calendar) -> tuple[str, Condition]:
    """The canonical name of its parameter, and the question for its value. Raises WrongConditionError."""
    name = params.canonical(item.parameter)
    if name is None:
        raise WrongConditionError("parameter", params.unknown(item.parameter))
    _check_values(item)
    if item.operator in OF_TIMES:
        return name, _of_time(item, name, calendar)
    if item.operator in ("matches", "not_matches"):
        return name, _matches(item, calendar.zone)
    _check_type(item, name, calendar.zone)
    if item.operator in ("in", "not_in"):
        return name, _among(item, calendar.zone)
    if item.operator in _ORDERS:
        return name, _ordered(item, calendar.zone)
    return name, _TEXTUAL[item.operator](item.value, calendar.zone)


def _check_values(item: Filter) -> None:
    if item.filters:
        raise WrongConditionError(
            "filters", say("belong to the operators any and all; %(operator)s has none", operator=item.operator)
        )
    if item.operator in WITH_VALUES:
        _check_list(item)
    elif item.values:
        raise WrongConditionError(
            "values",
            say(
                "belong to the operators %(known)s; give one value to %(operator)s",
                known=", ".join(WITH_VALUES),
                operator=item.operator,
            ),
        )
    elif item.operator in WITHOUT_VALUE and item.value:
        raise WrongConditionError("value", say("is not used by the operator %(operator)s", operator=item.operator))
    elif item.operator in _NEEDS_TEXT and not item.value:
        raise WrongConditionError("value", say("is empty and would match every call; give a text"))


def _check_list(item: Filter) -> None:
    if not item.values:
        raise WrongConditionError("values", say("is empty; give at least one value"))
    if item.value:
        raise WrongConditionError(
            "value", say("is not used by the operator %(operator)s; put it into values", operator=item.operator)
        )


def _check_type(item: Filter, name: str, zone: tzinfo) -> None:
    """Refuses a value that the parameter's type cannot have. An empty value means that the parameter has none."""
    kind = params.type_of(name)
    if kind == "bool" and item.operator in _ORDERS:
        raise WrongConditionError(
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
            raise WrongConditionError(
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


def _matches(item: Filter, zone: tzinfo) -> Condition:
    found = finder(item.value)
    if isinstance(found, Sentence):
        raise WrongConditionError("value", found)
    wanted = item.operator == "matches"
    return lambda value: found(as_text(value, zone)) is wanted


def _of_time(item: Filter, name: str, calendar: Calendar) -> Condition:
    if params.type_of(name) not in ("datetime", "any"):
        why = say("%(name)s is not a time; choose one, such as calldate", name=name)
        raise WrongConditionError("parameter", why)
    holds = _time_question(item, calendar)

    def asked(value: Value) -> bool:
        moment = _time(value, calendar.zone)
        try:
            return moment is not None and holds(moment)
        except OverflowError:  # no year 10000: 9999-12-31T23:59:59Z has no day in Kyiv
            return False

    return asked


def _time_question(item: Filter, calendar: Calendar) -> Callable[[datetime], bool]:
    if item.operator == "on_days":
        return _on_days(item, calendar)
    if item.operator == "between":
        hours = read_hours(item.value)
        if hours is None:
            raise WrongConditionError("value", say("is %(value)s; give hours like 09:00-18:00", value=repr(item.value)))
        return lambda moment: hours.include(minute_of(calendar.local(moment)))
    wanted = item.operator == "working_time"
    return lambda moment: calendar.works_at(moment) is wanted


def _on_days(item: Filter, calendar: Calendar) -> Callable[[datetime], bool]:
    known = (*DAYS, HOLIDAY)
    if unknown := [text for text in item.values if text not in known]:
        why = say("is %(data)s; use one of %(known)s", data=repr(unknown[0]), known=", ".join(known))
        raise WrongConditionError("values", why)
    days = frozenset(DAYS.index(text) for text in item.values if text != HOLIDAY)
    holidays = HOLIDAY in item.values

    def holds(moment: datetime) -> bool:
        day = calendar.local(moment).date()
        return day.weekday() in days or (holidays and calendar.is_holiday(day))

    return holds


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
        raise WrongConditionError(
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


def finder(pattern: str) -> Callable[[str], bool] | Sentence:
    """Whether a text has the pattern somewhere; or what is wrong with the pattern. RE2 takes a time that is linear to
    the text, whatever the pattern; it has no look-around and no back-references, which cannot be run so."""
    if len(pattern) > LONGEST_PATTERN:
        return say("has %(count)s characters; give at most %(most)s", count=len(pattern), most=LONGEST_PATTERN)
    options = re2.Options()
    options.log_errors, options.max_mem = False, _MOST_MEMORY
    try:
        compiled = re2.compile(pattern, options)  # type: ignore[no-untyped-call]
    except (re2.error, UnicodeEncodeError) as error:
        return say("is not a regular expression of RE2: %(why)s", why=_why(error))
    return lambda text: compiled.search(text.encode("utf-8", "replace")) is not None


def _why(error: Exception) -> str:
    why = error.args[0] if error.args else ""
    return why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
