"""Common parts of answers: paging by key, ETags, security headers."""

import hashlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeVar

from flask import Flask, Response, json, request

from pbxhub.api.problems import refuse

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
        if reset := response.headers.get(
            "RateLimit-Reset"
        ):  # Flask-Limiter gives a moment; the field has seconds from now
            response.headers["RateLimit-Reset"] = str(max(0, int(reset) - int(time.time())))
        return response


def page(rows: Sequence[T], limit: int, key: Callable[[T], object]) -> dict[str, Any]:
    """One page of rows (limit + 1 were read) and the key of the next page, null on the last one."""
    shown = list(rows[:limit])
    return {"items": shown, "next": str(key(shown[-1])) if len(rows) > limit else None}


def etag_of(data: Mapping[str, Any], live: Collection[str] = ()) -> str:
    """The version of a resource: of its settings and, after a dash, of its live fields.

    live: fields that change by themselves. A PBX that reports events every second must not make every change of
    its settings fail.
    """
    settings = _settings(data, live)
    return f"{settings}-{_digest({name: data[name] for name in live})}" if live else settings


def _settings(data: Mapping[str, Any], live: Collection[str]) -> str:
    return _digest({name: value for name, value in data.items() if name not in live})


def _digest(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def tagged(data: Mapping[str, Any], status: int = 200, live: Collection[str] = ()) -> Response:
    """A serialized resource with its ETag; 304 when the client has this version already."""
    tag = etag_of(data, live)
    headers = {"ETag": f'"{tag}"'}
    if request.method == "GET" and tag in request.if_none_match:
        return Response(status=304, headers=headers)
    return Response(json.dumps(data), status, headers, content_type="application/json")


def check_match(data: Mapping[str, Any], live: Collection[str] = ()) -> None:
    """Refuses a change of a resource that has changed since the client read it (If-Match)."""
    if not request.headers.get("If-Match"):
        refuse(
            428, "Send If-Match with the ETag that you received, so that you do not overwrite somebody else's change."
        )
    check_if_match(data, live)


def check_if_match(data: Mapping[str, Any], live: Collection[str] = ()) -> None:
    """The same for deletions, where If-Match is optional."""
    seen = {tag.partition("-")[0] for tag in request.if_match.as_set(include_weak=True)}
    if request.headers.get("If-Match") and not request.if_match.star_tag and _settings(data, live) not in seen:
        refuse(412, "It has been changed meanwhile. Read it again, then send your change.")
