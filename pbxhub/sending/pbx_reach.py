"""Decides at which addresses a PBX may be. Checked when a PBX is saved, and again for the addresses of each connection.

The rules are those of webhooks (address_guard.py) without the ports: public addresses, and the networks that an
operator has granted to the project. This machine's own public addresses do not count as public, because services that
only this machine may reach can listen on them.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from pbxhub.sending.address_guard import METADATA_NAMES, NEVER, Network, ends, is_here, is_public, unwrap, within
from pbxhub.sending.target_url import Address, UnusableTarget, read_host


@dataclass(frozen=True, slots=True)
class PbxReach:
    """networks: those granted to the project. anywhere: an operator set up the PBX, so no address is refused."""

    networks: tuple[Network, ...] = ()
    anywhere: bool = False

    def allows_host(self, host: str) -> bool:
        """For saving: checks what needs no DNS lookup. The host has passed read_pbx_host."""
        if self.anywhere:
            return True
        try:
            return self.allows((ipaddress.ip_address(host),))
        except ValueError:
            name = host.lower().removesuffix(".")
        if name == "localhost" or name.endswith(".localhost"):
            return self.allows((ipaddress.IPv4Address("127.0.0.1"),))
        return name not in METADATA_NAMES

    def allows(self, addresses: Iterable[Address]) -> bool:
        """For DNS answers: one refused address refuses the name."""
        return self.anywhere or all(self._allows(unwrap(address)) for address in addresses)

    def is_granted(self, addresses: Iterable[Address]) -> bool:
        """Whether an operator has granted the project every one of these addresses, by name or by network."""
        return self.anywhere or all(self._is_granted(unwrap(address)) for address in addresses)

    def _allows(self, address: Address) -> bool:
        if any(within(one, NEVER) for one in ends(address)):
            return False
        return self._is_granted(address) or (all(is_public(one) for one in ends(address)) and not is_here(address))

    def _is_granted(self, address: Address) -> bool:
        return all(within(one, self.networks) for one in ends(address))


ANYWHERE = PbxReach(anywhere=True)


def read_pbx_host(text: str) -> str | None:
    """The host of a PBX as it is stored: a name, or an address in its standard form. None when it is neither."""
    try:
        if "%" not in text:
            return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]") if "[" in text else text))
    except ValueError:
        pass
    found = read_host(text)
    return None if isinstance(found, UnusableTarget) else found[0]
