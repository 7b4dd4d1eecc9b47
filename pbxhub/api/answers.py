"""What answers have in common: pages by key, ETags, security headers."""

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from flask import Flask, Response, json, request

from pbxhub.api.problems import refuse

MOST = 200
T = TypeVar("T")


def install(api: Flask) -> None:
    @api.after_request
    def headers(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers.setdefault("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        response.headers.setdefault("Cache-Control", "no-store")
        if response.status_code not in (429, 503):
            response.headers.pop("Retry-After", None)
        if reset := response.headers.get("RateLimit-Reset"):  # told as a moment; the field is seconds from now
            response.headers["RateLimit-Reset"] = str(max(0, int(reset) - int(time.time())))
        return response


def page(rows: Sequence[T], limit: int, key: Callable[[T], object]) -> dict[str, Any]:
    """Rows of one page (asked for limit + 1 of them) and the key of the next one, null on the last page."""
    shown = list(rows[:limit])
    return {"items": shown, "next": str(key(shown[-1])) if len(rows) > limit else None}


def etag_of(data: Mapping[str, Any], live: Collection[str] = ()) -> str:
    """The version of a resource as it was shown: of what can be changed, and behind a dash of what changes by itself.

    live: the names of the latter. A PBX that is heard every second must not make every change of its settings late.
    """
    settings = _settings(data, live)
    return f"{settings}-{_digest({name: data[name] for name in live})}" if live else settings


def _settings(data: Mapping[str, Any], live: Collection[str]) -> str:
    return _digest({name: value for name, value in data.items() if name not in live})


def _digest(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def tagged(data: Mapping[str, Any], status: int = 200, live: Collection[str] = ()) -> Response:
    """A resource, dumped already, with its ETag; 304 when the asker has it already."""
    tag = etag_of(data, live)
    headers = {"ETag": f'"{tag}"'}
    if request.method == "GET" and tag in request.if_none_match:
        return Response(status=304, headers=headers)
    return Response(json.dumps(data), status, headers, content_type="application/json")


def check_match(data: Mapping[str, Any], live: Collection[str] = ()) -> None:
    """Refuses a change of something that is no longer as the asker saw it (If-Match)."""
    if not request.headers.get("If-Match"):
        refuse(428, "Send If-Match with the ETag you got, so that nobody's change is overwritten unseen.")
    check_if_match(data, live)


def check_if_match(data: Mapping[str, Any], live: Collection[str] = ()) -> None:
    """The same where If-Match may be left out: to delete something, whatever it has become, is a wish, too."""
    seen = {tag.partition("-")[0] for tag in request.if_match.as_set(include_weak=True)}
    if request.headers.get("If-Match") and not request.if_match.star_tag and _settings(data, live) not in seen:
        refuse(412, "It was changed meanwhile. Read it again, then send your change.")
