"""Somebody says which numbers may be called: a rule matches what it matches in Asterisk, or is refused with the way
to write it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxhub.steering.number_rules import EVERY_NUMBER, EXTENSIONS, NUMBER, Rules, wrong_rules
from tests.support.number_rules import a_match_of, asterisk_matches, patterns


def refusal(rule: str) -> str:
    return " ".join(wrong.text for wrong in wrong_rules([rule]))


@pytest.mark.parametrize(
    "rule",
    ["101", "+380441234567", "#31", "_1XX", "_[2-5]ZN.", "_+380X.", "_9!", "_*8", "_*21*X.", "_[13-57]x", "_+.",
     "_" + "X" * 32, "_" + "X" * 32 + "!", *EVERY_NUMBER, *EXTENSIONS],
)  # fmt: skip
def test_a_number_or_a_pattern_of_asterisk_is_a_rule(rule: str) -> None:
    assert refusal(rule) == ""


@pytest.mark.parametrize(
    ("rule", "instead"),
    [
        ("38044*", "Write _38044. for every number that begins with 38044."),
        ("+38044*", "Write _+38044. for every number that begins with +38044."),
        ("*", "Write _X. for every number, and _+X. for every number that begins with +."),
        ("+*", "Write _X. for every number, and _+X. for every number that begins with +."),
        ("*8", "Write _*8 when * is a key that is pressed, as in the feature code _*8."),
        ("*21*101", "Write _*21*101 when * is a key that is pressed, as in the feature code _*8."),
        ("1XX", "A pattern begins with _: write _1XX."),
        ("Anna", "Write 101, +380441234567, or a pattern like _1XX."),
        ("", "This is empty. Write 101, +380441234567, or a pattern like _1XX."),
        ("1" * 33, "Write 101, +380441234567, or a pattern like _1XX."),
        ("_[9-1]", "[9-1] in _[9-1] is not a set of digits."),
        ("_1[]", "[] in _1[] is not a set of digits."),
        ("_[-]", "[-] in _[-] is not a set of digits."),
        ("_[5-", "[ in _[5- is not a set of digits."),
        ("_X.5", "Write _X. and nothing after it."),
        ("_+X!5.", "Write _+X! and nothing after it."),
        ("_", "_ is not a pattern. After _ write digits"),
        ("_+", "_+ is not a pattern. After _ write digits"),
        ("_A", "_A is not a pattern. After _ write digits"),
        ("_1,2", "_1,2 is not a pattern."),
        ("_${X}", "is not a pattern."),
        ("_1\n", "is not a pattern."),
        ("_.", "_. matches feature codes, too. Write _X. for every number"),
        ("_!", "_! matches feature codes, too. Write _X. for every number"),
        ("_" + "X" * 33, "Write up to 32 digits."),
        ("_" + "X" * 32 + ".", "Write up to 32 digits."),
    ],
)
def test_any_other_is_refused_with_what_to_write(rule: str, instead: str) -> None:
    assert instead in refusal(rule)
    assert Rules((rule,)).refuses("101"), "a refused rule that is stored somewhere allows nothing"


def test_every_rule_that_is_refused_is_named() -> None:
    assert [wrong.index for wrong in wrong_rules(["101", "1*", "_1XX", "_"])] == [1, 3]


@pytest.mark.slow
@given(patterns())
def test_a_rule_that_is_accepted_matches_a_number(rule: str) -> None:
    if refusal(rule) == "":
        number = a_match_of(rule)
        assert NUMBER.fullmatch(number)
        assert Rules((rule,)).refuses(number) == ""


@pytest.mark.slow
@given(patterns(), st.from_regex(NUMBER, fullmatch=True))
def test_a_rule_matches_what_it_matches_in_asterisk(rule: str, number: str) -> None:
    if refusal(rule) == "":
        assert (Rules((rule,)).refuses(number) == "") == asterisk_matches(rule, number)


@pytest.mark.slow
@given(st.text(alphabet="_+*#0189XZNA[]-.!", max_size=12), st.from_regex(NUMBER, fullmatch=True))
def test_a_refused_rule_allows_nothing_but_the_number_that_it_is(rule: str, number: str) -> None:
    if refusal(rule) and rule != number:
        assert Rules((rule,)).refuses(number)


@pytest.mark.parametrize(
    ("number", "country"),
    [("0900212345", "UA"), ("+380900212345", ""), ("19005551234", "US"), ("01119005551234", "US"),
     ("19005551234#", "US"), ("1900555*1234", "US"), ("1900555123499", "US"), ("+1900555123499", "UA")],
)  # fmt: skip
def test_a_premium_rate_number_is_called_only_if_it_is_listed_digit_by_digit(number: str, country: str) -> None:
    """Also with keys after it, which exchanges ignore."""
    wide = (*EVERY_NUMBER, "_0900X.", "_+1900.")
    assert "premium-rate" in Rules(wide, country=country).refuses(number)
    assert Rules((*wide, number), country=country).refuses(number) == ""


def test_other_numbers_are_not_taken_for_premium_ones() -> None:
    for number, country in (
        ("0441234567", "UA"),
        ("101", "US"),
        ("1900", "US"),
        ("+380441234567", ""),
        ("5550101", "US"),
    ):
        assert Rules(EVERY_NUMBER, country=country).refuses(number) == ""
