"""The dialplan contexts in which calls from outside arrive: the usual ones, or those that were set for a PBX."""

import re
from collections.abc import Collection

DEFAULT_INCOMING_CONTEXTS = (
    "from-trunk*", "from-pstn*", "from-did-direct*", "from-external*", "from-digital*", "from-analog*",
    "SIP-TRUNK-*-incoming",
)  # fmt: skip
"""Used by FreePBX, by products built on it, and in Asterisk's examples."""

_MOST = 1000  # contexts remembered; a PBX has some dozens


class IncomingContexts:
    """Tells whether a context is an incoming one. A pattern matches whole names; `*` stands for any text."""

    def __init__(self, patterns: Collection[str]) -> None:
        self._pattern = re.compile("|".join(map(_expression, patterns)) or r"(?!)")
        self._results: dict[str, bool] = {}

    def __contains__(self, context: str) -> bool:
        result = self._results.get(context)
        if result is None:
            result = self._pattern.fullmatch(context) is not None
            if len(self._results) < _MOST:
                self._results[context] = result
        return result


def _expression(pattern: str) -> str:
    """Searches for each part once, after the previous part. Without this (?>), a pattern with many stars could block
    the listener of all PBXs for years."""
    first, *parts = map(re.escape, pattern.split("*"))
    return first + "".join(f"(?>.*?{part})" for part in parts[:-1]) + "".join(f".*{part}" for part in parts[-1:])
