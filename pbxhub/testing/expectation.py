"""expect(value).equals(other): assertions that read like a sentence and show both sides."""

import operator
import re
from collections.abc import Callable, Sized
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")


def expect(value: T, label: str = "") -> "Expectation[T]":
    """Begins assertions on a value; they chain: expect(answer.status).at_least(200).at_most(299).

    label: what the value is, for the message: expect(agent.state, "the caller").equals("established").
    """
    return Expectation(value, label)


class Expectation(Generic[T]):
    """The value under assertion. Every method fails with AssertionError or returns the same object.

    A value of the wrong type (contains on a number) fails, too, and the message says so.
    """

    __slots__ = ("_label", "value")

    def __init__(self, value: T, label: str = "") -> None:
        self.value = value
        self._label = label

    def equals(self, other: object) -> Self:
        """The value is equal to the other."""
        __tracebackhide__ = True
        return self._must(self.value == other, f"to equal {other!r}")

    def not_equals(self, other: object) -> Self:
        """The value differs from the other."""
        __tracebackhide__ = True
        return self._must(self.value != other, f"not to equal {other!r}")

    def is_true(self) -> Self:
        """The value is True itself."""
        __tracebackhide__ = True
        return self._must(self.value is True, "to be True")

    def is_false(self) -> Self:
        """The value is False itself."""
        __tracebackhide__ = True
        return self._must(self.value is False, "to be False")

    def is_present(self) -> Self:
        """The value is not None: a header that was received, a key that exists."""
        __tracebackhide__ = True
        return self._must(self.value is not None, "to be present")

    def is_absent(self) -> Self:
        """The value is None."""
        __tracebackhide__ = True
        return self._must(self.value is None, "to be absent")

    def is_empty(self) -> Self:
        """The text, list or object has nothing in it."""
        __tracebackhide__ = True
        return self._must(isinstance(self.value, Sized) and len(self.value) == 0, "to be empty")

    def is_not_empty(self) -> Self:
        """The text, list or object has something in it."""
        __tracebackhide__ = True
        return self._must(isinstance(self.value, Sized) and len(self.value) > 0, "not to be empty")

    def contains(self, part: object) -> Self:
        """The text has the part in it, the list has the member, the object has the key."""
        __tracebackhide__ = True
        return self._must(_has(self.value, part), f"to contain {part!r}")

    def not_contains(self, part: object) -> Self:
        """The opposite of contains; the value must be something that could contain."""
        __tracebackhide__ = True
        return self._must(
            hasattr(self.value, "__contains__") and not _has(self.value, part), f"not to contain {part!r}"
        )

    def matches(self, pattern: str) -> Self:
        """The regular expression is found somewhere in the text; anchor it with ^ and $ for all of it."""
        __tracebackhide__ = True
        found = isinstance(self.value, str) and re.search(pattern, self.value) is not None
        return self._must(found, f"to match {pattern!r}")

    def at_least(self, bound: Any) -> Self:
        """The value is the bound or more."""
        __tracebackhide__ = True
        return self._must(_compare(operator.ge, self.value, bound), f"to be at least {bound!r}")

    def at_most(self, bound: Any) -> Self:
        """The value is the bound or less."""
        __tracebackhide__ = True
        return self._must(_compare(operator.le, self.value, bound), f"to be at most {bound!r}")

    def greater_than(self, bound: Any) -> Self:
        """The value is more than the bound."""
        __tracebackhide__ = True
        return self._must(_compare(operator.gt, self.value, bound), f"to be greater than {bound!r}")

    def less_than(self, bound: Any) -> Self:
        """The value is less than the bound."""
        __tracebackhide__ = True
        return self._must(_compare(operator.lt, self.value, bound), f"to be less than {bound!r}")

    def _must(self, holds: bool, wish: str) -> Self:
        __tracebackhide__ = True
        if not holds:
            subject = f"{self._label}: " if self._label else ""
            raise AssertionError(f"{subject}expected {wish}, got {self.value!r}")
        return self

    def __repr__(self) -> str:
        return f"expect({self.value!r})"


def _has(value: Any, part: object) -> bool:
    try:
        return part in value
    except TypeError:
        return False


def _compare(operation: Callable[[Any, Any], bool], value: Any, bound: Any) -> bool:
    try:
        return bool(operation(value, bound))
    except TypeError:
        return False
