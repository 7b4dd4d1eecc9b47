"""The filters in placeholders: <<calldate|unix>>, <<caller|digits|sha256>>, <<disposition|map:ANSWERED=4,*=6>>.

An empty value stays empty, except through default, map and json.
"""

import hashlib
import html
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation, localcontext
from typing import Any

from pbxhub.translatable import say
from pbxhub.webhooks import dates
from pbxhub.webhooks.phones import spell
from pbxhub.webhooks.rendering import Context, Fragment, RenderError, to_bytes

Apply = Callable[[Any, Context], Any]
NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_FACTOR = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)
_NOT_DIGITS = re.compile(r"[^0-9]+")
_LONGEST_NUMBER = 100

HASHES: dict[str, Callable[[bytes], str]] = {
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "crc32": lambda data: f"{zlib.crc32(data):08x}",
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).hexdigest(),
    "sha256": lambda data: hashlib.sha256(data).hexdigest(),
}
"""Lower-case hex; crc32 is unsigned and has eight digits."""


class FilterError(Exception):
    """The filter does not exist or has a wrong argument."""


@dataclass(frozen=True, slots=True)
class FilterKind:
    """argument: an example of what follows the colon, for messages; "" when the filter has no argument."""

    argument: str
    build: Callable[[str], Apply]


def build(name: str, argument: str | None) -> Apply:
    """The function of one filter. Raises FilterError, which says what is wrong."""
    kind = FILTERS.get(name)
    if kind is None:
        raise FilterError(
            say(
                "%(value)s is not a filter; the filters are %(known)s",
                value=name or say("an empty filter"),
                known=", ".join(FILTERS),
            )
        )
    if argument is None and kind.argument:
        raise FilterError(
            say(
                "the filter %(name)s needs an argument: %(name)s:%(argument)s",
                name=name,
                argument=kind.argument,
            )
        )
    if argument is not None and not kind.argument:
        raise FilterError(say("the filter %(name)s has no argument", name=name))
    return kind.build(argument or "")


def _skipping_empty(apply: Apply) -> Apply:
    return lambda value, context: value if value is None or value == "" else apply(value, context)


def _on_text(change: Callable[[str], Any]) -> FilterKind:
    apply = _skipping_empty(lambda value, context: change(context.text(value)))
    return FilterKind("", lambda _: apply)


def _on_time(write: dates.Write) -> FilterKind:
    apply = _skipping_empty(lambda value, context: write(_moment(value), context.zone))
    return FilterKind("", lambda _: apply)


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise RenderError(
                say("%(short)s is not a time; a date filter needs one, in ISO 8601", short=_short(value))
            ) from None
    if not isinstance(value, datetime):
        raise RenderError(say("%(short)s is not a time; a date filter needs one", short=_short(value)))
    return value


def _date(argument: str) -> Apply:
    if message := dates.pattern_error(argument):
        raise FilterError(message)
    write = dates.pattern(argument)
    return _skipping_empty(lambda value, context: write(_moment(value), context.zone))


def _default(argument: str) -> Apply:
    return lambda value, context: argument if value is None or value == "" else value


def _map(argument: str) -> Apply:
    pairs = [pair.partition("=") for pair in argument.split(",")]
    if not all(equals and key.strip() for key, equals, _ in pairs):
        raise FilterError(
            say("map:%(argument)s is not a list of pairs; write it like map:ANSWERED=4,BUSY=7,*=6", argument=argument)
        )
    table = {key.strip(): _literal(target.strip()) for key, _, target in pairs}
    return lambda value, context: table.get(text := context.text(value), table.get("*", value if text else None))


def _literal(text: str) -> Any:
    """A target of map: a number or boolean if it is one in JSON, otherwise a text."""
    if text in ("true", "false"):
        return text == "true"
    return Fragment(text) if NUMBER.fullmatch(text) else text


def _mul(argument: str) -> Apply:
    if not _FACTOR.fullmatch(argument):
        raise FilterError(say("mul:%(argument)s is not a number; write it like mul:1000", argument=argument))
    factor = Decimal(argument)
    return _skipping_empty(lambda value, context: _product(number_of(value, context), factor))


def _product(number: str, factor: Decimal) -> Fragment:
    exact_number = _decimal(number)
    with localcontext() as exact:
        exact.prec = 3 * _LONGEST_NUMBER
        product = exact_number * factor
        whole = product == product.to_integral_value()
        return Fragment(f"{product.to_integral_value() if whole else product.normalize():f}")


def number_of(value: Any, context: Context) -> str:
    """The value as a JSON number. Raises RenderError when it is not a number."""
    text = context.text(value).strip()
    if not NUMBER.fullmatch(text) or isinstance(value, bool):
        raise RenderError(say("%(short)s is not a number; a number has no + and no leading zeros", short=_short(text)))
    if len(text) > _LONGEST_NUMBER and not isinstance(value, int):
        raise RenderError(say("the number %(short)s is too long", short=_short(text)))
    return text


def _decimal(number: str) -> Decimal:
    """The number as a Decimal. Raises RenderError when it has more than 100 digits before or after the point: a number
    like 1e999999999 is short but would fill the memory when written out."""
    try:
        value = Decimal(number)
    except InvalidOperation:  # an exponent beyond Decimal's range
        raise RenderError(say("the number %(short)s is too large or too small", short=_short(number))) from None
    _sign, digits, exponent = value.as_tuple()
    places = int(exponent)
    if value and (len(digits) + places > _LONGEST_NUMBER or -places > _LONGEST_NUMBER):
        raise RenderError(say("the number %(short)s is too large or too small", short=_short(number)))
    return value if value else Decimal(0)


def _mmss(value: Any, context: Context) -> str:
    number = number_of(value, context)
    seconds = _decimal(number)
    if not 0 <= seconds <= 366 * 86400:
        raise RenderError(say("%(short)s is not a number of seconds that mmss can format", short=_short(number)))
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes:02d}:{rest:02d}"


def _e164(value: Any, context: Context) -> str:
    return spell(context.text(value), context.country).e164 or ""


def _short(value: Any) -> str:
    text = repr(str(value))
    return text if len(text) <= 60 else text[:59] + "…"


FILTERS: dict[str, FilterKind] = {
    "unix": _on_time(dates.unix),
    "unix_ms": _on_time(dates.unix_ms),
    "unix_us": _on_time(dates.unix_us),
    "iso": _on_time(dates.iso),
    "date": FilterKind("%d.%m.%Y", _date),
    "digits": _on_text(lambda text: _NOT_DIGITS.sub("", text)),
    "e164": FilterKind("", lambda _: _skipping_empty(_e164)),
    "upper": _on_text(str.upper),
    "lower": _on_text(str.lower),
    "trim": _on_text(str.strip),
    "default": FilterKind("TEXT", _default),
    **{name: _on_text(lambda text, digest=digest: digest(to_bytes(text))) for name, digest in HASHES.items()},  # type: ignore[misc]
    "map": FilterKind("ANSWERED=4,*=6", _map),
    "mmss": FilterKind("", lambda _: _skipping_empty(_mmss)),
    "mul": FilterKind("1000", _mul),
    "text": _on_text(str),
    "html": _on_text(lambda text: html.escape(text, quote=False)),
    "json": FilterKind("", lambda _: lambda value, context: context.spend(context.json(value))),
}
"""text makes a number or boolean a text; html escapes & < > for Slack and Telegram; json quotes a value for raw."""
