"""Protects every answer: security headers, allowed Host names, the public address behind a proxy."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Flask, Response, request

from pbxhub.settings import Network
from pbxhub.wsgi.proxies import seen_from_outside

_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)


def install(app: Flask, public_url: str, proxies: Sequence[Network]) -> None:
    """Adds the headers to every answer; refuses every Host except the public address and this machine."""
    public = urlsplit(public_url)
    app.config["TRUSTED_HOSTS"] = [str(public.hostname), "localhost", "127.0.0.1", "[::1]"]
    app.wsgi_app = seen_from_outside(app.wsgi_app, public.scheme, proxies)  # type: ignore[assignment,method-assign]

    @app.after_request
    def headers(response: Response) -> Response:
        response.headers.setdefault("Content-Security-Policy", _POLICY)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
        response.headers["Permissions-Policy"] = "camera=(), microphone=(), geolocation=()"
        if public.scheme == "https":
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        if request.endpoint != "static" and "Cache-Control" not in response.headers:
            response.headers["Cache-Control"] = "no-store"
        return response
