"""Header names and values: what may be sent, and why not."""

import re

from pbxhub.translatable import say

TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
RESERVED = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect"}
)
_RESERVED_PREFIXES = ("proxy-", "webhook-")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_LATIN = re.compile(r"[^\x00-\xff]")
LONGEST_NAME, LONGEST_VALUE = 200, 8192


def header_name_error(name: str) -> str:
    """Why a header of that name cannot be sent; "" when it can."""
    if not TOKEN.fullmatch(name):
        return say("is not a header name; use Latin letters, digits and -")
    if len(name) > LONGEST_NAME:
        return say(
            "is %(count)s letters long; a header name may have %(longest)s",
            count=len(name),
            longest=LONGEST_NAME,
        )
    if name.lower() in RESERVED or name.lower().startswith(_RESERVED_PREFIXES):
        return say("%(name)s is set by the hub itself and cannot be given", name=name)
    return ""


def header_value_error(value: str) -> str:
    """Why a header cannot have that value; "" when it can."""
    if bad := _FORBIDDEN.search(value):
        return say(
            "has a control character (U+%(code)s), which a header cannot carry; send it in the body",
            code=f"{ord(bad.group()):04X}",
        )
    if wide := _NOT_LATIN.search(value):
        return say(
            "has %(value)s, which a header cannot carry (latin-1 only); send it in the query or in the body",
            value=repr(wide.group()),
        )
    if len(value) > LONGEST_VALUE:
        return say(
            "is %(count)s letters long; a header may have %(longest)s",
            count=len(value),
            longest=LONGEST_VALUE,
        )
    return ""
