"""The dialplan contexts in which calls from outside arrive: what an operator must set of a PBX."""

import re
from collections.abc import Collection

DEFAULT_INCOMING_CONTEXTS = (
    "from-trunk*", "from-pstn*", "from-did-direct*", "from-external*", "from-digital*", "from-analog*",
    "SIP-TRUNK-*-incoming",
)  # fmt: skip
"""The names of FreePBX, of boxes built on it and of plain Asterisk examples."""

_MOST = 1000  # contexts remembered; a PBX has some dozens


class IncomingContexts:
    """Tells whether a context is an incoming one. A pattern matches whole names; `*` stands for any text."""

    def __init__(self, patterns: Collection[str]) -> None:
        choices = (".*".join(re.escape(part) for part in pattern.split("*")) for pattern in patterns)
        self._pattern = re.compile("|".join(choices) or r"(?!)")
        self._results: dict[str, bool] = {}

    def __contains__(self, context: str) -> bool:
        result = self._results.get(context)
        if result is None:
            result = self._pattern.fullmatch(context) is not None
            if len(self._results) < _MOST:
                self._results[context] = result
        return result
