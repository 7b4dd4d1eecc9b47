"""Writes times in requests: in the webhook's format and the project's time zone."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from email.utils import format_datetime

from pbxhub.translatable import say
from pbxhub.webhooks.spec import DateFormat

Write = Callable[[datetime, tzinfo], str | int]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_KNOWN = frozenset("aAbBdfHIjmMpSuUVwWGyYzZ%")
LONGEST_PATTERN = 200


def local(moment: datetime, zone: tzinfo) -> datetime:
    """The time in this time zone."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(zone)


def microseconds(moment: datetime) -> int:
    """Microseconds since 1970, exact."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND


def standard(moment: datetime, zone: tzinfo) -> str:
    return local(moment, zone).isoformat(" ", "seconds")[:19]


def iso(moment: datetime, zone: tzinfo) -> str:
    return local(moment, zone).isoformat("T", "seconds")


def iso_utc(moment: datetime, zone: tzinfo) -> str:
    return local(moment, UTC).isoformat("T", "seconds")[:19] + "Z"


def rfc2822(moment: datetime, zone: tzinfo) -> str:
    return format_datetime(local(moment, zone))


def unix(moment: datetime, zone: tzinfo) -> int:
    return microseconds(moment) // 1_000_000


def unix_ms(moment: datetime, zone: tzinfo) -> int:
    return microseconds(moment) // 1000


def unix_us(moment: datetime, zone: tzinfo) -> int:
    return microseconds(moment)


def pattern(text: str) -> Write:
    """Formats times by a strftime pattern that pattern_error has accepted."""
    return lambda moment, zone: local(moment, zone).strftime(text)


def pattern_error(text: str) -> str:
    """Why a text is not a date pattern; "" when it is. Refuses widths and flags: %1000000d would fill the memory."""
    if not text.strip():
        return say("the date pattern is empty; write it like %d.%m.%Y %H:%M")
    if len(text) > LONGEST_PATTERN:
        return say(
            "the date pattern has %(count)s characters; it may have %(longest)s",
            count=len(text),
            longest=LONGEST_PATTERN,
        )
    for match in _DIRECTIVE.finditer(text):
        if match.group(1) not in _KNOWN or not match.group(1):
            return say(
                "%(value)s is not allowed in a date pattern; use %%%(known)s",
                value=match.group(),
                known=" %".join(sorted(_KNOWN)),
            )
    return ""


_FORMATS: dict[str, Write] = {
    "standard": standard,
    "iso": iso,
    "iso_utc": iso_utc,
    "dotted": pattern("%d.%m.%Y %H:%M:%S"),
    "us": pattern("%m/%d/%Y %I:%M:%S %p"),
    "rfc2822": rfc2822,
    "unix": unix,
    "unix_ms": unix_ms,
}


def writer(date_format: DateFormat, date_pattern: str) -> Write:
    """The function that writes times for a webhook."""
    return pattern(date_pattern) if date_format == "pattern" else _FORMATS[date_format]
