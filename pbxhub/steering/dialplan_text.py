"""What may stand in an Asterisk dialplan: plain names, and texts without a second meaning.

Asterisk reads `,` as the next argument, `&` as one more destination, `@` as a context, `;` as a comment, `${` and `$[`
as something to evaluate. Numbers and names may hold none of them; texts are percent-encoded where they do.
"""

import re

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,79}")  # of a context, a queue, a music class
EXTENSION = re.compile(r"[0-9A-Za-z_-]{1,40}")
SOUND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}(/[A-Za-z0-9_][A-Za-z0-9_\-]{0,79}){0,5}")
MAILBOX = re.compile(r"[0-9]{1,20}(@[A-Za-z0-9_\-]{1,40})?")
VARIABLE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,59}")
_QUOTED = re.compile(r"[\x00-\x1f\x7f%,&@;$\"\\|()\[\]{}<>\u0085\u2028\u2029\ud800-\udfff]")


def is_quoted(text: str) -> bool:
    """Whether quote() would change nothing."""
    return not _QUOTED.search(text)


def quote(text: str) -> str:
    """The text with everything a dialplan could take for more than text as %XX of its UTF-8.

    `${URIDECODE(${NAME})}` gives the original back. Letters of any alphabet, digits and spaces stay.
    """
    return _QUOTED.sub(_percent, text)


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode("utf-8", "replace"))
