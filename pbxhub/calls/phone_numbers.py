"""Numbers as Asterisk shows and dials them."""

_HIDDEN = frozenset({"anonymous", "unknown", "unavailable", "restricted", "private", "withheld"})
_TELLING = 7  # the last digits identify an outside number
_SHORTEST_OUTSIDE = 5  # digits; a shorter one is an extension or a group


def is_hidden(number: str) -> bool:
    """Whether the caller hides the number: `anonymous`, `<Unknown>`, `+private`, `x@anonymous.invalid`."""
    bare = number.strip(" <>+\"'").lower()
    user, at, host = bare.removeprefix("sip:").partition("@")
    return user in _HIDDEN or (bool(at) and host == "anonymous.invalid")


def dialled_number(dial_string: str) -> str:
    """15551234@trunk, PJSIP/15551234@trunk, trunk/15551234, PJSIP/trunk/sip:15551234@host -> 15551234"""
    user, _, host = dial_string.partition("@")
    number = user.rpartition("/")[2]
    scheme, colon, rest = number.partition(":")
    if not colon:
        return number
    if scheme.lower() == "tel" or (scheme.lower() in ("sip", "sips") and host):
        return rest.partition(";")[0]
    return host.rpartition("/")[2].partition("@")[0] if "/" in host else ""  # IAX2/user:secret@peer/15551234


def same_number(one: str, other: str) -> bool:
    """Whether both may be the same outside number, written with and without a dialling prefix."""
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) >= _SHORTEST_OUTSIDE and longer.endswith(shorter[-_TELLING:])
