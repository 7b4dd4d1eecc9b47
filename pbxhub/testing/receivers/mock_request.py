"""A request as the mock server received it."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from pbxhub.testing.json_path import read_json


class SignatureWrongError(AssertionError):
    """The request is not signed with that key, or not now."""


@dataclass(frozen=True, slots=True)
class MockRequest:
    """One request. target is path and query as they stood on the wire; content the bytes of the body.

    truncated: the body was over 1 MiB; content has its first MiB, and the answer was 413.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    content: bytes = field(repr=False)
    truncated: bool = False

    @property
    def path(self) -> str:
        """The path, percent-decoded, without the query."""
        return unquote(urlsplit(self.target).path) if not self.target.startswith("//") else unquote(self.target)

    @property
    def body(self) -> str:
        """The body as text (UTF-8; bytes that are not are shown as U+FFFD)."""
        return self.content.decode(errors="replace")

    def query(self, name: str) -> str | None:
        """The first value of a query parameter, None without one."""
        found = parse_qs(urlsplit(self.target).query, keep_blank_values=True).get(name)
        return found[0] if found else None

    def header(self, name: str) -> str | None:
        """The header's value, None without one; the name in any case. Several of one name are joined by ", "."""
        found = [value for known, value in self.headers if known.lower() == name.lower()]
        return ", ".join(found) if found else None

    def json(self, path: str = "") -> Any:
        """The value at "a.b.0.c" of a JSON body, or the whole of it. A missing path fails and shows what there was."""
        __tracebackhide__ = True
        return read_json(self.body, path, f"the body of {self}")

    def check_signature(self, key: str) -> None:
        """Fails unless the request is signed by Standard Webhooks with this key (whsec_…) within the last 5 minutes.

        Asks the library that receivers use, not the hub's own code. It knows bodies in UTF-8 only.
        """
        __tracebackhide__ = True
        try:
            Webhook(key).verify(self.content, dict(self.headers), json_parse=False)
        except (WebhookVerificationError, ValueError) as error:
            signed = {name: self.header(name) for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
            raise SignatureWrongError(f"the signature of {self} does not hold: {error}; it has {signed}") from None

    def __str__(self) -> str:
        return f"{self.method} {self.target}"
