"""Regular expressions that users write, run by RE2: in time linear to the text, whatever the pattern.

RE2 has no look-around and no back-references: they cannot be run without backtracking, by which one pattern can keep a
process busy for years.
"""

from collections.abc import Callable

import re2

from pbxhub.translatable import Sentence, say

LONGEST_PATTERN = 1000  # characters
_MOST_MEMORY = 1 << 20  # bytes for the program of one pattern; .{1000}{1000} would fill any


def finder(pattern: str) -> Callable[[str], bool] | Sentence:
    """Whether a text has the pattern somewhere; or what is wrong with the pattern."""
    if len(pattern) > LONGEST_PATTERN:
        return say("has %(count)s characters; give at most %(most)s", count=len(pattern), most=LONGEST_PATTERN)
    options = re2.Options()
    options.log_errors, options.max_mem = False, _MOST_MEMORY
    try:
        compiled = re2.compile(pattern, options)  # type: ignore[no-untyped-call]
    except (re2.error, UnicodeEncodeError) as error:
        return say("is not a regular expression of RE2: %(why)s", why=_why(error))
    return lambda text: compiled.search(text.encode("utf-8", "replace")) is not None


def _why(error: Exception) -> str:
    why = error.args[0] if error.args else ""
    return why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
