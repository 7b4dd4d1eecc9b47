"""Checks header names and values."""

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
    """Why a header of this name cannot be sent; "" when it can."""
    if not TOKEN.fullmatch(name):
        return say("is not a valid header name; use Latin letters, digits and -")
    if len(name) > LONGEST_NAME:
        return say(
            "has %(count)s characters; a header name may have %(longest)s",
            count=len(name),
            longest=LONGEST_NAME,
        )
    if name.lower() in RESERVED or name.lower().startswith(_RESERVED_PREFIXES):
        return say("%(name)s is set by the hub and cannot be changed", name=name)
    return ""


def header_value_error(value: str) -> str:
    """Why a header cannot have this value; "" when it can."""
    if bad := _FORBIDDEN.search(value):
        return say(
            "has a control character (U+%(code)s), which is not allowed in a header; send it in the body",
            code=f"{ord(bad.group()):04X}",
        )
    if wide := _NOT_LATIN.search(value):
        return say(
            "has %(value)s, which is not allowed in a header (latin-1 only); send it in the query or in the body",
            value=repr(wide.group()),
        )
    if len(value) > LONGEST_VALUE:
        return say(
            "has %(count)s characters; a header may have %(longest)s",
            count=len(value),
            longest=LONGEST_VALUE,
        )
    return ""
