"""Serves static/, compressed once and cached permanently: the URL of a file changes with its content."""

import gzip
import hashlib
from functools import cache
from pathlib import Path

from flask import Flask, Response, abort, redirect, request, send_from_directory, url_for

from pbxhub.paths import STATIC

_TEXT = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def install(app: Flask) -> None:
    """Serves /static/<version>/<path>; templates write asset('app.css')."""
    app.add_url_rule("/static/<version>/<path:filename>", "static", _send)
    app.add_url_rule("/favicon.ico", "favicon", lambda: redirect(asset("logo.svg")))
    app.jinja_env.globals["asset"] = asset


def asset(filename: str) -> str:
    """The URL of a file in static/."""
    return url_for("static", version=_read(filename)[0], filename=filename)


def _send(version: str, filename: str) -> Response:
    if Path(filename).suffix not in _TEXT:
        return send_from_directory(STATIC, filename)
    try:
        current, plain, packed = _read(filename)
    except OSError:
        abort(404)
    response = Response(plain, mimetype=_TEXT[Path(filename).suffix])
    if request.accept_encodings["gzip"]:
        response = Response(packed, mimetype=_TEXT[Path(filename).suffix], headers={"Content-Encoding": "gzip"})
    response.headers["Vary"] = "Accept-Encoding"
    fresh = version == current
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if fresh else "no-cache"
    return response


@cache
def _read(filename: str) -> tuple[str, bytes, bytes]:
    """Version, plain and compressed content. Raises OSError for a file that is not in static/."""
    path = (STATIC / filename).resolve()
    if not path.is_relative_to(STATIC.resolve()):
        raise FileNotFoundError(filename)
    plain = path.read_bytes()
    return hashlib.sha256(plain).hexdigest()[:12], plain, gzip.compress(plain, 9, mtime=0)
