"""How deep JSON and the values of a call may be nested, counted the same way on every version of Python.

What is accepted is also copied, searched and written again recursively; the interpreter's own limit differs between
versions, and is no answer to whoever sent the document.
"""

import json
from collections.abc import Iterable
from typing import Any

DEEPEST = 100  # levels


class TooDeepError(ValueError):
    """JSON nested beyond DEEPEST."""


def read_any_json(text: str | bytes) -> Any:
    """What a receiver or a person wrote, with no other limit than DEEPEST. Raises ValueError: TooDeepError, or not
    JSON."""
    try:
        document = json.loads(text)
    except RecursionError:  # far beyond the limit; how far differs between versions of Python
        raise TooDeepError from None
    if is_too_deep(document):
        raise TooDeepError
    return document


def is_too_deep(document: Any) -> bool:
    """Whether it is nested beyond DEEPEST."""
    level = [document]
    for _ in range(DEEPEST):
        level = [item for value in level for item in _inside(value)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
