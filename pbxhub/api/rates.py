"""Rate limits per key, reported in every answer: RateLimit-Limit, -Remaining, -Reset; Retry-After when exceeded."""

import threading
from typing import Any

from flask import Flask, g, request
from flask_limiter import Limiter
from limits.storage import MemoryStorage

from pbxhub.account.guess_delays import network_of
from pbxhub.account.tokens import hash_of

LIMIT = "600 per minute"
STRANGERS = "60 per minute"


class _OneAtATime(MemoryStorage):
    """The counts of this process. Two threads that count in the same moment make limits 5.8 start one timer twice: that
    is a RuntimeError, so an answer of 500. https://github.com/alisaifee/limits/pull/352 is in no release yet."""

    STORAGE_SCHEME = ["one-at-a-time"]  # noqa: RUF012

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        self._turn = threading.Lock()
        super().__init__(uri, wrap_exceptions, **options)

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        with self._turn:
            return super().incr(key, expiry, amount)


def install(api: Flask) -> None:
    """Counts in this process's memory, by key. Requests without a key count by network, with a lower limit."""
    api.config.update(
        RATELIMIT_HEADERS_ENABLED=True,
        RATELIMIT_HEADER_LIMIT="RateLimit-Limit",
        RATELIMIT_HEADER_REMAINING="RateLimit-Remaining",
        RATELIMIT_HEADER_RESET="RateLimit-Reset",
        RATELIMIT_HEADER_RETRY_AFTER_VALUE="delta-seconds",
    )
    api.config.setdefault("API_RATE", LIMIT)
    api.extensions["pbxhub.rates"] = Limiter(
        _who,
        app=api,
        storage_uri=f"{_OneAtATime.STORAGE_SCHEME[0]}://",
        application_limits=[lambda: api.config["API_RATE"] if _has_key() else STRANGERS],
        application_limits_per_method=False,
    )


def _has_key() -> bool:
    return bool(request.headers.get("X-API-KEY"))


def _who() -> str:
    key = request.headers.get("X-API-KEY", "")
    g.rate_key = hash_of(key) if key else network_of(request.remote_addr or "")
    return str(g.rate_key)
