"""The filters in placeholders: <<calldate|unix>>, <<caller|digits|sha256>>, <<disposition|map:ANSWERED=4,*=6>>.

An empty value stays empty, except through default, map and json.
"""

import base64
import hashlib
import html
import re
import zlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from pbxhub.translatable import say
from pbxhub.webhooks import dates
from pbxhub.webhooks.arithmetic import NUMBER, OF_NUMBERS
from pbxhub.webhooks.filter_kinds import Apply, FilterError, FilterKind, short, skipping_empty
from pbxhub.webhooks.phones import spell
from pbxhub.webhooks.rendering import Context, Fragment, RenderError, to_bytes

_NOT_DIGITS = re.compile(r"[^0-9]+")
_SLICE = re.compile(r"(-?\d{1,6})?:(-?\d{1,6})?", re.ASCII)

HASHES: dict[str, Callable[[bytes], str]] = {
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "crc32": lambda data: f"{zlib.crc32(data):08x}",
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).hexdigest(),
    "sha256": lambda data: hashlib.sha256(data).hexdigest(),
}
"""Lower-case hex; crc32 is unsigned and has eight digits."""


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


def _on_text(change: Callable[[str], Any]) -> FilterKind:
    apply = skipping_empty(lambda value, context: change(context.text(value)))
    return FilterKind("", lambda _: apply)


def _on_time(write: dates.Write) -> FilterKind:
    apply = skipping_empty(lambda value, context: write(_moment(value), context.zone))
    return FilterKind("", lambda _: apply)


def _moment(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise RenderError(
                say("%(short)s is not a time; a date filter needs one, in ISO 8601", short=short(value))
            ) from None
    if not isinstance(value, datetime):
        raise RenderError(say("%(short)s is not a time; a date filter needs one", short=short(value)))
    return value


def _date(argument: str) -> Apply:
    if message := dates.pattern_error(argument):
        raise FilterError(message)
    write = dates.pattern(argument)
    return skipping_empty(lambda value, context: write(_moment(value), context.zone))


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


def _e164(value: Any, context: Context) -> str:
    return spell(context.text(value), context.country).e164 or ""


def _replace(argument: str) -> Apply:
    old, equals, new = argument.partition("=")
    if not old or not equals:
        raise FilterError(
            say("replace:%(argument)s does not say what to replace; write it like replace:OLD=NEW", argument=argument)
        )
    return skipping_empty(lambda value, context: _replaced(context.text(value), old, new, context))


def _replaced(text: str, old: str, new: str, context: Context) -> str:
    """What is inserted is counted before it is made: a long text in place of each letter would fill the memory."""
    context.charge(text.count(old) * len(new))
    return text.replace(old, new)


def _slice(argument: str) -> Apply:
    found = _SLICE.fullmatch(argument)
    if not found or argument == ":":
        raise FilterError(
            say("slice:%(argument)s is not from:to; write it like slice:0:4 or slice:-10:", argument=argument)
        )
    start, end = (int(part) if part else None for part in found.groups())
    return skipping_empty(lambda value, context: (value if isinstance(value, list) else context.text(value))[start:end])


def _join(argument: str) -> Apply:
    def joined(value: Any, context: Context) -> Any:
        if not isinstance(value, list):
            return value
        context.charge(len(argument) * len(value))
        return argument.join(context.text(item) for item in value)

    return joined


def _item(index: int) -> FilterKind:
    """first and last: of a list; any other value stays."""

    def chosen(value: Any, _context: Context) -> Any:
        if not isinstance(value, list):
            return value
        return value[index] if value else None

    return FilterKind("", lambda _: chosen)


FILTERS: dict[str, FilterKind] = {
    "unix": _on_time(dates.unix),
    "unix_ms": _on_time(dates.unix_ms),
    "unix_us": _on_time(dates.unix_us),
    "iso": _on_time(dates.iso),
    "date": FilterKind("%d.%m.%Y", _date),
    "digits": _on_text(lambda text: _NOT_DIGITS.sub("", text)),
    "e164": FilterKind("", lambda _: skipping_empty(_e164)),
    "upper": _on_text(str.upper),
    "lower": _on_text(str.lower),
    "trim": _on_text(str.strip),
    "default": FilterKind("TEXT", _default),
    **{name: _on_text(lambda text, digest=digest: digest(to_bytes(text))) for name, digest in HASHES.items()},  # type: ignore[misc]
    "base64": _on_text(lambda text: base64.b64encode(to_bytes(text)).decode()),
    "map": FilterKind("ANSWERED=4,*=6", _map),
    "replace": FilterKind("OLD=NEW", _replace),
    "slice": FilterKind("0:4", _slice),
    "join": FilterKind(", ", _join),
    "first": _item(0),
    "last": _item(-1),
    **OF_NUMBERS,
    "text": _on_text(str),
    "html": _on_text(lambda text: html.escape(text, quote=False)),
    "json": FilterKind("", lambda _: lambda value, context: context.spend(context.json(value))),
}
"""text makes a number or boolean a text; html escapes & < > for Slack and Telegram; json quotes a value for raw."""
