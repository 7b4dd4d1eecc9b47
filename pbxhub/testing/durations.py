"""How long: "250ms", "10s", "2m" or a number of seconds."""

import re

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m)")


def seconds(duration: str | float) -> float:
    """The duration in seconds. Raises ValueError that names the units when it is not one."""
    if isinstance(duration, int | float):
        if not 0 <= duration < float("inf"):
            raise ValueError(f"{duration!r} is not a duration: give a number of seconds from 0 up")
        return float(duration)
    found = _DURATION.fullmatch(duration.strip())
    if not found:
        raise ValueError(f'{duration!r} is not a duration: give "250ms", "10s", "2m" or a number of seconds')
    return float(found[1]) * _UNITS[found[2]]


def limit(duration: str | float) -> float:
    """A time limit in seconds: a duration that is not 0, which would mean "at once" to some and "never" to others."""
    length = seconds(duration)
    if not length:
        raise ValueError(f'{duration!r} is no limit: give more than 0, "10s" for example')
    return length
