"""Rules for numbers as somebody might write them, and what Asterisk makes of them."""

import re

from hypothesis import strategies as st

_PARTS = re.compile(r"\[[^\]]*\]|.")


def patterns() -> st.SearchStrategy[str]:
    """Patterns, most of them well formed, some with brackets or ends that are not."""
    digit = st.sampled_from("0123456789")
    ranges = st.lists(st.one_of(digit, st.tuples(digit, digit).map("-".join)), min_size=0, max_size=4)
    brackets = ranges.map(lambda parts: f"[{''.join(parts)}]")
    position = st.one_of(st.sampled_from("0123456789*#XZNxzn"), brackets)
    middle = st.lists(position, max_size=34).map("".join)
    return st.tuples(st.sampled_from(["", "+"]), middle, st.sampled_from(["", "", ".", "!", ".5"])).map(
        lambda parts: "_" + "".join(parts)
    )


def a_match_of(rule: str) -> str:
    """A number that a rule means, made from its letters one by one."""
    made = "".join(_first(part) for part in _PARTS.findall(rule.removeprefix("_")))
    return made if made != "+" else "+1"


def _first(part: str) -> str:
    return {"X": "0", "Z": "1", "N": "2", ".": "7", "!": ""}.get(
        part.upper(), part[1] if part.startswith("[") else part
    )


def asterisk_matches(rule: str, number: str) -> bool:
    """Whether an extension that is written so in Asterisk's dialplan takes that number: letter by letter, as Asterisk's
    documentation says. Held against a real Asterisk by tests/asterisk/test_match_numbers_like_asterisk.py."""
    if not rule.startswith("_"):
        return rule == number
    parts, rest = _PARTS.findall(rule[1:]), number
    for part in parts:
        if part == "!":
            return True
        if not rest:
            return False
        if part == ".":
            return True
        if not _takes(part, rest[0]):
            return False
        rest = rest[1:]
    return not rest


def _takes(part: str, key: str) -> bool:
    if part.startswith("["):
        inside = re.findall(r"(.)-(.)|(.)", part[1:-1])
        return any(low <= key <= high if low else key == one for low, high, one in inside)
    least = {"X": "0", "Z": "1", "N": "2"}.get(part.upper())
    return part == key if least is None else "9" >= key >= least
