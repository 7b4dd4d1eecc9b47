"""Serves static/, compressed once and cached permanently: the URL of a file changes with its content.

The hub's own files share one version, because scripts import each other by relative paths: ./requests.js of app.js and
../requests.js of editor/main.js are then one URL, which a browser loads once and keeps. A vendored file has its own
version, so that a new release of the hub does not make browsers load it again.
"""

import gzip
import hashlib
from functools import cache
from pathlib import Path

from flask import Flask, Response, abort, redirect, request, send_from_directory, url_for

from pbxhub.paths import STATIC

_TEXT = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOLDER = STATIC.resolve()
_VENDORED = _FOLDER / "vendor"


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
    path = (_FOLDER / filename).resolve()
    if not path.is_relative_to(_FOLDER):
        raise FileNotFoundError(filename)
    plain = path.read_bytes()
    version = _digest(plain) if path.is_relative_to(_VENDORED) else _own_version()
    return version, plain, gzip.compress(plain, 9, mtime=0)


@cache
def _own_version() -> str:
    """The version of all files of static/ that the hub does not take from other projects."""
    own = (path for path in sorted(_FOLDER.rglob("*")) if path.is_file() and not path.is_relative_to(_VENDORED))
    return _digest(b"".join(path.read_bytes() for path in own))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
