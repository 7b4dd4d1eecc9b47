"""Finds the calls of a number however somebody types it: 0675298953, +38 (067) 529-89-53, or its end, 5298953."""

import re

from sqlalchemy import ColumnElement, String, and_, literal_column

from pbxhub.store.history import Call
from pbxhub.webhooks.phones import national_digits, person_of

_NUMBER = re.compile(r"[+0-9 ()./-]+")
_TAIL = 7  # digits: as many as a local number has, and as the index ix_call_project_tail
_TAIL_OF_PERSON = literal_column("substr(call.person, length(call.person) - 6)", String)


def spellings(text: str, country: str) -> tuple[str, ...]:
    """The forms in which a PBX may have written the number: as typed, bare digits, international and national; with and
    without "+"."""
    digits = _digits(text)
    person = person_of(text, country) if country and digits else ""
    bare = [text.lstrip("+"), digits, person.lstrip("+"), national_digits(text, country) if country else ""]
    return tuple(dict.fromkeys((text, *(form for each in bare if each for form in (each, f"+{each}")))))


def of_number(text: str, country: str) -> list[ColumnElement[bool]]:
    """Calls whose outside number or DID is this one, or whose outside number ends in it: one condition for each index,
    so that no calls of other numbers are read. country: of the project; "" takes the text as it is."""
    written = spellings(text, country)
    found: list[ColumnElement[bool]] = [Call.caller.in_(written), Call.dst.in_(written)]
    digits = _digits(text) if country else ""
    if digits:
        found.append(Call.person == person_of(text, country))
    if len(digits) >= _TAIL:
        found.append(and_(_TAIL_OF_PERSON.in_((digits[-_TAIL:],)), Call.person.like(f"%{digits.lstrip('0')}")))
    return found


def _digits(text: str) -> str:
    """The digits of a text that is a number; "" for any other text."""
    return re.sub(r"\D", "", text) if _NUMBER.fullmatch(text) else ""
