"""Looks up names in the catalogue, and values by name."""

import difflib
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from pbxhub.calls.stages import JSON, Value
from pbxhub.translatable import say
from pbxhub.webhooks.catalogue import CHAIN, ENTRIES, FAMILIES, QUESTION, STAGES, Entry, Family, Type
from pbxhub.webhooks.paths_in_json import MISSING, parse_path, walk

__all__ = [
    "ENTRIES", "FAMILIES", "STAGES", "canonical", "exists_at", "from_json", "lookup", "names", "type_of",
    "unknown",
]  # fmt: skip

_BY_NAME: dict[str, Entry] = {name: entry for entry in ENTRIES for name in (entry.name, *entry.aliases)}
_TIMES = frozenset(entry.name for entry in ENTRIES if entry.type == "datetime")
_HEADERS = "webhook.headers."
_LEG_TIMES = frozenset({"start", "answer", "end"})
_TREES = ("webhook.json", "webhook.headers", "webhook.saved", "var", "custom", "form", "dialog", "deal")


def names() -> list[str]:
    """Every fixed name and alias."""
    return list(_BY_NAME)


@lru_cache(maxsize=4096)
def canonical(name: str) -> str | None:
    """The name under which the value is stored, for a name, an alias or a member of a family; None when unknown."""
    if entry := _BY_NAME.get(name):
        return entry.name
    if name.startswith(_HEADERS):  # header names are case-insensitive
        name = name.lower()
    return name if family_of(name) or whole_of(name) else None


@lru_cache(maxsize=4096)
def whole_of(name: str) -> Entry | None:
    """The list or the object that a name is a part of: that of `legs[0].number` is legs."""
    path = parse_path(name)
    entry = _BY_NAME.get(str(path[0])) if path and len(path) > 1 else None
    return entry if entry and entry.type in ("list", "object", "any") else None


def family_of(name: str) -> Family | None:
    """The family that a name chosen by the user belongs to."""
    for family in FAMILIES:
        if family.prefix.endswith("."):
            if name.startswith(family.prefix) and parse_path(name) is not None:
                return family
        elif name == family.prefix:
            return family
    return None


def type_of(name: str) -> Type:
    """The type of a canonical name."""
    entry = _BY_NAME.get(name) or family_of(name)
    return entry.type if entry else "any"


def unknown(name: str) -> str:
    """The sentence about a name that does not exist, with the most similar one that does."""
    known = [*_BY_NAME, *(family.prefix + "NAME" for family in FAMILIES if family.prefix.endswith("."))]
    by_lower = {candidate.lower(): candidate for candidate in reversed(known)}
    near = difflib.get_close_matches(name.lower(), by_lower, 1, 0.5)
    hint = say("did you mean %(value)s?", value=by_lower[near[0]]) if near else say("see the list of parameters")
    return say("%(value)s is not a parameter; %(hint)s", value=name or say("an empty name"), hint=hint)


def exists_at(name: str, stage: str) -> bool:
    """Whether a parameter can have a value at a stage. Chains and questions can follow any stage."""
    if stage in (CHAIN, QUESTION):
        return True
    entry = _BY_NAME.get(name) or family_of(name) or whole_of(name)
    return entry is not None and stage in entry.stages


def lookup(values: Mapping[str, Value], name: str) -> Value:
    """The value of a canonical name; None when there is none.

    A member of a family may be stored flat (`custom.order`) or as a tree (`custom` → {"order": …}). A part of a list or
    an object is looked up in it: `legs[0].number`.
    """
    value = values.get(name)
    if value is not None or ("." not in name and "[" not in name):
        return value
    if whole := whole_of(name):
        found = walk(values.get(whole.name), _path(name)[1:])
        return None if found is MISSING else found
    for tree in _TREES:
        if name.startswith(tree + ".") and values.get(tree) is not None:
            found = walk(values[tree], _path(name[len(tree) + 1 :]))
            return None if found is MISSING else found
    return None


@lru_cache(maxsize=4096)
def _path(text: str) -> tuple[str | int, ...]:
    return parse_path(text) or (text,)


def from_json(values: Mapping[str, JSON]) -> dict[str, Value]:
    """Values from the database, with the times of parameters and legs (ISO 8601) converted to datetimes."""
    result = _timed(values, _TIMES)
    legs = values.get("legs")
    if isinstance(legs, list):
        result["legs"] = [_timed(leg, _LEG_TIMES) for leg in legs if isinstance(leg, dict)]
    return result


def _timed(values: Mapping[str, JSON], names: frozenset[str]) -> dict[str, Value]:
    result: dict[str, Value] = dict(values)  # type: ignore[arg-type]
    for name in names & values.keys():
        text = values[name]
        if isinstance(text, str):
            result[name] = _moment(text)
    return result


def _moment(text: str) -> Value:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
