"""Which numbers may be called: the rules of a PBX's dial plan, and of the numbers that a webhook's answer may call.

Both use the notation of extensions in Asterisk's dialplan, because PBX administrators know it and can copy rules from
extensions.conf:

    101  +380441234567     this number
    _1XX  _380[3-9]X.      a pattern: X is 0-9, Z 1-9, N 2-9, [3-9] one of these; at the end . is one key or more,
                           ! none or more
    _*8  _*21*X.           a feature code, written as a pattern

Asterisk also accepts *8 without _, but in this API * once meant "and anything after it". A rule with * and without _
could mean either, so it is refused. So is a pattern that matches no number.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pbxhub.translatable import Sentence, say, with_advice

LONGEST_NUMBER = 32  # keys
MOST_RULES = 200
NUMBER = re.compile(r"\+?[0-9*#]{1,32}")
EVERY_NUMBER = ("_X.", "_+X.")
"""Numbers of two digits or more, with or without +; no feature codes, no premium-rate numbers."""
EXTENSIONS = ("_XXX", "_XXXX")
"""Numbers of three or four digits: calls that cost nothing."""

_PREMIUM_RATE = 4  # of phonenumbers.PhoneNumberType
_SEPARATORS = str.maketrans("", "", " -().\u00a0")
_PATTERN = re.compile(r"_(\+?)((?:[0-9*#XZNxzn]|\[[0-9\-]{1,20}\])*)([.!]?)")
_POSITION = re.compile(r"\[[^\]]*\]|.")
_LETTERS = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]"}
_CLASS = re.compile(r"\[(?:[0-9](?:-[0-9])?)+\]")
_REST = {"": "", ".": "[0-9*#]+", "!": "[0-9*#]*"}


@dataclass(frozen=True, slots=True)
class WrongRule:
    """A rejected rule. sentence: what is wrong. remedy: what to write instead."""

    index: int
    sentence: Sentence
    remedy: Sentence

    @property
    def text(self) -> Sentence:
        """Both in one line."""
        return with_advice(self.sentence, self.remedy)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a program may do with a call.

    numbers: rules as above. contexts: those that `goto` may choose. own: this call's own numbers, which must not be
    dialled because the call would loop. country: ISO 3166, to recognise premium-rate numbers.
    """

    numbers: tuple[str, ...] = EXTENSIONS
    contexts: tuple[str, ...] = ()
    own: frozenset[str] = frozenset()
    country: str = ""

    def refuses(self, number: str) -> str:
        """Why a number may not be called; "" when it may. A premium-rate number must be listed digit by digit; a
        pattern that matches it is not enough."""
        if not NUMBER.fullmatch(number):
            return say("is not a phone number")
        if number in self.own:
            return say("this call came in on %(number)s: that would be a loop", number=number)
        if number in self.numbers:
            return ""
        if not any(_compiled(pattern).fullmatch(number) for pattern in self.numbers if pattern.startswith("_")):
            return say("%(number)s is not among the numbers that may be called", number=number)
        if _is_premium(number, self.country):
            return say("%(number)s is a premium-rate number, which must be listed digit by digit", number=number)
        return ""


def plain_number(text: str) -> str:
    """A number as Asterisk dials it, from how people write it: "+38 (044) 123-45-67". Other text is unchanged."""
    stripped = text.translate(_SEPARATORS)
    return stripped if NUMBER.fullmatch(stripped) else text


def wrong_rules(rules: Sequence[str]) -> list[WrongRule]:
    """Every rule that is rejected."""
    found = [_check_pattern(rule) if rule.startswith("_") else _check_literal(rule) for rule in rules]
    return [WrongRule(index, *wrong) for index, wrong in enumerate(found) if wrong]


