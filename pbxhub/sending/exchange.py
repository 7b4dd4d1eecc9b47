"""What goes into the sender and what comes out of it."""

from dataclasses import dataclass, field
from typing import IO

from pbxhub.sending.address_guard import NetworkGrant
from pbxhub.webhooks.request import Request


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """PEM texts. ca: authorities trusted instead of the system's; certificate and key: shown to the receiver.

    The receiver's certificate is verified always; there is no switch.
    """

    ca: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)


SYSTEM_TLS = TlsOptions()
MAX_BODY = 64 * 1024


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request as it leaves: credentials and signature headers included.

    pool: who may share keep-alive connections, "webhook:17" for example; never the same for two webhooks.
    deadline: seconds for everything together: name, connection, TLS, request, whole answer.
    follow_to_get: one redirect (301, 302, 303) is followed with a GET that carries nothing of this request.
    networks: which of the operator's allowed networks it may reach; a request of a project carries its grant.
    most_body: bytes of the answer that are read at most. into: where they are written instead of into Answer.body.
    """

    request: Request
    pool: str
    deadline: float = 10.0
    tls: TlsOptions = SYSTEM_TLS
    follow_to_get: bool = False
    networks: NetworkGrant = None
    most_body: int = MAX_BODY
    into: IO[bytes] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """How one attempt ended. A failure is an Answer like any other.

    outcome: a code of outcomes.py; "ok" means a 2xx status, the webhook's own success rule comes later.
    message: the sentence for the user, with the particulars of this attempt. note: those that a status does not tell
    (where a redirect leads, what is missing of the body); they belong to every other sentence about it, too.
    body: as it came, never decompressed, at most Outgoing.most_body; truncated tells that there was or should have
    been more.
    *_us: microseconds of each phase (name, TCP, TLS, sending and waiting up to the first byte) and of everything;
    None for a phase that was not reached. peer: address and port connected to.
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
