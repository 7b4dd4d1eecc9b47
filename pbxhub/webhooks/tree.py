"""The parameter tree: compiled once; then turns values into a structure of dicts, lists, texts and numbers.

Only the user defines the structure. In JSON, a value that is a list or an object keeps its own structure. Call data
never adds names to the tree.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pbxhub.translatable import say
from pbxhub.webhooks.arithmetic import NUMBER
from pbxhub.webhooks.form_names import clashing_names
from pbxhub.webhooks.leaves import (
    BOOLEANS,
    OMITTED,
    Node,
    blank_of,
    boolean_leaf,
    hash_leaf,
    number_leaf,
    own_file_leaf,
    recording_leaf,
    text_leaf,
)
from pbxhub.webhooks.rendering import Context, MandatoryError, RenderError, to_bytes
from pbxhub.webhooks.spec import Format, Parameter
from pbxhub.webhooks.spec_json import FieldError, join, too_many
from pbxhub.webhooks.template import RECORDING_BASE64, Template, TemplateError, compile_template

DEEPEST, MOST_PARAMETERS = 10, 500
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-\[\]]*")
_BRACED = re.compile(r"\{\{(.+)\}\}", re.DOTALL)
_XML_START = r"A-Za-z_\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u02FF\u0370-\u037D\u037F-\u1FFF\u2070-\u218F\u3001-\uD7FF"
XML_NAME = re.compile(rf"[{_XML_START}][{_XML_START}\-.0-9\u00B7\u0300-\u036F]*")
XML_TEXT = "#text"
REPEATING = ("form", "multipart")
"""Formats in which a name may occur twice at one level."""


@dataclass(frozen=True, slots=True)
class Child:
    """A compiled node in its place: the name it is sent under ("" in an array) and its path for messages."""

    name: str
    node: Node
    path: str


class Attribute(str):
    """A name that is sent as an XML attribute of the enclosing element."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Repeated:
    """The values of a name that a form repeats."""

    values: tuple[Any, ...]


def compile_tree(
    parameters: tuple[Parameter, ...],
    top: str,
    request_format: Format,
    errors: list[FieldError],
    own_file_name: str = "",
) -> Node:
    """A function from a context to the structure. Appends every error in the tree to errors. own_file_name: of the file
    that is kept with the webhook."""
    root = Parameter(type="array" if top == "array" else "object", children=parameters)
    compiler = _Compiler(request_format, errors, own_file_name)
    node = compiler.container(root, "parameters", 1)
    errors += too_many(
        "parameters", compiler.count, MOST_PARAMETERS, "has %(count)s parameters; at most %(most)s are sent"
    )
    if request_format in REPEATING and not errors:
        errors.extend(clashing_names(parameters, top))
    return node


def out_name(name: str) -> str | None:
    """The name as it is sent: {{any text}} without its braces; None when the name is not allowed."""
    if braced := _BRACED.fullmatch(name):
        return braced.group(1)
    return name if _NAME.fullmatch(name) else None


def template_bytes(parameters: tuple[Parameter, ...]) -> int:
    """Size of all names and templates of a tree."""
    own = sum(len(to_bytes(item.name)) + len(to_bytes(item.value)) for item in parameters)
    return own + sum(template_bytes(item.children) for item in parameters)


