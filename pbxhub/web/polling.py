"""Parts of pages that poll: when the browser shows the current content already, the answer is 204 and nothing changes.

The browser sends the part's ETag (If-None-Match). 204 instead of 304, because htmx inserts the body of any other status
up to 399.
"""

import hashlib
import re

from flask import Flask, Response, request
from markupsafe import Markup

_TOKEN = re.compile(r'name="csrf_token" value="[^"]*"')  # signed anew every second
_FIRST_TAG = re.compile(r"<\w+")


def install(app: Flask) -> None:
    """Templates put {% filter renewed %} around a part that is in the page from its beginning."""
    app.jinja_env.filters["renewed"] = renewed
    app.after_request(_unless_shown)


def renewed(part: str) -> Markup:
    """The part with its mark on its first element, where static/app.js finds it."""
    mark = Markup(' data-mark="{}"').format(f'"{_mark(part)}"')
    return Markup(_FIRST_TAG.sub(lambda tag: f"{tag[0]}{mark}", str(part), count=1))  # noqa: S704 - our own template


def _mark(part: str) -> str:
    return hashlib.sha256(_TOKEN.sub("", part).strip().encode()).hexdigest()[:32]


def _unless_shown(response: Response) -> Response:
    asks = request.method == "GET" and "HX-Request" in request.headers
    if not asks or response.status_code != 200 or response.is_streamed:
        return response
    mark = _mark(response.get_data(as_text=True))
    if mark in request.if_none_match:
        response = Response(status=204)
    response.set_etag(mark)
    return response
