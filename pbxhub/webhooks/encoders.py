"""Writes a parameter tree as JSON, as form pairs with brackets, or as XML. Each place has its own encoder."""

import json
import re
from collections.abc import Callable, Iterator
from json.encoder import encode_basestring as quote_json
from typing import Any
from urllib.parse import quote, quote_plus

from pbxhub.translatable import say
from pbxhub.webhooks.rendering import LARGEST_REQUEST, Context, Fragment, RenderError, to_bytes
from pbxhub.webhooks.tree import XML_TEXT, Attribute, Repeated

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CDATA_END = re.compile(r"(^|\])(?=>)|(^|(?<=\]))\Z")
_XML_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_XML_EVERYWHERE = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "\r": "&#13;", "\n": "&#10;", "\t": "&#9;"}
)


class _NotPlainError(Exception):
    """The structure contains a Fragment, which the library's encoder cannot write."""


def _not_plain(value: object) -> Any:
    raise _NotPlainError


_plain = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False, default=_not_plain)


def json_text(value: Any, context: Context) -> str:
    """Compact JSON of a structure. Numbers keep all their digits."""
    try:
        return _plain.encode(value)
    except _NotPlainError:
        return _with_fragments(value, context)
    except ValueError:
        raise RenderError(say("a number has more than 4300 digits")) from None


def _with_fragments(value: Any, context: Context) -> str:
    kind = type(value)
    if kind is dict:
        pairs = [f"{quote_json(name)}:{_with_fragments(item, context)}" for name, item in value.items()]
        return "{" + ",".join(pairs) + "}"
    if kind is list:
        return "[" + ",".join([_with_fragments(item, context) for item in value]) + "]"
    return context.spend(value.text) if kind is Fragment else _plain.encode(value)


def leaves_of(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value of every leaf, nested as a[b][0]. An empty object or array has no leaf, so it is not sent."""
    if isinstance(value, Repeated):
        for item in value.values:
            yield from leaves_of(item, name)
    elif isinstance(value, (dict, list)):
        for step, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves_of(item, f"{name}[{step}]" if name else str(step))
    else:
        yield name, value


def form_text(value: Any, context: Context) -> str:
    """application/x-www-form-urlencoded: a space is +, everything but letters, digits and -._~ is percent-encoded."""
    return _joined(value, context, lambda text: quote_plus(to_bytes(text)))


def query_text(value: Any, context: Context) -> str:
    """The same pairs for the query of a URL, where a space is %20."""
    return _joined(value, context, percent)


def _joined(value: Any, context: Context, encode: Callable[[str], str]) -> str:
    pairs, size = [], 0
    for name, leaf in leaves_of(value):
        pairs.append(f"{encode(name)}={encode(context.text(leaf))}")
        size += len(pairs[-1]) + 1
        if size > LARGEST_REQUEST:  # a long name is repeated for each of its fields
            message = say("the request has %(size)s bytes; at most %(most)s are sent", size=size, most=LARGEST_REQUEST)
            raise RenderError(message)
    return "&".join(pairs)


def percent(text: str) -> str:
    """A text encoded for a path or a query, so that it cannot end the part it is in."""
    return quote(to_bytes(text), safe="")


def xml_text(name: str, value: Any, context: Context) -> str:
    """One element. Array values become elements named item; attributes and {{#text}} belong to the element."""
    if isinstance(value, list):
        return _element(name, "", "".join([xml_text("item", item, context) for item in value]))
    if not isinstance(value, dict):
        return _element(name, "", xml_escape(context.text(value)))
    attributes, inside = [], []
    for child, item in value.items():
        if isinstance(child, Attribute):
            attributes.append(f' {child}="{xml_escape_everywhere(context.text(item))}"')
        else:
            inside.append(xml_escape(context.text(item)) if child == XML_TEXT else xml_text(child, item, context))
    return _element(name, "".join(attributes), "".join(inside))


def _element(name: str, attributes: str, inside: str) -> str:
    return f"<{name}{attributes}>{inside}</{name}>" if inside else f"<{name}{attributes}/>"


def xml_escape(text: str) -> str:
    """Escapes a text between tags. Characters that XML forbids become U+FFFD."""
    return _NOT_XML.sub("\ufffd", text).translate(_XML_TEXT)


def xml_escape_everywhere(text: str) -> str:
    """Escapes a text for an attribute, or for any place where a user may put a placeholder."""
    return _NOT_XML.sub("\ufffd", text).translate(_XML_EVERYWHERE)


def xml_escape_cdata(text: str) -> str:
    """Escapes a text in a CDATA section. Wherever ]]> could arise, within the text or at its ends, closes the section
    and opens a new one; a reader sees the same text."""
    safe = _CDATA_END.sub(r"\1]]><![CDATA[", _NOT_XML.sub("\ufffd", text))
    return safe.replace("\r", "]]>&#13;<![CDATA[")
