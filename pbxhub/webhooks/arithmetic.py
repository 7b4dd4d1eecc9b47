"""Numbers in placeholders, exact: <<billsec|mul:1000>>, <<duration|div:60|round:1>>, <<billsec|mmss>>."""

import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation, localcontext
from typing import Any

from pbxhub.translatable import say
from pbxhub.webhooks.filter_kinds import Apply, FilterError, FilterKind, short, skipping_empty
from pbxhub.webhooks.rendering import Context, Fragment, RenderError

NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_FACTOR = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)
_PLACES = re.compile(r"[0-9]", re.ASCII)
_LONGEST_NUMBER = 100
_QUOTIENT_DIGITS = 20  # after the point, of a division that never ends


def number_of(value: Any, context: Context) -> str:
    """The value as a JSON number. Raises RenderError when it is not a number."""
    text = context.text(value).strip()
    if not NUMBER.fullmatch(text) or isinstance(value, bool):
        raise RenderError(say("%(short)s is not a number; a number has no + and no leading zeros", short=short(text)))
    if len(text) > _LONGEST_NUMBER and not isinstance(value, int):
        raise RenderError(say("the number %(short)s is too long", short=short(text)))
    return text


def _calculation(name: str, calculate: Callable[[Decimal, Decimal], Decimal]) -> FilterKind:
    """A filter that calculates with the value and its argument."""

    def build(argument: str) -> Apply:
        if not _FACTOR.fullmatch(argument):
            raise FilterError(
                say("%(name)s:%(argument)s is not a number; write it like %(name)s:1000", name=name, argument=argument)
            )
        operand = Decimal(argument)
        if name == "div" and not operand:
            raise FilterError(say("div:%(argument)s divides by zero; give another number", argument=argument))
        return skipping_empty(lambda value, context: _written(_decimal(number_of(value, context)), operand, calculate))

    return FilterKind("1000", build)


def _written(number: Decimal, operand: Decimal, calculate: Callable[[Decimal, Decimal], Decimal]) -> Fragment:
    with localcontext() as exact:
        exact.prec = 3 * _LONGEST_NUMBER
        result = calculate(number, operand)
        whole = result == result.to_integral_value()
        return Fragment(f"{result.to_integral_value() if whole else result.normalize():f}")


def _quotient(number: Decimal, divisor: Decimal) -> Decimal:
    return (number / divisor).quantize(Decimal(1).scaleb(-_QUOTIENT_DIGITS), ROUND_HALF_UP)


def _round(argument: str) -> Apply:
    if not _PLACES.fullmatch(argument):
        raise FilterError(say("round:%(argument)s is not a number of digits; write it like round:2", argument=argument))
    step = Decimal(1).scaleb(-int(argument))
    return skipping_empty(lambda value, context: _written(_decimal(number_of(value, context)), step, _rounded))


def _rounded(number: Decimal, step: Decimal) -> Decimal:
    return number.quantize(step, ROUND_HALF_UP)


def _decimal(number: str) -> Decimal:
    """The number as a Decimal. Raises RenderError when it has more than 100 digits before or after the point: a number
    like 1e999999999 is short but would fill the memory when written out."""
    try:
        value = Decimal(number)
    except InvalidOperation:  # an exponent beyond Decimal's range
        raise RenderError(say("the number %(short)s is too large or too small", short=short(number))) from None
    _sign, digits, exponent = value.as_tuple()
    places = int(exponent)
    if value and (len(digits) + places > _LONGEST_NUMBER or -places > _LONGEST_NUMBER):
        raise RenderError(say("the number %(short)s is too large or too small", short=short(number)))
    return value if value else Decimal(0)


def _mmss(value: Any, context: Context) -> str:
    number = number_of(value, context)
    seconds = _decimal(number)
    if not 0 <= seconds <= 366 * 86400:
        raise RenderError(say("%(short)s is not a number of seconds that mmss can format", short=short(number)))
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"


OF_NUMBERS: dict[str, FilterKind] = {
    "mmss": FilterKind("", lambda _: skipping_empty(_mmss)),
    "mul": _calculation("mul", lambda number, factor: number * factor),
    "div": _calculation("div", _quotient),
    "add": _calculation("add", lambda number, summand: number + summand),
    "sub": _calculation("sub", lambda number, subtrahend: number - subtrahend),
    "round": FilterKind("2", _round),
}
