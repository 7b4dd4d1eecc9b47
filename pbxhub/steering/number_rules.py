"""What may reach an Asterisk dialplan: numbers the user has allowed, plain names, and texts without a second meaning.

Asterisk reads `,` as the next argument, `&` as one more destination, `@` as a context, `;` as a comment, `${` and `$[`
as something to evaluate. Numbers and names may hold none of them; texts are percent-encoded where they do.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers

from pbxhub.translatable import say

NUMBER = re.compile(r"\+?[0-9*#]{1,32}")
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}")  # of a context, a queue, a music class
SOUND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}(/[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}){0,5}")
MAILBOX = re.compile(r"[0-9]{1,20}(@[A-Za-z0-9_\-]{1,40})?")
VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
DEFAULT_NUMBERS = ("_XXX", "_XXXX")
"""Extensions of three and four digits: nothing that costs money."""

_QUOTED = re.compile(r"[\x00-\x1f\x7f%,&@;$\"\\|()\[\]{}<>\u0085\u2028\u2029\ud800-\udfff]")
_SEPARATORS = str.maketrans("", "", " -().\u00a0")
_PATTERN = re.compile(r"_(\+?)((?:[0-9*#XZNxzn]|\[[0-9\-]{1,20}\])*)([.!]?)")
_CLASSES = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]"}


@dataclass(frozen=True, slots=True)
class Rules:
    """What an answer may do with this call.

    numbers: Asterisk's own notation, "101" or "_1XX" or "_380X.". contexts: those `goto` may choose.
    own: numbers of this call itself, where dialling would be a loop. country: ISO 3166, to know premium numbers.
    """

    numbers: tuple[str, ...] = DEFAULT_NUMBERS
    contexts: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    country: str = ""

    def refuses(self, number: str) -> str:
        """Why a number may not be dialled; "" when it may."""
        if not NUMBER.fullmatch(number):
            return say("is not a phone number")
        if number in self.own:
            return say("%(number)s is where this call came in: that would be a loop", number=number)
        if number in self.numbers:
            return ""
        if not any(_compiled(pattern).fullmatch(number) for pattern in self.numbers if pattern.startswith("_")):
            return say("%(number)s is not among the numbers this webhook may call", number=number)
        return say("%(number)s is a premium-rate number", number=number) if _is_premium(number, self.country) else ""


def plain_number(text: str) -> str:
    """A number as people write it, "+38 (044) 123-45-67", as Asterisk dials it. Everything else stays as it is."""
    stripped = text.translate(_SEPARATORS)
    return stripped if NUMBER.fullmatch(stripped) else text


def is_quoted(text: str) -> bool:
    """Whether quote() would change nothing."""
    return not _QUOTED.search(text)


def quote(text: str) -> str:
    """The text with everything a dialplan could take for more than text as %XX of its UTF-8.

    `${URIDECODE(${NAME})}` gives the original back. Letters of any alphabet, digits and spaces stay.
    """
    return _QUOTED.sub(_percent, text)


def pattern_error(pattern: str) -> str:
    """What is wrong with a number or a pattern of the allow-list; "" when nothing is."""
    if not pattern.startswith("_"):
        return (
            ""
            if NUMBER.fullmatch(pattern)
            else say("is not a number; write 101, +380441234567, or a pattern like _1XX")
        )
    try:
        if _PATTERN.fullmatch(pattern) and len(pattern) > 1:
            _compiled(pattern)
            return ""
    except re.error:
        pass
    return say(
        "is not a pattern; after _ write digits, X (0-9), Z (1-9), N (2-9), [1-5], and . at the end for any more"
    )


@lru_cache(maxsize=10_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    match = _PATTERN.fullmatch(pattern)
    if not match:
        return re.compile(r"(?!)")
    plus, digits, rest = match.groups()
    parts = (
        _CLASSES.get(part.upper(), part if part.startswith("[") else re.escape(part))
        for part in re.findall(r"\[[^\]]*\]|.", digits)
    )
    return re.compile(re.escape(plus) + "".join(parts) + {"": "", ".": "[0-9*#]+", "!": "[0-9*#]*"}[rest])


@lru_cache(maxsize=10_000)
def _is_premium(number: str, country: str) -> bool:
    try:
        parsed = phonenumbers.parse(number, country or None)
    except phonenumbers.NumberParseException:
        return False
    return bool(phonenumbers.number_type(parsed) == phonenumbers.PhoneNumberType.PREMIUM_RATE)


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode("utf-8", "replace"))
