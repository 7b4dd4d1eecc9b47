"""How an attempt can end: one table of codes with a sentence for the user, advice, and whether to retry.

The codes are stored in Delivery.outcome and Attempt.outcome. The page, the API and the notices all ask describe().
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pbxhub.webhooks.answer_verdict import GONE
from pbxhub.webhooks.rendered_request import SKIPPED


@dataclass(frozen=True, slots=True)
class Outcome:
    """One way to end. sentence: what happened. hint: what the user can do ("" when there is nothing to do).

    number: of its page, /errors/NUMBER. Links in e-mails and in other programs name it: it is never given away again.
    reason: what went wrong for programs, one of a few stable words (<<error_reason>>); "" after a success.
    may_pass: the same request may succeed later without a change, so a retry makes sense.
    """

    number: int
    code: str
    reason: str
    sentence: str
    hint: str
    may_pass: bool


UNREADABLE, LOST, RESTORED = "secret_unreadable", "worker_lost", "restored"
BLOCKED_TARGET = "blocked_target"
TOKEN_EXPIRED, TOKEN_REFUSED = "token_expired", "token_refused"
FILE_NOT_READY, FILE_GONE, FILE_TOO_LARGE = "file_not_ready", "file_gone", "file_too_large"
FILE_REFUSED, FILE_UNREADABLE = "file_refused", "file_unreadable"
NOT_SENT_YET = frozenset({UNREADABLE, TOKEN_REFUSED, FILE_NOT_READY})
"""No request left, so no try is used up: the delivery waits until somebody enters the secret or connects again, or
until the recording is there."""
_TABLE = (
    Outcome(1, "ok", "", "The receiver accepted the request.", "", False),
    Outcome(
        2,
        "http_3xx",
        "REDIRECTION",
        "The receiver answered with a redirect, which is not followed.",
        "Enter the address shown as Location as the URL of the webhook; often it is https instead of http.",
        False,
    ),
    Outcome(
        3,
        "http_4xx",
        "CLIENT_ERROR",
        "The receiver refused the request.",
        "Its answer usually says why; compare the request with the receiver's documentation.",
        False,
    ),
    Outcome(
        4,
        "http_5xx",
        "SERVER_ERROR",
        "The receiver failed while handling the request.",
        "The fault is on the receiver's side; its log has the details. Send again once it works.",
        True,
    ),
    Outcome(
        5,
        "check_failed",
        "INVALID_RESPONSE",
        "The receiver answered, but the answer does not satisfy the success rule of the webhook.",
        "Compare the answer with the success rule; some systems report errors with status 200.",
        False,
    ),
    Outcome(
        6,
        "steering_refused",
        "INVALID_RESPONSE",
        "The receiver's answer cannot be carried out; the call took the default route.",
        "The reason names the field. Paste the answer under Call control → Simulate to see what it would do.",
        False,
    ),
    Outcome(
        7,
        "dns_not_found",
        "DNS_ERROR",
        "The DNS has no address for the host name of the URL.",
        "Look for a typing error in the URL. If the name is correct, check the DNS of this server.",
        True,
    ),
    Outcome(
        8,
        "connect_refused",
        "CONNECTION_ERROR",
        "Nothing accepts connections at the address of the receiver.",
        "Check the port in the URL, that the receiver is running, and that its firewall allows this server's address.",
        True,
    ),
    Outcome(
        9,
        "connect_timeout",
        "TIMEOUT",
        "The receiver did not accept a connection within the time limit.",
        "Usually a firewall drops the packets: allow this server's address there.",
        True,
    ),
    Outcome(
        10,
        "tls_error",
        "TLS_ERROR",
        "TLS failed: the receiver's certificate or TLS version is not acceptable.",
        "Have the receiver renew its certificate, or add its certificate authority to the webhook.",
        False,
    ),
    Outcome(
        11,
        "deadline",
        "TIMEOUT",
        "The receiver did not answer completely within the time limit.",
        "The receiver should answer before it starts its work; or set a longer time limit in the webhook.",
        True,
    ),
    Outcome(
        12,
        "reset",
        "CONNECTION_ERROR",
        "The receiver closed the connection before it answered.",
        "The receiver restarted or is overloaded, or a firewall cut the connection; see the receiver's log.",
        True,
    ),
    Outcome(
        13,
        "too_many_headers",
        "INVALID_RESPONSE",
        "The answer has too many headers (at most 100 headers, 64 KB).",
        "The receiver has a fault; for example, it sets a cookie in a loop.",
        False,
    ),
    Outcome(
        14,
        BLOCKED_TARGET,
        "NOT_SENT",
        "This hub is not allowed to connect to the webhook's address.",
        "Only public addresses are allowed, and those that the operator of this server permits.",
        False,
    ),
    Outcome(
        15,
        "not_sent_mandatory",
        "MISSING_MANDATORY",
        "Not sent: a mandatory field was empty for this call.",
        "Make the field optional, or add a filter that excludes calls without this value.",
        False,
    ),
    Outcome(
        16,
        "render_error",
        "NOT_SENT",
        "Not sent: the request could not be built from the values of this call.",
        "The reason names the field. Change it in the webhook, then send again with the current settings.",
        False,
    ),
    Outcome(
        17,
        UNREADABLE,
        "NOT_SENT",
        "Not sent yet: a secret of this webhook cannot be decrypted; it was encrypted with another PBXHUB_SECRET_KEY.",
        "Enter the secret of the webhook again, or restore the old key. The delivery is then sent automatically.",
        True,
    ),
    Outcome(
        18,
        TOKEN_EXPIRED,
        "CLIENT_ERROR",
        "The receiver no longer accepts the token of the connection (401).",
        "The hub fetches a new token and sends the request again, once. Nothing needs to be done.",
        True,
    ),
    Outcome(
        19,
        TOKEN_REFUSED,
        "NOT_SENT",
        "Not sent yet: the connection has no valid token, because the provider refused to renew it.",
        "Open Connections and press Reconnect. The waiting deliveries are then sent automatically.",
        True,
    ),
    Outcome(
        20,
        FILE_NOT_READY,
        "NOT_SENT",
        "Not sent yet: the recording of the call is not complete.",
        "The hub looks again; the delivery is sent when the PBX has written the file.",
        True,
    ),
    Outcome(
        21,
        FILE_GONE,
        "NOT_SENT",
        "Not sent: the recording of the call is not where the PBX has put it.",
        "Check the recordings folder of the PBX under PBXs, and whether old recordings are deleted there.",
        False,
    ),
    Outcome(
        22,
        FILE_TOO_LARGE,
        "NOT_SENT",
        "Not sent: the recording of the call is larger than this hub sends.",
        "Send the link <<recording>> instead, or ask the operator to raise PBXHUB_LARGEST_FILE_MB.",
        False,
    ),
    Outcome(
        23,
        FILE_REFUSED,
        "NOT_SENT",
        "Not sent: the PBX did not hand out the recording of the call.",
        "Open the address of the recording from this server; it must be served without a login.",
        True,
    ),
    Outcome(
        24,
        FILE_UNREADABLE,
        "NOT_SENT",
        "Not sent: the recording of the call could not be read.",
        "Check that the user of the hub may read the file, and that the disk is sound and not full.",
        True,
    ),
    Outcome(
        25,
        "bad_answer",
        "INVALID_RESPONSE",
        "The receiver's answer is not valid HTTP.",
        "Check that a web server listens on the port in the URL, and whether it expects http or https.",
        False,
    ),
    Outcome(
        26,
        GONE,
        "CLIENT_ERROR",
        "The receiver says that this address no longer exists (410).",
        "The webhook is paused: create a new address at the receiver, enter it as the URL, and resume. A REST hook's "
        "subscription is removed.",
        False,
    ),
    Outcome(
        27,
        LOST,
        "UNKNOWN",
        "The process that sent the request ended before the outcome was known.",
        "The request is sent again automatically; the receiver may get it twice, with the same webhook-id.",
        True,
    ),
    Outcome(
        28,
        RESTORED,
        "NOT_SENT",
        "Not sent: this hub was restored from a backup, and the request may have been sent before that.",
        "Look at the receiver. If it does not have the request, press Send.",
        False,
    ),
    Outcome(
        29,
        SKIPPED,
        "MISSING_MANDATORY",
        "Skipped: a mandatory field was empty for this call.",
        "",
        False,
    ),
    Outcome(30, "cancelled", "NOT_SENT", "Not sent: the webhook was deleted or disabled.", "", False),
)

OUTCOMES: Mapping[str, Outcome] = {outcome.code: outcome for outcome in _TABLE}

STATUS_HINTS: Mapping[int, str] = {
    400: "The receiver cannot read the request: compare the format and Content-Type with its documentation.",
    401: "Check the user name, token or key under Authentication; it may have expired.",
    403: "The key lacks the permission, or a firewall rejects this server: ask the receiver's operator.",
    404: "This path does not exist: check the URL. A temporary test address may have expired.",
    405: "The receiver does not accept this method here: try POST instead of GET, or GET instead of POST.",
    408: "The receiver waited too long for the request; it is retried according to the retry profile.",
    413: "The request is too large for the receiver: send fewer parameters.",
    415: "The receiver expects another format: set it under Format, and check the Content-Type header.",
    422: "The receiver rejects a value in the request; its answer usually names the field.",
    429: "The receiver gets too many requests: set a lower rate in the webhook, or ask for a higher limit.",
    502: "A proxy in front of the receiver cannot reach it; ask the receiver's operator.",
    503: "The receiver is overloaded or down for maintenance.",
    504: "A proxy in front of the receiver timed out waiting for it.",
}
_STATUS_MAY_PASS = frozenset({408, 425, 429})


def describe(code: str, status: int | None = None) -> Outcome:
    """The row of the table, with a more exact hint for some HTTP statuses. Raises KeyError for an unknown code."""
    outcome = OUTCOMES[code]
    if status is None or not code.startswith("http_"):
        return outcome
    return replace(
        outcome,
        sentence=f"{outcome.sentence[:-1]} (status {status}).",
        hint=STATUS_HINTS.get(status, outcome.hint),
        may_pass=outcome.may_pass or status in _STATUS_MAY_PASS,
    )


def may_pass(code: str, status: int | None = None) -> bool:
    """Whether a retry makes sense: connect, DNS, timeout, reset, 408, 425, 429, 5xx."""
    return describe(code, status).may_pass


def numbered(number: int) -> Outcome | None:
    """The outcome whose page has this number; None if there is none."""
    return next((outcome for outcome in _TABLE if outcome.number == number), None)


def error_number(code: str) -> int | None:
    """The number of the page about what went wrong; None after a success and before the first attempt."""
    return OUTCOMES[code].number if code in OUTCOMES and code != "ok" else None
