"""What protects every answer: security headers, names the hub answers to, and the public address behind a proxy."""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, request

from pbxhub.settings import Network

_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def install(app: Flask, public_url: str, proxies: Sequence[Network]) -> None:
    """Puts the headers on every answer and refuses every Host but those of the public address and this machine."""
    public = urlsplit(public_url)
    app.config["TRUSTED_HOSTS"] = [str(public.hostname), "localhost", "127.0.0.1", "[::1]"]
    app.wsgi_app = _seen_from_outside(app.wsgi_app, public.scheme, proxies)  # type: ignore[assignment,method-assign]

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


def _seen_from_outside(inner: Wsgi, scheme: str, proxies: Sequence[Network]) -> Wsgi:
    """TLS ends before us: links in mails and secure cookies need the scheme browsers see, limits of sign-ins and the
    audit log the browser's address. Anybody can send X-Forwarded-For, so only a proxy of the operator's is believed."""

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ["wsgi.url_scheme"] = scheme
        if proxies:
            environ["REMOTE_ADDR"] = _nearest_stranger(environ, proxies)
        return inner(environ, start_response)

    return application


def _nearest_stranger(environ: dict[str, Any], proxies: Sequence[Network]) -> str:
    """The last address in the chain that is not one of the proxies; each of them adds whom it heard at the end."""
    heard = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
    nearest: str = environ.get("REMOTE_ADDR", "")
    while _is_among(nearest, proxies) and heard and _is_address(heard[-1].strip()):
        nearest = heard.pop().strip()
    return nearest


def _is_among(address: str, networks: Sequence[Network]) -> bool:
    return _is_address(address) and any(ipaddress.ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
