"""A rendered request, and the answer that there is none."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """Exactly what will be sent, before credentials and signature join it.

    url: ASCII, percent-encoded, host in its IDN form. headers: names and values that fit latin-1, in order.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class NotSent:
    """Why no request came of a webhook and a call.

    code: not_sent_mandatory (a mandatory field is empty) or render_error (a value does not fit its place).
    sentence: names the field by its path and says what to change.
    """

    code: str
    sentence: str
