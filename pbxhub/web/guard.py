"""What protects every answer: security headers, names the hub answers to, and the public address behind a proxy."""

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, request

_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def install(app: Flask, public_url: str) -> None:
    """Puts the headers on every answer and refuses every Host but those of the public address and this machine."""
    public = urlsplit(public_url)
    app.config["TRUSTED_HOSTS"] = [str(public.hostname), "localhost", "127.0.0.1", "[::1]"]
    app.wsgi_app = _seen_from_outside(app.wsgi_app, public.scheme)  # type: ignore[assignment,method-assign]

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


def _seen_from_outside(inner: Wsgi, scheme: str) -> Wsgi:
    """TLS ends before us; links in mails and secure cookies need the scheme browsers see."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.url_scheme"] = scheme
        return inner(environ, start_response)

    return application
