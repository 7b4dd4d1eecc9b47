"""A rendered request, or the reason why there is none."""

from dataclasses import dataclass

SKIPPED = "skipped"
"""The outcome of a delivery whose webhook skips calls without a mandatory value (WebhookSpec.incomplete)."""


@dataclass(frozen=True, slots=True)
class Request:
    """Exactly what will be sent, before credentials and signature are added.

    url: ASCII, percent-encoded, host in its IDN form. headers: names and values that fit latin-1, in order.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class NotSent:
    """Why no request was created for a call.

    code: not_sent_mandatory or SKIPPED (a mandatory field is empty), or render_error (a value is not valid in its
    place).
    sentence: names the field by its path and says what to change.
    """

    code: str
    sentence: str
