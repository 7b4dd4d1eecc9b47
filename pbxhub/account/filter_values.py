"""What the fields of a list's filter may say: the lists read them so, and a filter is saved only if its list can."""

from collections.abc import Container, Mapping
from datetime import datetime, timedelta

from pbxhub.sending.outcomes import OUTCOMES
from pbxhub.store.delivery_rows import STATES
from pbxhub.store.history import RESULTS
from pbxhub.webhooks.catalogue import STAGES

RANGES = {
    "15m": timedelta(minutes=15), "1h": timedelta(hours=1), "24h": timedelta(hours=24), "7d": timedelta(days=7),
    "30d": timedelta(days=30),
}  # fmt: skip
DIRECTIONS = ("incoming", "outgoing", "internal")
RECORDED = ("yes", "no")
SECONDS = range(1_000_000)
WEBHOOKS = range(1, 2**31)
STATUSES = (0, *range(100, 1000))
_CHOICES: Mapping[str, Container[str]] = {
    "direction": DIRECTIONS, "result": RESULTS, "recorded": RECORDED, "last": RANGES, "state": STATES,
    "stage": STAGES, "outcome": OUTCOMES,
}  # fmt: skip
_NUMBERS: Mapping[str, Container[int]] = {
    "talk_from": SECONDS, "talk_to": SECONDS, "webhook": WEBHOOKS, "code": STATUSES,
}  # fmt: skip
_YEARS = range(1970, 9999)  # the range that ids, both databases and every time zone support


def number_in(text: str, allowed: Container[int]) -> int | None:
    """The number in a text; None if it is none of those allowed."""
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) not in allowed:
        return None
    return int(text)


def moment_in(text: str, *, aware: bool) -> datetime | None:
    """The time in a text, None for none. aware: it has an offset, whose "+" may come as a space."""
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+") if aware else text)
    except ValueError:
        return None
    return moment if moment.year in _YEARS and (moment.tzinfo is not None) == aware else None


def is_readable(name: str, text: str) -> bool:
    """Whether a list can read this value of its field; whatever is not listed above is a text."""
    if name in _CHOICES:
        return text in _CHOICES[name]
    if name in _NUMBERS:
        return number_in(text, _NUMBERS[name]) is not None
    return name not in ("from", "to", "hour") or moment_in(text, aware=name == "hour") is not None
