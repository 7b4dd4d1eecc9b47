"""One value out of a JSON document by a dotted path."""

import json
from typing import Any

_SHOWN = 300


class PathMissingError(AssertionError):
    """The document has no value at this path. An AssertionError, so that await_until tries again."""


def read_json(text: str, path: str, whose: str) -> Any:
    """The value at "a.b.0.c" (a number is an index of an array), the whole document for "".

    whose: what the text is, for the message. Raises PathMissingError that shows what there was.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise PathMissingError(f"{whose} is not JSON ({error}): {shorten(text)}") from None
    place = document
    steps = path.split(".") if path else []
    for at, step in enumerate(steps):
        try:
            place = _item(place, step) if isinstance(place, list) else _field(place, step)
        except (KeyError, IndexError):
            parent = ".".join(steps[:at]) or "the top"
            raise PathMissingError(f"{whose} has no {path!r}: at {parent} there is {_what(place)}") from None
    return place


def _item(place: list[Any], index: str) -> Any:
    if not (index.isascii() and index.isdigit()):  # int() would take "-1", "+1" and " 1" too
        raise IndexError(index)
    return place[int(index)]


def _field(place: Any, name: str) -> Any:
    if not isinstance(place, dict):
        raise KeyError(name)
    return place[name]


def _what(place: Any) -> str:
    if isinstance(place, dict):
        names = ", ".join(map(str, place)) or "nothing"
        return f"an object with {names}: {shorten(json.dumps(place, ensure_ascii=False))}"
    if isinstance(place, list):
        return f"an array of {len(place)}: {shorten(json.dumps(place, ensure_ascii=False))}"
    return shorten(json.dumps(place, ensure_ascii=False))


def shorten(text: str) -> str:
    """The text, cut where a message would get unreadable."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
