"""A scenario asserts with expect(); a failure shows both sides."""

import pytest

from pbxhub.testing import expect

HOLD = [
    ("equals", 200, (200,)), ("not_equals", 200, (404,)), ("is_true", True, ()), ("is_false", False, ()),
    ("is_present", "", ()), ("is_absent", None, ()), ("is_empty", [], ()), ("is_not_empty", "x", ()),
    ("contains", "voice", ("oi",)), ("contains", [1, 2], (2,)), ("contains", {"a": 1}, ("a",)),
    ("not_contains", "voice", ("x",)), ("matches", "+380441234567", (r"^\+380\d{9}$",)),
    ("at_least", 3, (3,)), ("at_most", 3, (3,)), ("greater_than", 3, (2,)), ("less_than", 3, (4,)),
]  # fmt: skip

FAIL = [
    ("equals", "ringing", ("established",), "expected to equal 'established', got 'ringing'"),
    ("not_equals", 5, (5,), "expected not to equal 5, got 5"),
    ("is_true", 1, (), "expected to be True, got 1"),
    ("is_false", None, (), "expected to be False, got None"),
    ("is_present", None, (), "expected to be present, got None"),
    ("is_absent", "x", (), "expected to be absent, got 'x'"),
    ("is_empty", [1], (), "expected to be empty, got [1]"),
    ("is_empty", 5, (), "expected to be empty, got 5"),
    ("is_not_empty", {}, (), "expected not to be empty, got {}"),
    ("contains", "voice", ("x",), "expected to contain 'x', got 'voice'"),
    ("contains", 5, ("x",), "expected to contain 'x', got 5"),
    ("not_contains", None, ("x",), "expected not to contain 'x', got None"),
    ("matches", "abc", ("^b",), "expected to match '^b', got 'abc'"),
    ("matches", None, ("b",), "expected to match 'b', got None"),
    ("at_least", 3, (4,), "expected to be at least 4, got 3"),
    ("at_least", None, (4,), "expected to be at least 4, got None"),
    ("at_most", 5, (4,), "expected to be at most 4, got 5"),
    ("greater_than", 3, (3,), "expected to be greater than 3, got 3"),
    ("less_than", "a", (3,), "expected to be less than 3, got 'a'"),
]


@pytest.mark.parametrize(("verb", "value", "arguments"), HOLD)
def test_what_holds_passes_and_chains(verb, value, arguments):
    assert getattr(expect(value), verb)(*arguments).value is value


@pytest.mark.parametrize(("verb", "value", "arguments", "message"), FAIL)
def test_what_does_not_hold_shows_both_sides(verb, value, arguments, message):
    with pytest.raises(AssertionError) as caught:
        getattr(expect(value), verb)(*arguments)
    assert str(caught.value) == message


def test_a_label_names_the_value():
    with pytest.raises(AssertionError, match=r"^the caller: expected to equal 'idle', got 'ringing'$"):
        expect("ringing", "the caller").equals("idle")


def test_every_verb_is_tried_here():
    verbs = {name for name in dir(expect(1)) if not name.startswith("_")} - {"value"}
    assert verbs == {row[0] for row in HOLD} == {row[0] for row in FAIL}
