"""How an attempt can end: one table from code to the sentence a user reads, what to do about it, and whether to retry.

The codes are stored in Delivery.outcome and Attempt.outcome. The page, the API and the notices all ask describe().
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pbxhub.webhooks.success import GONE


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way to end. sentence says what happened, hint what the user can do ("" when there is nothing to do).

    may_pass: the same request may succeed later without anybody's help, so a retry makes sense.
    """

    code: str
    sentence: str
    hint: str
    may_pass: bool


UNREADABLE, LOST, RESTORED = "secret_unreadable", "worker_lost", "restored"
_TABLE = (
    Outcome("ok", "The receiver took the request.", "", False),
    Outcome(
        "http_3xx",
        "The receiver answered with a redirect, which is not followed.",
        "Enter the final address shown as Location as the URL of the webhook, https instead of http for example.",
        False,
    ),
    Outcome(
        "http_4xx",
        "The receiver refused the request.",
        "Its answer below usually says what it misses; compare the request with the receiver's documentation.",
        False,
    ),
    Outcome(
        "http_5xx",
        "The receiver failed while handling the request.",
        "The fault is on the receiver's side; its operator finds more in its log. Send again once it works.",
        True,
    ),
    Outcome(
        "check_failed",
        "The receiver answered, but the answer does not meet the success rule of the webhook.",
        "Compare the answer below with the success rule; some systems report errors with status 200.",
        False,
    ),
    Outcome(
        "steering_refused",
        "The receiver answered, but the call cannot be steered by that answer; it took the default route.",
        "The reason names the field; paste the answer under Call control → Simulate to see what would be done.",
        False,
    ),
    Outcome(
        "dns_not_found",
        "The host name of the URL was not found in the DNS.",
        "Look for a typing error in the URL. If the name is right, check the DNS of this server.",
        True,
    ),
    Outcome(
        "connect_refused",
        "Nothing accepts connections at the address of the receiver.",
        "Check the port in the URL, and that the receiver runs and its firewall lets this server in.",
        True,
    ),
    Outcome(
        "connect_timeout",
        "No connection to the receiver within the time limit.",
        "A firewall that drops packets is the usual reason; let this server's address in.",
        True,
    ),
    Outcome(
        "tls_error",
        "No secure connection: the certificate or the TLS version of the receiver is not acceptable.",
        "Have the certificate renewed, or upload the receiver's own certificate authority to the webhook.",
        False,
    ),
    Outcome(
        "deadline",
        "The receiver did not answer completely within the time limit.",
        "The receiver should answer first and work afterwards; a longer limit can be set in the webhook.",
        True,
    ),
    Outcome(
        "reset",
        "The receiver closed the connection before it answered.",
        "A restart, an overload or a firewall on the receiver's side does this; its log tells which.",
        True,
    ),
    Outcome(
        "too_many_headers",
        "The headers of the answer are larger than allowed (100 headers, 64 KB).",
        "Something is wrong with the receiver, a cookie set in a loop for example.",
        False,
    ),
    Outcome(
        "blocked_target",
        "The address of this webhook may not be reached from here.",
        "Only public addresses are allowed, and those the operator of this server has released.",
        False,
    ),
    Outcome(
        "not_sent_mandatory",
        "Not sent: a mandatory field was empty for this call.",
        "Take the mandatory mark off the field, or filter the calls that have no such value.",
        False,
    ),
    Outcome(
        "render_error",
        "Not sent: the request could not be put together from the values of this call.",
        "The reason names the field; change it in the webhook and send again with the current settings.",
        False,
    ),
    Outcome(
        UNREADABLE,
        "Not sent yet: a secret of this webhook cannot be opened, it was sealed with another PBXHUB_SECRET_KEY.",
        "Enter the secret of the webhook again, or put the old key back. The delivery waits, and goes by itself then.",
        True,
    ),
    Outcome(
        "bad_answer",
        "What the receiver sent back is not a valid HTTP answer.",
        "Check that the port in the URL belongs to a web server, and http or https as it expects.",
        False,
    ),
    Outcome(
        GONE,
        "The receiver says that this address is gone for good (410).",
        "A webhook is paused: make a new address at the receiver, enter it as the URL and resume. A subscriber of a "
        "resthook is removed.",
        False,
    ),
    Outcome(
        LOST,
        "The process that sent the request ended before the outcome was known.",
        "The request is sent again by itself; the receiver may see it twice, with the same webhook-id.",
        True,
    ),
    Outcome(
        RESTORED,
        "Not sent: it was waiting in the backup from which this hub was restored.",
        "It may have been sent since. If the receiver does not have it, press Send; the webhook-id is the same.",
        False,
    ),
    Outcome("cancelled", "Not sent: the webhook was deleted or disabled.", "", False),
)

OUTCOMES: Mapping[str, Outcome] = {outcome.code: outcome for outcome in _TABLE}

_STATUS_HINTS = {
    400: "The receiver cannot read the request: check format and Content-Type against its documentation.",
    401: "Enter the user name, token or key that the receiver expects under Authentication; it may have expired.",
    403: "The key was accepted but may not do this, or a firewall refuses this server: ask the receiver's operator.",
    404: "Nothing is at this path: check the URL, a test address that has expired for example.",
    405: "The receiver does not take this method here: try POST instead of GET, or the other way round.",
    408: "The receiver waited too long for the request; it is tried again as the retry profile says.",
    413: "The request is too large for the receiver: send fewer parameters.",
    415: "The receiver wants another format: set it under Format, and look at the Content-Type header.",
    422: "The receiver understood the request but not a value in it; its answer below usually names the field.",
    429: "Too many requests for the receiver: set a lower rate in the webhook or ask the receiver for a higher one.",
    502: "A proxy before the receiver does not reach it; its operator can tell why.",
    503: "The receiver is overloaded or under maintenance.",
    504: "A proxy before the receiver waited too long for it.",
}
_STATUS_MAY_PASS = frozenset({408, 425, 429})


def describe(code: str, status: int | None = None) -> Outcome:
    """The row of the table, made more exact by the HTTP status where there is one. An unknown code is a KeyError."""
    outcome = OUTCOMES[code]
    if status is None or not code.startswith("http_"):
        return outcome
    return Outcome(
        code,
        f"{outcome.sentence[:-1]} (status {status}).",
        _STATUS_HINTS.get(status, outcome.hint),
        outcome.may_pass or status in _STATUS_MAY_PASS,
    )


def may_pass(code: str, status: int | None = None) -> bool:
    """Whether a retry makes sense: connect, DNS, timeout, reset, 408, 425, 429, 5xx."""
    return describe(code, status).may_pass
