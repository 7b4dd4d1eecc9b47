"""Reads JSON from outside: every request body, import, typed event and plan for a call, with the same limits.

Accepted JSON can be processed recursively, written again, and stored by both databases: PostgreSQL rejects U+0000, both
reject an unpaired surrogate, and JSON has no NaN.
"""

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from pbxhub.json_depth import DEEPEST, is_too_deep
from pbxhub.translatable import Sentence, say

DIGITS_MAX = 100  # of one number, including its point and exponent


class UnreadableError(ValueError):
    """The JSON cannot be accepted. path: the field at fault, "" for the document. sentence: for the sender."""

    def __init__(self, path: str, sentence: Sentence) -> None:
        super().__init__(f"{path}: {sentence}" if path else sentence)
        self.path = path
        self.sentence = sentence


def read_json(body: bytes) -> Any:
    """The document in a body. Raises UnreadableError: not JSON in UTF-8 (RFC 8259), or beyond the limits above."""
    try:
        text = body.decode("utf-8-sig")
        document = json.loads(
            text, object_pairs_hook=_once, parse_int=_integer, parse_float=_float, parse_constant=_constant
        )
    except UnreadableError:
        raise
    except UnicodeDecodeError:
        _refuse(say("This is not JSON: the text is not UTF-8."))
    except json.JSONDecodeError as error:
        _refuse(say("This is not JSON: see line %(line)s, column %(column)s.", line=error.lineno, column=error.colno))
    except RecursionError:
        _refuse(_too_deep())
    if is_too_deep(document):
        _refuse(_too_deep())
    if "\\u" in text:  # unescaped, JSON allows neither of them
        for path, letter in _unkept(document, ""):
            raise UnreadableError(path, unkept(letter))
    return document


def unkept_letter(text: str) -> str:
    """The first character of a text that a database would reject; "" when there is none."""
    if text.isascii():
        return "\0" if "\0" in text else ""
    return next((letter for letter in text if letter == "\0" or "\ud800" <= letter <= "\udfff"), "")


def unkept(letter: str) -> Sentence:
    """The sentence about such a character."""
    return say("has the character U+%(code)s, which cannot be stored; delete it", code=f"{ord(letter):04X}")


def _too_deep() -> Sentence:
    return say("The JSON is nested deeper than %(most)s levels.", most=DEEPEST)


def _refuse(sentence: Sentence) -> NoReturn:
    raise UnreadableError("", sentence) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _value in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise UnreadableError(twice[:80], say("contains the same field twice"))
    return found


def _integer(text: str) -> int:
    return int(_short(text))


def _float(text: str) -> float:
    number = float(_short(text))
    if number - number != 0:  # 1e999 becomes infinite, which JSON cannot express
        _refuse(say("%(number)s is too large for a number.", number=text))
    return number


def _short(text: str) -> str:
    if len(text) > DIGITS_MAX:
        _refuse(say("A number has %(count)s digits; at most %(most)s are allowed.", count=len(text), most=DIGITS_MAX))
    return text


def _constant(text: str) -> NoReturn:
    _refuse(say("%(value)s is not valid JSON; give a number or null.", value=text))


def _unkept(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Path and character of each text or name that cannot be stored. The depth was checked before (DEEPEST)."""
    if isinstance(value, str):
        if letter := unkept_letter(value):
            yield path, letter
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unkept(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            if letter := unkept_letter(name):
                yield path, letter
            yield from _unkept(item, f"{path}.{name}" if path else name)
