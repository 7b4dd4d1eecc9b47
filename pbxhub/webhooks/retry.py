"""Decides when a failed attempt is retried and when it is final. Pure: the caller provides chance and time."""

from collections.abc import Iterator

from pbxhub.translatable import say
from pbxhub.webhooks.spec import FieldError, Retry
from pbxhub.webhooks.spec_json import wrong_at

MINUTE, HOUR, DAY = 60, 3600, 86_400
LONGEST_RETRY_AFTER = HOUR
LONGEST_DELAY = 7 * DAY
MOST_DELAYS = 50
JITTER = 0.1

PROFILES: dict[str, tuple[int, ...]] = {
    "none": (),
    "ringostat": (MINUTE, MINUTE, MINUTE),
    "minutes": (MINUTE, 5 * MINUTE, 15 * MINUTE),
    "fast": (2, 4, 8),
    # the schedule that the Standard Webhooks specification recommends
    "standard": (5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, DAY),
}
"""Seconds before the 2nd, 3rd … attempt."""


def delays_of(retry: Retry) -> tuple[int, ...]:
    """Seconds before each further attempt of a profile."""
    return retry.delays if retry.profile == "own" else PROFILES[retry.profile]


def next_delay(
    retry: Retry, attempts: int, retryable: bool, chance: float = 0.5, retry_after: float | None = None
) -> float | None:
    """Seconds until the next attempt after `attempts` failed ones; None when the failure is final.

    retryable: whether a later attempt may succeed (may_pass of sending/outcomes.py).
    chance: a random number from 0 to 1; varies the delay by ±10 %.
    retry_after: seconds that the receiver asked for. Honoured up to an hour; never shortens the profile's delay.
    """
    delays = delays_of(retry)
    if not retryable or not 1 <= attempts <= len(delays):
        return None
    delay = delays[attempts - 1] * (1 + JITTER * (2 * chance - 1))
    return max(delay, min(retry_after or 0.0, LONGEST_RETRY_AFTER))


def check_retry(retry: Retry) -> Iterator[FieldError]:
    """Errors in a retry profile."""
    count = len(retry.delays)
    if retry.profile != "own":
        if retry.delays:
            yield wrong_at("retry.delays", "belong to the profile “own”; delete them or choose that profile")
    elif not 1 <= count <= MOST_DELAYS:
        why = say("has %(count)s delays; give 1 to %(most)s, in seconds", count=count, most=MOST_DELAYS)
        yield FieldError("retry.delays", why)
    else:
        for index, delay in enumerate(retry.delays):
            if not 1 <= delay <= LONGEST_DELAY:
                why = say("is %(delay)s; give 1 to %(longest)s seconds", delay=delay, longest=LONGEST_DELAY)
                yield FieldError(f"retry.delays[{index}]", why)
