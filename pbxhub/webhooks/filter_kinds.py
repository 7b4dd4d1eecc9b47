"""What every filter of a placeholder is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pbxhub.webhooks.rendering import Context

Apply = Callable[[Any, Context], Any]


class FilterError(Exception):
    """The filter does not exist or has a wrong argument."""


@dataclass(frozen=True, slots=True)
class FilterKind:
    """argument: an example of what follows the colon, for messages; "" when the filter has no argument."""

    argument: str
    build: Callable[[str], Apply]


def skipping_empty(apply: Apply) -> Apply:
    """The same, with an empty value staying empty."""
    return lambda value, context: value if value is None or value == "" else apply(value, context)


def short(value: Any) -> str:
    """A value for a message."""
    text = repr(str(value))
    return text if len(text) <= 60 else text[:59] + "…"
