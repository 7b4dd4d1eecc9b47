"""Sends an HTTP request from a test and returns the answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import requests

from pbxhub.testing.durations import limit
from pbxhub.testing.json_path import read_json, shorten

_WRONG_REQUEST = (
    requests.exceptions.InvalidURL,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidHeader,
)
Body = str | bytes | Mapping[str, Any] | list[Any] | None


class NotReachableError(AssertionError):
    """No answer, or an incomplete one. An AssertionError, so that await_until tries again while a server starts."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What came back. body is the text, content the bytes as they came."""

    request: str  # "GET http://…", for messages
    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    body: str

    def header(self, name: str) -> str | None:
        """The header's value, None without one; the name in any case."""
        return self.headers.get(name)

    def json(self, path: str = "") -> Any:
        """The value at "a.b.0.c" of a JSON body, or the whole of it. A missing path fails and shows what there was."""
        __tracebackhide__ = True
        return read_json(self.body, path, f"the answer to {self.request}")

    def expect_status(self, code: int) -> Self:
        """Fails unless the status is this one; returns the answer, so that calls can be chained."""
        __tracebackhide__ = True
        if self.status != code:
            raise AssertionError(
                f"{self.request}: expected status {code}, got {self.status} with body {shorten(self.body)!r}"
            )
        return self


def http(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: Body = None,
    timeout: str | float = "10s",
) -> HttpAnswer:
    """Sends one request and returns the answer, whatever its status. Redirects are not followed, proxies not used.

    body: text and bytes are sent unchanged; an object or list is sent as JSON with its Content-Type, unless headers has
    one.
    timeout: of connecting, and of each silence while reading.
    Raises NotReachableError when no answer came, or only a part of one; ValueError when the request is none.
    """
    __tracebackhide__ = True
    asked, silence = f"{method.upper()} {url}", limit(timeout)
    sent = dict(headers or {})
    is_json = isinstance(body, Mapping | list)
    data = body.encode() if isinstance(body, str) else body if isinstance(body, bytes) else None
    with requests.Session() as session:
        session.trust_env = False
        try:
            came = session.request(
                method.upper(), url, headers=sent, data=data, json=body if is_json else None,
                timeout=silence, allow_redirects=False,
            )  # fmt: skip
        except _WRONG_REQUEST as error:
            raise ValueError(f"{asked}: the request cannot be sent: {error}") from None
        except requests.RequestException as error:
            raise NotReachableError(f"{asked}: no answer: {_reason(error, silence)}") from None
    charset = came.encoding if "charset" in came.headers.get("Content-Type", "") else "utf-8"
    return HttpAnswer(
        asked, came.status_code, came.headers, came.content, came.content.decode(charset or "utf-8", "replace")
    )


def _reason(error: requests.RequestException, silence: float) -> str:
    text = str(error)
    if isinstance(error, requests.Timeout) or "Read timed out" in text:  # in the middle of a body it is no Timeout
        return f"silence for {silence:g}s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"the connection ended in the middle of the body ({text})"
    if isinstance(error, requests.exceptions.ContentDecodingError):
        return f"its body is not compressed as it says ({text})"
    if "Connection refused" in text:
        return "nothing listens there (connection refused)"
    if "NameResolution" in text or "resolve" in text:
        return "the host name is not known"
    return text
