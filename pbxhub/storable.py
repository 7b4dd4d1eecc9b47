"""Values on their way into the database: what SQLite or PostgreSQL would refuse is replaced, not lost."""

import re
from typing import Any

UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
"""Characters that PostgreSQL keeps in no text: NUL, and surrogates, which have no UTF-8."""


def storable(value: Any) -> Any:
    """The same JSON value with U+FFFD for every character that no database keeps, and null for NaN and infinity."""
    if isinstance(value, str):
        return value if value.isascii() and "\0" not in value else UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {storable(name): storable(item) for name, item in value.items()}
    if isinstance(value, float) and value - value != 0:
        return None
    return [storable(item) for item in value] if isinstance(value, list) else value


def clip(text: str, length: int) -> str:
    """A text that both databases take, cut to the length of its column."""
    cut = text[:length]
    return cut if cut.isascii() and "\0" not in cut else storable(cut)
