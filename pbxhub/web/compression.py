"""Compresses pages. Lists repeat themselves: a page of 90 KB becomes one of 8 KB.

A page contains the CSRF token of its session. Whoever can make the browser send many requests and see how long the
answers are could guess it from how well it compresses (BREACH). Browsers send the session with no such request
(SameSite=Lax), and the length of each answer is blurred by a file name of random length in the gzip header.
"""

import gzip
import io
import secrets

from flask import Flask, Response, request

_SMALLEST = 1000  # bytes; below, compressing gains nothing
_LONGEST_NAME = 100


def install(app: Flask) -> None:
    """Installed before everything else that reads the text of a response: functions of after_request run in reverse."""
    app.after_request(_compress)


def _compress(response: Response) -> Response:
    if response.mimetype not in ("text/html", "application/json") or response.is_streamed:
        return response
    response.vary.add("Accept-Encoding")
    if not request.accept_encodings["gzip"] or response.content_encoding or (response.content_length or 0) < _SMALLEST:
        return response
    response.set_data(_packed(response.get_data()))
    response.content_encoding = "gzip"
    return response


def _packed(body: bytes) -> bytes:
    packed = io.BytesIO()
    name = "a" * secrets.randbelow(_LONGEST_NAME)
    with gzip.GzipFile(filename=name, mode="wb", compresslevel=6, fileobj=packed, mtime=0) as file:
        file.write(body)
    return packed.getvalue()
