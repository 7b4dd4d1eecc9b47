"""The request that goes into the sender and the answer that comes out."""

from dataclasses import dataclass, field
from typing import IO

from pbxhub.sending.address_guard import NetworkGrant
from pbxhub.sending.upload import Upload
from pbxhub.webhooks.request import Request


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """PEM texts. ca: authorities trusted instead of the system's; certificate and key: shown to the receiver.

    The receiver's certificate is always verified; this cannot be switched off.
    """

    ca: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)


SYSTEM_TLS = TlsOptions()
MAX_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request as it is sent, with credentials and signature headers.

    pool: requests of one pool share keep-alive connections, such as "webhook:17"; two webhooks never share one.
    deadline: seconds for everything: lookup, connection, TLS, request, complete answer.
    follow_to_get: follows one redirect (301, 302, 303) with a GET that contains nothing of this request.
    networks: which of the operator's allowed networks it may reach (the grant of the project).
    most_body: bytes of the answer to read at most. into: writes them here instead of into Answer.body.
    upload: the body with its files, read while it is sent; None sends Request.body.
    """

    request: Request
    pool: str
    deadline: float = 10.0
    tls: TlsOptions = SYSTEM_TLS
    follow_to_get: bool = False
    networks: NetworkGrant = None
    most_body: int = MAX_BODY
    into: IO[bytes] | None = None
    upload: Upload | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """How one attempt ended. A failure is an Answer like any other.

    outcome: a code of outcomes.py; "ok" means a 2xx status, the webhook's own success rule comes later.
    message: the sentence for the user, with the details of this attempt. note: details that the status does not show
    (where a redirect leads, which part of the body is missing); other sentences about the answer include them, too.
    body: never decompressed; in UTF-8, if it names another charset. At most Outgoing.most_body are read of it.
    truncated: there was more, or should have been.
    *_us: microseconds of each phase (lookup, TCP, TLS, sending and waiting until the first byte) and of everything;
    None for a phase that was not reached. peer: address and port of the receiver.
    """

    outcome: str
    message: str
    status_code: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    truncated: bool = False
    dns_us: int | None = None
    connect_us: int | None = None
    tls_us: int | None = None
    first_byte_us: int | None = None
    total_us: int | None = None
    peer: str = ""
    tls_version: str = ""
    note: str = ""