def _check_literal(rule: str) -> tuple[Sentence, Sentence] | None:
    if "*" in rule:
        return say("%(rule)s has a * but no _ before it.", rule=rule), _write_for_star(rule)
    if NUMBER.fullmatch(rule):
        return None
    wrong = say("%(rule)s is not a number.", rule=rule) if rule.strip() else say("This is empty.")
    if rule and not _check_pattern(f"_{rule}"):
        return wrong, say("A pattern begins with _: write _%(rule)s.", rule=rule)
    return wrong, say("Write 101, +380441234567, or a pattern like _1XX.")


def _write_for_star(rule: str) -> Sentence:
    beginning = rule.rstrip("*")
    if beginning in ("", "+"):
        return _ALL
    if NUMBER.fullmatch(beginning) and "*" not in beginning:
        return say("Write _%(begins)s. for every number that begins with %(begins)s.", begins=beginning)
    return say("Write _%(rule)s when * is a key that is pressed, as in the feature code _*8.", rule=rule)


def _check_pattern(rule: str) -> tuple[Sentence, Sentence] | None:
    parts = _POSITION.findall(rule[1:].removeprefix("+"))
    ended = next((index for index, part in enumerate(parts[:-1]) if part in ".!"), None)
    if ended is not None:
        begins = "_" + "+" * rule.startswith("_+") + "".join(parts[: ended + 1])
        return say("%(rule)s has characters after its end, . or !.", rule=rule), say(
            "Write %(begins)s and nothing after it.", begins=begins
        )
    for part in parts:
        if part.startswith("[") and not _is_class(part):
            return say("%(part)s in %(rule)s is not a set of digits.", part=part, rule=rule), _BRACKETS
    if rule in ("_.", "_!"):
        return say("%(rule)s matches feature codes, too.", rule=rule), _ALL
    if not _PATTERN.fullmatch(rule) or rule in ("_", "_+"):
        return say("%(rule)s is not a pattern.", rule=rule), _POSITIONS
    if len(parts) - (parts[-1] == "!") > LONGEST_NUMBER:
        return say("%(rule)s is longer than any number.", rule=rule), say(
            "Write up to %(most)s digits.", most=LONGEST_NUMBER
        )
    return None


_ALL = say("Write _X. for every number, and _+X. for every number that begins with +.")
_BRACKETS = say("Between brackets write digits, or ranges from the lower to the higher: [1-5], [137], [1-35].")
_POSITIONS = say("After _ write digits, X (0-9), Z (1-9), N (2-9), [1-5], and . at the end for any more.")


def _is_class(part: str) -> bool:
    """Whether [...] contains only digits and ascending ranges."""
    falls = any(low > high for low, high in re.findall("([0-9])-([0-9])", part))
    return bool(_CLASS.fullmatch(part)) and not falls


@lru_cache(maxsize=10_000)
def _compiled(pattern: str) -> re.Pattern[str]:
    """The expression of an accepted rule; a rejected rule matches nothing."""
    match = _PATTERN.fullmatch(pattern)
    if not match or _check_pattern(pattern):
        return re.compile(r"(?!)")
    plus, positions, rest = match.groups()
    parts = (
        _LETTERS.get(part.upper(), part if part.startswith("[") else re.escape(part))
        for part in _POSITION.findall(positions)
    )
    return re.compile(re.escape(plus) + "".join(parts) + _REST[rest])


@lru_cache(maxsize=10_000)
def _is_premium(number: str, country: str) -> bool:
    """Whether numbering plans list it as premium-rate. Exchanges ignore keys after a complete number, so a premium-rate
    number followed by more digits, * or # is one, too."""
    digits = re.sub("[*#]", "", number)
    found = _kind(digits, country)
    ends = range(len(digits) - 1, 3, -1) if found is None else ()
    return _PREMIUM_RATE in (found, *(_kind(digits[:end], country) for end in ends))


def _kind(number: str, country: str) -> int | None:
    """The type of the number; None when it is not a complete number of any numbering plan."""
    import phonenumbers  # commands that place no call start without the numbering plans of the world

    try:
        parsed = phonenumbers.parse(number, country or None)
    except phonenumbers.NumberParseException:
        return None
    return int(phonenumbers.number_type(parsed)) if phonenumbers.is_valid_number(parsed) else None