@dataclass(slots=True)
class _Compiler:
    format: Format
    errors: list[FieldError]
    own_file_name: str
    count: int = 0

    def container(self, item: Parameter, path: str, depth: int) -> Node:
        """An object or an array; depth is that of its children."""
        if depth > DEEPEST + 1:
            self._refuse(path, say("is nested deeper than %(deepest)s levels", deepest=DEEPEST))
            return lambda _: None
        children = list(self._children(item, path, depth))
        build = _array(children) if item.type == "array" else _object(children)
        if item.type != "array" and len({child.name for child in children}) < len(children):
            build = _object_with_repeats(children)
        return _emptied(build, item, path)

    def _children(self, item: Parameter, path: str, depth: int) -> Iterator[Child]:
        seen: set[str] = set()
        for index, child in enumerate(item.children):
            self.count += 1
            name = "" if item.type == "array" else self._name(child, join(path, child.name or f"[{index}]"), seen)
            child_path = join(path, f"[{index}]" if item.type == "array" else name or f"[{index}]")
            if item.type == "array" and child.name:
                self._refuse(
                    child_path, say("has the name %(name)s; elements of an array have no names", name=child.name)
                )
            yield Child(self._marked(name, child, child_path), self.node(child, child_path, depth), child_path)

    def node(self, item: Parameter, path: str, depth: int) -> Node:
        if depth > DEEPEST:
            self._refuse(path, say("is nested deeper than %(deepest)s levels", deepest=DEEPEST))
            return lambda _: None
        if item.type in ("array", "object"):
            if item.value:
                self._refuse(path, say("is an %(type)s and has a value; give it children instead", type=item.type))
            return self.container(item, path, depth + 1)
        if item.children:
            self._refuse(path, say("is a %(type)s and has children; choose the type object or array", type=item.type))
        if item.type in ("recording", "file"):
            return self._file(item, path)
        return self._leaf(item, path)

    def _leaf(self, item: Parameter, path: str) -> Node:
        try:
            template = compile_template(item.value)
        except TemplateError as error:
            self.errors.extend(FieldError(path, message) for message in error.messages)
            return lambda _: None
        if item.type != "text" and any(slot.name == RECORDING_BASE64 for slot in template.slots):
            self._refuse(path, say("is a %(type)s; <<recording_base64>> needs the type text", type=item.type))
        blank = blank_of(item, self.format)
        if item.type == "text":
            typed = self.format in ("json", "json-rpc")
            return text_leaf(template, blank, item.mandatory, typed)
        if item.type == "number":
            self._static(item, template, path, NUMBER.fullmatch)
            return number_leaf(template, blank)
        if item.type == "boolean":
            self._static(item, template, path, lambda text: BOOLEANS.get(text.lower()))
            return boolean_leaf(template, blank)
        return hash_leaf(template, blank, item)

    def _file(self, item: Parameter, path: str) -> Node:
        if self.format != "multipart":
            self._refuse(
                path,
                say(
                    "is a file, which only the format multipart sends; choose it, or the type text with "
                    "<<recording_base64>>"
                ),
            )
        if item.empty in ("null", "empty"):
            self._refuse(path, say("is a file, which cannot be empty; leave it out or make it mandatory"))
        if item.type == "file":
            if item.value:
                self._refuse(path, say("is the file of the webhook; its name is set where it was chosen"))
            return own_file_leaf(self.own_file_name)
        try:
            template = compile_template(item.value)
        except TemplateError as error:
            self.errors.extend(FieldError(path, message) for message in error.messages)
            return lambda _: None
        return recording_leaf(template, item.mandatory)

    def _static(self, item: Parameter, template: Template, path: str, accepts: Callable[[str], Any]) -> None:
        """Checks a number or boolean without placeholders; one with placeholders is checked when it is rendered."""
        text = template.literal.strip()
        if not template.slots and text and accepts(text) is None:
            right = say("a number like 57 or 1.5") if item.type == "number" else say("true or false")
            self._refuse(
                path,
                say(
                    "%(value)s is not a %(type)s; give %(right)s, or choose the type text",
                    value=repr(item.value),
                    type=item.type,
                    right=right,
                ),
            )

    def _name(self, child: Parameter, path: str, seen: set[str]) -> str:
        name = out_name(child.name)
        if name is None:
            hint = (
                say("write it as {{%(name)s}} to send exactly this text", name=child.name)
                if child.name
                else say("give a name")
            )
            self._refuse(
                path,
                say(
                    "%(name)s is not a valid name; use Latin letters, digits and _ . - [ ]; %(hint)s",
                    name=repr(child.name),
                    hint=hint,
                ),
            )
            return child.name
        if name in seen and self.format not in REPEATING:
            self._refuse(path, say("the name %(name)s occurs twice at this level", name=name))
        seen.add(name)
        return name

    def _marked(self, name: str, child: Parameter, path: str) -> str:
        if child.attribute and (self.format != "xml" or not name or child.type in ("array", "object")):
            self._refuse(path, say("cannot be an attribute: only a named value of an XML element can"))
        if self.format == "xml" and name and not XML_NAME.fullmatch(name) and name != XML_TEXT:
            self._refuse(
                path, say("%(name)s is not a valid name of an XML element; use letters, digits, _ . -", name=repr(name))
            )
        if self.format == "xml" and name == XML_TEXT and child.type in ("array", "object"):
            self._refuse(
                path, say("%(name)s is the text of the enclosing element; choose the type text", name=XML_TEXT)
            )
        return Attribute(name) if child.attribute else name

    def _refuse(self, path: str, message: str) -> None:
        self.errors.append(FieldError(path, message))


def _object(children: list[Child]) -> Node:
    return lambda context: dict(_values(children, context))


def _object_with_repeats(children: list[Child]) -> Node:
    def node(context: Context) -> Any:
        found: dict[str, list[Any]] = {}
        for name, value in _values(children, context):
            found.setdefault(name, []).append(value)
        return {name: Repeated(tuple(values)) if len(values) > 1 else values[0] for name, values in found.items()}

    return node


def _array(children: list[Child]) -> Node:
    return lambda context: [value for _, value in _values(children, context)]


def _values(children: list[Child], context: Context) -> Iterator[tuple[str, Any]]:
    """The names and values of those children that are not left out."""
    for child in children:
        try:
            value = child.node(context)
        except RenderError as error:
            raise error.at(child.path) from None
        if value is not OMITTED:
            yield child.name, value


def _emptied(build: Node, item: Parameter, path: str) -> Node:
    """Applies an object's or array's own rule for empty values when nothing is left in it."""
    if not item.mandatory and not item.empty:
        return build
    instead = {"omit": OMITTED, "null": None, "empty": ""}

    def node(context: Context) -> Any:
        value = build(context)
        if value:
            return value
        if item.mandatory:
            raise MandatoryError(say("is mandatory and empty")).at(path)
        return instead[item.empty]

    return node
