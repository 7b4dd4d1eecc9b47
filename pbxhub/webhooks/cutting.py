"""Filters that take texts and lists apart: replace, slice, join, first, last."""

import re
from typing import Any

from pbxhub.translatable import say
from pbxhub.webhooks.filter_kinds import Apply, FilterError, FilterKind, skipping_empty
from pbxhub.webhooks.rendering import Context

_SLICE = re.compile(r"(-?\d{1,6})?:(-?\d{1,6})?", re.ASCII)


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


OF_PARTS: dict[str, FilterKind] = {
    "replace": FilterKind("OLD=NEW", _replace),
    "slice": FilterKind("0:4", _slice),
    "join": FilterKind(", ", _join),
    "first": _item(0),
    "last": _item(-1),
}
