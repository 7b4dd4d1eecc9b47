"""Rate limits per key, reported in every answer: RateLimit-Limit, -Remaining, -Reset; Retry-After when exceeded."""

from flask import Flask, g, request
from flask_limiter import Limiter

from pbxhub.account.guess_delays import network_of
from pbxhub.account.tokens import hash_of

LIMIT = "600 per minute"
STRANGERS = "60 per minute"


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
        storage_uri="memory://",
        application_limits=[lambda: api.config["API_RATE"] if _has_key() else STRANGERS],
        application_limits_per_method=False,
    )


def _has_key() -> bool:
    return bool(request.headers.get("X-API-KEY"))


def _who() -> str:
    key = request.headers.get("X-API-KEY", "")
    g.rate_key = hash_of(key) if key else network_of(request.remote_addr or "")
    return str(g.rate_key)
