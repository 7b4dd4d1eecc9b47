"""Texts with <<name|filter:argument|…>>: compiled once, rendered often, in one pass.

Inserted values are never expanded again, and only << >> has a meaning: {{…}}, ${…} and {% %} are plain text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pbxhub.translatable import say
from pbxhub.webhooks import params, value_filters
from pbxhub.webhooks.arithmetic import number_of
from pbxhub.webhooks.filter_kinds import Apply, FilterError
from pbxhub.webhooks.rendering import Context, Fragment, is_finite

_SLOT = re.compile(r"<<([^<>]*)>>")
_UNCLOSED = re.compile(r"<<[ ]*[A-Za-z_]")
MOST_FILTERS = 8
MOST_MISTAKES = 20  # finding a similar name for each takes time

RECORDING_BASE64 = "recording_base64"
"""Its value is a mark that stands for the file until the request is sent: no filter could change that."""

Encode = Callable[[str], str]


class TemplateError(Exception):
    """An invalid template. messages: one sentence per mistake, with its position."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = messages


@dataclass(frozen=True, slots=True)
class Slot:
    """One placeholder: the canonical name of its parameter and the filters for its value."""

    name: str
    filters: tuple[Apply, ...]

    def value(self, context: Context) -> Any:
        value: Any = context.values.get(self.name)
        if value is None:
            value = params.lookup(context.values, self.name)
        if type(value) is float and not is_finite(value):
            value = None  # no format can write it, so it counts as empty
        for apply in self.filters:
            value = apply(value, context)
        return value


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled text: alternating literal pieces and slots. slots: only the slots."""

    pieces: tuple[str | Slot, ...]
    slots: tuple[Slot, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "slots", tuple(piece for piece in self.pieces if isinstance(piece, Slot)))

    @property
    def literal(self) -> str:
        """The text outside the placeholders."""
        return "".join(piece for piece in self.pieces if isinstance(piece, str))

    def text(self, context: Context, encode: Encode | None = None) -> str:
        """The rendered text. encode is applied to each inserted value, not to the text around it."""
        pieces = self.pieces
        if len(pieces) == 1:
            only = pieces[0]
            if isinstance(only, str):
                return only
            text = context.text(only.value(context))
            return encode(text) if encode else text
        parts = []
        for piece in pieces:
            if isinstance(piece, str):
                parts.append(piece)
            else:
                text = context.text(piece.value(context))
                parts.append(encode(text) if encode else text)
        return "".join(parts)

    def value(self, context: Context) -> Any:
        """Like text, but a template of exactly one placeholder keeps the type of its value."""
        pieces = self.pieces
        if len(pieces) == 1 and isinstance(pieces[0], Slot):
            return pieces[0].value(context)
        return self.text(context)

    def is_blank(self, context: Context) -> bool:
        """Whether the result counts as empty: no text, or only placeholders without values."""
        slots = self.slots
        if not slots:
            return not self.literal
        return not any(context.text(slot.value(context)) for slot in slots)


def compile_template(text: str) -> Template:
    """Compiles a text. Raises TemplateError with its first MOST_MISTAKES mistakes."""
    pieces: list[str | Slot] = []
    messages: list[str] = []
    end = 0
    for match in _SLOT.finditer(text):
        if len(messages) >= MOST_MISTAKES:
            raise TemplateError(messages)
        _literal(text, end, match.start(), pieces, messages)
        try:
            pieces.append(_slot(match.group(1)))
        except FilterError as error:
            messages.append(say("character %(place)s: %(problem)s", place=match.start() + 1, problem=error.args[0]))
        end = match.end()
    _literal(text, end, len(text), pieces, messages)
    if messages:
        raise TemplateError(messages)
    return Template(tuple(pieces) or ("",))


def _literal(text: str, start: int, end: int, pieces: list[str | Slot], messages: list[str]) -> None:
    if unclosed := _UNCLOSED.search(text, start, end):
        messages.append(
            say(
                "character %(place)s: a parameter is not closed; write <<name>>, with no < or > inside",
                place=unclosed.start() + 1,
            )
        )
    if start < end:
        pieces.append(text[start:end])


def _slot(inside: str) -> Slot:
    name, *steps = inside.split("|")
    canonical = params.canonical(name.strip())
    if canonical is None:
        raise FilterError(params.unknown(name.strip()))
    if len(steps) > MOST_FILTERS:
        raise FilterError(
            say(
                "%(name)s has %(count)s filters; it may have %(most)s",
                name=name.strip(),
                count=len(steps),
                most=MOST_FILTERS,
            )
        )
    if canonical == RECORDING_BASE64 and steps:
        raise FilterError(say("recording_base64 has no filters: the file is added when it is sent"))
    return Slot(canonical, tuple(_filter(step) for step in steps))


def _filter(step: str) -> Apply:
    name, colon, argument = step.partition(":")
    return value_filters.build(name.strip(), argument if colon else None)


def literal(text: str) -> Template:
    """A template without placeholders, whatever the text contains."""
    return Template((text,))


def as_number(value: Any, context: Context) -> Fragment:
    """The value as a JSON number. Raises RenderError when it is not one."""
    return Fragment(number_of(value, context))
