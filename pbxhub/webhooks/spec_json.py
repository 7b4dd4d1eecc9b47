"""Converts frozen dataclasses to JSON and back, with the path of every wrong field.

Supports fields of str, int, float, bool, bytes (base64 in JSON), Literal, X | None, tuple[X, ...] and other
dataclasses. A webhook needs no other types.
"""

import base64
import binascii
import difflib
import types
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pbxhub.storable import UNSTORABLE
from pbxhub.translatable import say

_DEEPEST = 50
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: its path (`parameters.contact.phones[1]`), what is wrong, and what would be right."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def wrong_at(path: str, text: str, /, **values: object) -> FieldError:
    """The field at this path, and what is wrong with it; text and values as in say()."""
    return FieldError(path, say(text, **values))


def too_many(path: str, count: int, most: int, text: str, /) -> Iterator[FieldError]:
    """What is wrong where there are more than `most`: a text with %(count)s and %(most)s, as in say()."""
    if count > most:
        yield wrong_at(path, text, count=count, most=most)


class SpecError(Exception):
    """The input is not a valid webhook. errors: every wrong field, in the order of the form."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = errors


def join(path: str, step: str) -> str:
    """Joins `contact` and `phones` to `contact.phones`. A step in brackets gets no dot."""
    return f"{path}{step}" if not path or step.startswith("[") else f"{path}.{step}"


def read_as(kind: type[T], data: Any, *transparent: str) -> T:
    """The JSON as this dataclass. Raises SpecError with every wrong field.

    transparent: names of fields that are left out of paths, because the user does not see that level.
    """
    reader = _Reader(frozenset(transparent))
    found = reader.read(kind, data, "")
    if reader.errors:
        raise SpecError(reader.errors)
    assert isinstance(found, kind)
    return found


class _Reader:
    """Reads JSON into dataclasses and collects errors. Check `errors` before using the result."""

    def __init__(self, transparent: frozenset[str]) -> None:
        self.errors: list[FieldError] = []
        self._transparent = transparent
        self._depth = 0

    def read(self, kind: Any, data: Any, path: str) -> Any:
        """The value as this type; None after recording an error."""
        if is_dataclass(kind):
            return self._deeper(kind, data, path)
        origin = get_origin(kind)
        if origin is tuple:
            return self._list(get_args(kind)[0], data, path)
        if origin is Literal:
            return self._choice(get_args(kind), data, path)
        if origin in (types.UnionType, Union):
            inner = next(part for part in get_args(kind) if part is not type(None))
            return None if data is None else self.read(inner, data, path)
        return self._plain(kind, data, path)

    def _refuse(self, path: str, message: str) -> None:
        self.errors.append(FieldError(path, message))

    def _deeper(self, kind: Any, data: Any, path: str) -> Any:
        self._depth += 1
        try:
            if self._depth <= _DEEPEST:
                return self._object(kind, data, path)
            self._refuse(path, say("is nested deeper than %(deepest)s levels", deepest=_DEEPEST))
            return None
        finally:
            self._depth -= 1

    def _object(self, kind: Any, data: Any, path: str) -> Any:
        if not isinstance(data, dict):
            self._refuse(path, say("is %(called)s; give an object", called=_called(data)))
            return None
        before = len(self.errors)
        types_by_name = _types_of(kind)
        found = {}
        for name, value in data.items():
            if name not in types_by_name:
                self._refuse(join(path, str(name)), _unknown(str(name), types_by_name))
            else:
                found[name] = self.read(types_by_name[name], value, self._below(path, name))
        for name in types_by_name:
            if name in _required(kind) and name not in data:
                self._refuse(join(path, name), say("is missing"))
        return kind(**found) if len(self.errors) == before else None

    def _below(self, path: str, name: str) -> str:
        return path if name in self._transparent else join(path, name)

    def _list(self, kind: Any, data: Any, path: str) -> tuple[Any, ...]:
        if not isinstance(data, list):
            self._refuse(path, say("is %(called)s; give a list", called=_called(data)))
            return ()
        return tuple(self.read(kind, item, join(path, _step(item, index))) for index, item in enumerate(data))

    def _choice(self, choices: tuple[Any, ...], data: Any, path: str) -> Any:
        if data not in choices or isinstance(data, bool):
            self._refuse(
                path,
                say(
                    "is %(data)s; use one of %(known)s",
                    data=repr(data),
                    known=", ".join(str(choice) for choice in choices),
                ),
            )
        return data

    def _plain(self, kind: type, data: Any, path: str) -> Any:
        if kind is bytes:
            return self._bytes(data, path)
        right = isinstance(data, kind) or (kind is float and isinstance(data, int))
        if not right or (isinstance(data, bool) and kind is not bool):
            self._refuse(path, say("is %(called)s; give %(right)s", called=_called(data), right=_NAMES[kind]))
            return None
        if kind is str and (bad := UNSTORABLE.search(data)):
            self._refuse(
                path,
                say("has the character U+%(code)s, which cannot be stored; delete it", code=f"{ord(bad.group()):04X}"),
            )
        return data

    def _bytes(self, data: Any, path: str) -> bytes:
        try:
            return base64.b64decode(data, validate=True)
        except (TypeError, ValueError, binascii.Error):
            self._refuse(path, say("is not valid base64; give the bytes in base64"))
            return b""


def write(value: Any) -> Any:
    """The JSON of a dataclass. Leaves out fields that are empty ("", [], false, null) by default."""
    if is_dataclass(value):
        kind: Any = type(value)
        silent = _silent(kind)
        pairs = ((name, getattr(value, name)) for name in _types_of(kind))
        return {name: write(item) for name, item in pairs if item or name not in silent}
    if isinstance(value, tuple):
        return [write(item) for item in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def json_schema(kind: Any) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a dataclass; nested dataclasses are under $defs."""
    definitions: dict[str, Any] = {}
    root = _schema(kind, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": definitions}


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if is_dataclass(kind):
        return _object_schema(kind, definitions)
    origin = get_origin(kind)
    if origin is tuple:
        return {"type": "array", "items": _schema(get_args(kind)[0], definitions)}
    if origin is Literal:
        return {"enum": list(get_args(kind))}
    if origin in (types.UnionType, Union):
        return {"anyOf": [_schema(part, definitions) for part in get_args(kind)]}
    return dict(_SCHEMAS[kind])


def _object_schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # first, because a tree refers to itself
        definitions[kind.__name__] = {
            "type": "object",
            "description": (kind.__doc__ or "").strip().partition("\n")[0],
            "properties": {name: _schema(inner, definitions) for name, inner in _types_of(kind).items()},
            "required": sorted(_required(kind)),
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}


@cache
def _types_of(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


@cache
def _required(kind: Any) -> frozenset[str]:
    return frozenset(
        field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING
    )


@cache
def _silent(kind: Any) -> frozenset[str]:
    return frozenset(field.name for field in fields(kind) if field.default is not MISSING and not field.default)


def _step(item: Any, index: int) -> str:
    """The step of a path: the name of a field in a tree, the index of an element in a list."""
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) and name else f"[{index}]"


def _unknown(name: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    hint = (
        say("did you mean %(value)s?", value=near[0])
        if near
        else say("the fields here are %(known)s", known=", ".join(known))
    )
    return say("is not a field here; %(hint)s", hint=hint)


def _called(data: Any) -> str:
    names: list[tuple[type | tuple[type, ...], str]] = [
        (type(None), "null"), (bool, say("a boolean")), (str, say("a text")), ((int, float), say("a number")),
        (list, say("a list")),
    ]  # fmt: skip
    return next((name for kind, name in names if isinstance(data, kind)), say("an object"))


_NAMES: dict[type, str] = {
    str: say("a text"), int: say("a whole number"), float: say("a number"), bool: say("true or false"),
}  # fmt: skip
_SCHEMAS: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    type(None): {"type": "null"},
}
