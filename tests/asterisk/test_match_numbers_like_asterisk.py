"""A rule for numbers means what it means in the dialplan of a real Asterisk."""

import random

import pytest

from pbxhub.steering.number_rules import NUMBER, Rules, wrong_rules
from pbxhub.testing.pbx.asterisk import Asterisk
from tests.support.number_rules import a_match_of, asterisk_matches

pytestmark = pytest.mark.asterisk
RULES = (
    "101", "+380441234567", "#31", "_1XX", "_1xx", "_[2-5]ZN.", "_+380X.", "_9!", "_9.", "_*8", "_*21*X.", "_[13-57]X",
    "_+.", "_X.", "_+X.", "_XXX", "_38044!", "_+38044.", "_#31X.", "_Z[0-24]!", "_8*", "_[7]",
)  # fmt: skip


def test_a_rule_takes_the_numbers_that_the_dialplan_of_asterisk_takes(pbx: Asterisk) -> None:
    dice = random.Random(5)
    made = [rule for rule in (made_pattern(dice) for _ in range(80)) if not wrong_rules([rule])]
    assert wrong_rules(RULES) == []
    assert len(made) > 60
    for index, rule in enumerate([*RULES, *made]):
        pbx.cli(f"dialplan add extension {rule},1,NoOp into rules{index}")
        for number in numbers_around(a_match_of(rule) if rule.startswith("_") else rule, dice):
            allowed = Rules((rule,)).refuses(number) == ""
            assert allowed == asterisk_matches(rule, number) == takes(pbx, f"rules{index}", number), (rule, number)


def takes(pbx: Asterisk, context: str, number: str) -> bool:
    return "=>" in pbx.cli(f"dialplan show {number}@{context}", check=False)


def made_pattern(dice: random.Random) -> str:
    letters = [*"0123456789*#XZNxzn", "[2-5]", "[147]", "[0-24-6]"]
    return (
        "_" + dice.choice(["", "+"]) + "".join(dice.choices(letters, k=dice.randrange(6))) + dice.choice(["", ".", "!"])
    )


def numbers_around(meant: str, dice: random.Random) -> list[str]:
    """What the rule means, and numbers beside it: one key less, one more, one other."""
    found = {meant, meant[:-1], meant + dice.choice("0123456789*#"), "+" + meant.removeprefix("+")}
    for _ in range(6):
        place = dice.randrange(len(meant))
        found.add(meant[:place] + dice.choice("0123456789*#") + meant[place + 1 :])
    return sorted(number for number in found if NUMBER.fullmatch(number))
