"""What the tests of the sender share: a sender that may reach loopback, and requests for it."""

import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager

from pbxhub.sending.address_guard import AddressGuard, NetworkGrant, endpoints
from pbxhub.sending.exchange import SYSTEM_TLS, Answer, Outgoing, TlsOptions
from pbxhub.sending.resolver import Resolver
from pbxhub.sending.sender import Sender
from pbxhub.sending.target_url import Address
from pbxhub.testing.receivers import misbehaving as zoo
from pbxhub.testing.receivers.receiver import Receiver
from pbxhub.webhooks.request import Request

PUBLIC_ONLY = AddressGuard()
LOOPBACK_TOO = AddressGuard(allowed_networks=(ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")))


class Dns:
    """A DNS of the test's own: what each name means now, and how often it was asked."""

    def __init__(self, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked: list[str] = []

    def __call__(self, name: str) -> tuple[Address, ...]:
        self.asked.append(name)
        return tuple(ipaddress.ip_address(address) for address in self.names.get(name, []))


@contextmanager
def sender(guard: AddressGuard = LOOPBACK_TOO, dns: Dns | None = None) -> Iterator[Sender]:
    """A sender; with a DNS of its own it asks nobody else and remembers nothing."""
    sender = Sender(guard, Resolver(dns, keep=0, keep_missing=0) if dns else None)
    yield sender
    sender.close()


def post(
    url: str, body: bytes = b"{}", headers: tuple[tuple[str, str], ...] = (), *,
    method: str = "POST", pool: str = "webhook:1", deadline: float = 5.0, tls: TlsOptions = SYSTEM_TLS,
    follow_to_get: bool = False, networks: NetworkGrant = None,
) -> Outgoing:  # fmt: skip
    """An Outgoing with defaults."""
    return Outgoing(Request(method, url, headers, body), pool, deadline, tls, follow_to_get, networks)


def send(url: str, guard: AddressGuard = LOOPBACK_TOO, dns: Dns | None = None, **options: object) -> Answer:
    """One request by a sender of its own."""
    with sender(guard, dns) as one:
        return one.send(post(url, **options))  # type: ignore[arg-type]


@contextmanager
def sending(*receivers: Receiver | zoo.Cage) -> Iterator[Sender]:
    allowed = frozenset().union(*(endpoints("127.0.0.1", receiver.port) for receiver in receivers))
    sender = Sender(AddressGuard(allowed_endpoints=allowed))
    yield sender
    sender.close()
