"""Decides which addresses a webhook may reach. Checked when a webhook is saved, and again for the address of each
connection.

Public unicast is decided by an explicit list, because `ipaddress.is_global` is true for multicast, for 6to4 of
127.0.0.1 and others.
Sources: the IANA special-purpose registries for IPv4 and IPv6, and the metadata addresses of the clouds.
"""

import ipaddress
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace

from pbxhub.sending.target_url import Address, Target, UnusableTarget, read_target
from pbxhub.translatable import say

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

NetworkGrant = frozenset[Network] | None
"""Which of the allowed networks a project's requests may reach; None = all of them."""

_IPV6_PUBLIC = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    )
)  # fmt: skip
# refused even inside a network that the operator allows: unspecified, multicast, reserved, cloud metadata
NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4", "::/128", "ff00::/8",
        "169.254.169.254/32", "169.254.170.2/32", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32",
        "fd00:ec2::254/128", "fd20:ce::254/128",
    )
)  # fmt: skip
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
METADATA_NAMES = frozenset({"metadata.google.internal", "metadata", "instance-data"})

# Ports of services that are not web servers: those that browsers refuse (Fetch standard) and the common databases,
# queues, telephony and remote control.
_SERVICE_PORTS = frozenset((
    1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110,
    111, 113, 115, 117, 119, 123, 135, 137, 138, 139, 143, 161, 179, 389, 427, 445, 465, 512, 513, 514, 515, 526, 530,
    531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 873, 989, 990, 993, 995, 1433, 1521, 1719, 1720, 1723, 1883, 2049,
    2181, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 4569, 4573, 5038, 5039, 5060, 5061, 5432, 5433, 5672,
    5900, 5984, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 8883, 9042, 9092, 9200, 9300, 10080, 11211,
    27017, 27018, 27019,
))  # fmt: skip

# The same sentence for every address and port, so that webhooks cannot scan the network behind the hub.
BLOCKED = UnusableTarget(
    say(
        "This hub is not allowed to connect to this address. Webhooks may reach public web servers, and those that the "
        "operator of this server allows (PBXHUB_ALLOWED_NETWORKS)."
    )
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address and port."""

    address: Address
    port: int


@dataclass(frozen=True, slots=True)
class AddressGuard:
    """The addresses that requests may reach.

    allowed_networks: networks that the operator allows in addition to public addresses; allowed_endpoints: single
    addresses and ports. forbidden: AMI, database and the hub's own ports; always refused. A forbidden port on this
    machine is refused on every address of this machine.
    """

    allowed_networks: tuple[Network, ...] = ()
    allowed_endpoints: frozenset[Endpoint] = frozenset()
    forbidden: frozenset[Endpoint] = frozenset()

    def granting(self, grant: NetworkGrant) -> "AddressGuard":
        """The guard for a project: keeps only those allowed networks that the project was granted."""
        if grant is None:
            return self
        return replace(self, allowed_networks=tuple(one for one in self.allowed_networks if one in grant))

    def check_url(self, url: str) -> UnusableTarget | None:
        """For saving: checks everything that needs no DNS lookup."""
        target = read_target(url)
        return target if isinstance(target, UnusableTarget) else self.check_target(target)

    def check_target(self, target: Target) -> UnusableTarget | None:
        """Checks the port, and the host if it is an address, localhost or a cloud's metadata name."""
        if target.address:
            return self.check_address(target.address, target.port)
        if target.host in METADATA_NAMES:
            return BLOCKED
        if target.host == "localhost" or target.host.endswith(".localhost"):
            return self.check_address(ipaddress.IPv4Address("127.0.0.1"), target.port)
        return BLOCKED if target.port in _SERVICE_PORTS else None

    def check_addresses(self, addresses: Iterable[Address], port: int) -> UnusableTarget | None:
        """For DNS answers: one refused address refuses the name."""
        return next((BLOCKED for address in addresses if self.check_address(address, port)), None)

    def check_address(self, address: Address | str, port: int) -> UnusableTarget | None:
        """For the address about to be connected to. Refuses a text that is not an address."""
        try:
            plain = unwrap(ipaddress.ip_address(address))
        except ValueError:
            return BLOCKED
        if any(self._is_forbidden(one, port) or within(one, NEVER) for one in ends(plain)):
            return BLOCKED
        if Endpoint(plain, port) in self.allowed_endpoints:
            return None
        allowed = all(is_public(one) or within(one, self.allowed_networks) for one in ends(plain))
        return None if allowed and port not in _SERVICE_PORTS else BLOCKED

    def _is_forbidden(self, address: Address, port: int) -> bool:
        same_port = [endpoint.address for endpoint in self.forbidden if endpoint.port == port]
        if address in same_port:
            return True
        return any(is_here(other) for other in same_port) and is_here(address)


def read_grant(texts: Iterable[str] | None) -> NetworkGrant:
    """Converts Project.webhook_networks for the guard."""
    return None if texts is None else frozenset(read_networks(texts))


def read_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Reads networks from the database, written like 10.0.0.0/8. A text that cannot be read grants nothing."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            continue
    return tuple(found)


def endpoints(host: str, port: int) -> frozenset[Endpoint]:
    """The endpoints of a host name or address from the settings, for AddressGuard.forbidden. Looks the name up.

    Empty when the name does not resolve: then no webhook can reach it either.
    """
    try:
        found = socket.getaddrinfo(host or "127.0.0.1", port, type=socket.SOCK_STREAM)
    except (OSError, ValueError):  # ValueError: a name that IDNA cannot encode
        return frozenset()
    return frozenset(Endpoint(unwrap(ipaddress.ip_address(str(entry[4][0]))), port) for entry in found)


def is_public(address: Address) -> bool:
    """Whether the address is public unicast by the explicit list."""
    if address.version == 6 and (address not in _IPV6_PUBLIC or address.scope_id or _is_isatap(address)):
        return False
    return not within(address, _NOT_PUBLIC)


def unwrap(address: Address) -> Address:
    """The IPv4 address inside ::ffff:a.b.c.d, because the kernel connects to that one."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def ends(address: Address) -> tuple[Address, ...]:
    """The address, and the IPv4 address to which a translator or tunnel would forward the packet."""
    if isinstance(address, ipaddress.IPv4Address):
        return (address,)
    if address.sixtofour:
        return address, address.sixtofour
    if _is_isatap(address) or address in _NAT64:
        return address, ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return (address,)


def _is_isatap(address: ipaddress.IPv6Address) -> bool:
    """RFC 5214: any prefix, then 00-00-5e-fe or 02-00-5e-fe, then the IPv4 address."""
    return int(address) >> 32 & 0xFFFF_FFFF in (0x0000_5EFE, 0x0200_5EFE)


def within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def is_here(address: Address) -> bool:
    """Whether the address belongs to this machine: a socket can be bound to it only then."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
