"""The leaves of a parameter tree (text, number, boolean, hash): their value for a call, and when they are empty."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from pbxhub.translatable import say
from pbxhub.webhooks.attached import FilePart, file_name_of
from pbxhub.webhooks.rendering import Context, Fragment, MandatoryError, RenderError, to_bytes
from pbxhub.webhooks.spec import Empty, Format, Parameter
from pbxhub.webhooks.template import Template, as_number
from pbxhub.webhooks.value_filters import HASHES

BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class _Omitted:
    """The value of a field that is left out."""


OMITTED: Final = _Omitted()
Node = Callable[[Context], Any]
"""A compiled part of a tree: a function from a call's values to the value that is sent."""


def blank_of(item: Parameter, request_format: Format) -> Node:
    """The value of a leaf that is empty."""
    if item.mandatory:
        return _missing
    rule: Empty = item.empty or ("null" if request_format in ("json", "json-rpc") else "empty")
    value = {"omit": OMITTED, "null": None, "empty": ""}[rule]
    return lambda _: value


def _missing(_: Context) -> Any:
    raise MandatoryError(say("is mandatory and empty"))


def text_leaf(template: Template, blank: Node, mandatory: bool, typed: bool) -> Node:
    """A text. typed: the format has types, so a template of exactly one placeholder keeps the type of its value."""
    if not template.slots and template.literal:
        text = template.literal
        return lambda _: text
    render = template.value if typed else template.text

    def node(context: Context) -> Any:
        value: Any = render(context)
        if value is None or value == "" or (mandatory and template.is_blank(context)):
            return blank(context)
        if type(value) is str:
            return context.spend(value) if typed else value
        if isinstance(value, datetime):
            return context.date(value)
        return _typed(value, context)

    return node


def _typed(value: Any, context: Context) -> Any:
    """A value that JSON can write, or a Fragment with the JSON of anything else."""
    return value if isinstance(value, (bool, int, Fragment)) else Fragment(context.json(value))


def number_leaf(template: Template, blank: Node) -> Node:
    def node(context: Context) -> Any:
        value = template.value(context)
        if isinstance(value, datetime):
            value = context.date(value)
        if value is None or value == "":
            return blank(context)
        return value if type(value) is int else as_number(value, context)

    return node


def boolean_leaf(template: Template, blank: Node) -> Node:
    def node(context: Context) -> Any:
        given = template.value(context)
        if given is True or given is False:
            return given
        text = context.text(given).strip()
        if not text:
            return blank(context)
        value = BOOLEANS.get(text.lower())
        if value is None:
            raise RenderError(
                say("%(value)s is neither true nor false; use a filter: |map:YES=true,*=false", value=repr(text[:40]))
            )
        return value

    return node


def recording_leaf(template: Template, mandatory: bool) -> Node:
    """The recording of the call as a file; left out when there is none. template: the name it is sent under; empty for
    that of the file."""

    def node(context: Context) -> Any:
        if context.recording:
            return FilePart(template.text(context) or file_name_of(context.recording), context.mark("raw"))
        if mandatory:
            raise MandatoryError(say("is mandatory, and the call has no recording"))
        return OMITTED

    return node


def own_file_leaf(name: str) -> Node:
    """The file that is kept with the webhook."""
    return lambda context: FilePart(name, context.mark_of_own_file())


def hash_leaf(template: Template, blank: Node, item: Parameter) -> Node:
    """A hash. An empty text has a hash too, unless the field says what to do when it is empty."""
    digest = HASHES[item.type]

    def node(context: Context) -> Any:
        text = template.text(context)
        if (not text and item.empty) or (item.mandatory and template.is_blank(context)):
            return blank(context)
        return digest(to_bytes(text))

    return node
