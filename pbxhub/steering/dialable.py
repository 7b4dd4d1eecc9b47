"""Which numbers may be dialled for a program, and what may stand in a dialplan at all."""

import re
from collections.abc import Sequence

import phonenumbers

_NUMBER = re.compile(r"\+?[0-9]{2,15}")
_EXTENSION = re.compile(r"[0-9A-Za-z_-]{1,40}")
_EVERYTHING = ("*", "+*")


def number_error(number: str, allowed: Sequence[str], country: str = "") -> str:
    """What is wrong with dialling this number, "" when it may be dialled.

    allowed: of the dial plan, digits with an optional + and * at the end. A premium number must be allowed by a
    pattern that means it, not by * alone. country: ISO 3166 of the project.
    """
    if not _NUMBER.fullmatch(number):
        return "give 2 to 15 digits with an optional + before them"
    matching = [pattern for pattern in allowed if _matches(pattern, number)]
    if not matching:
        return "the dial plan of this PBX does not allow this number; an editor can add it there"
    if set(matching) <= set(_EVERYTHING) and is_premium(number, country):
        return "this is a premium number; the dial plan must name it to allow it"
    return ""


def extension_error(extension: str) -> str:
    """What is wrong with an extension, "" when nothing is."""
    return "" if _EXTENSION.fullmatch(extension) else "give an extension: digits, Latin letters, - and _"


def is_premium(number: str, country: str) -> bool:
    """Whether calling it costs extra, as far as the numbering plans tell."""
    try:
        parsed = phonenumbers.parse(number, country or None)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.PREMIUM_RATE


def _matches(pattern: str, number: str) -> bool:
    if pattern == "*":
        return True
    return number.startswith(pattern[:-1]) if pattern.endswith("*") else number == pattern
