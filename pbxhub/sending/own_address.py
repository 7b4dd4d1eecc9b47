"""Finds the address from which this machine connects to another: the one its firewall must allow."""

import socket
from contextlib import suppress


def own_address(host: str, port: int, *, ask_dns: bool = True) -> str:
    """The source address of a connection to that host and port, without a scope; "" when unknown.

    Sends nothing: connecting a UDP socket only makes the kernel choose the route. Without ask_dns a host name is not
    looked up and gives "". An address translation (NAT) on the way cannot be seen.
    """
    flags = 0 if ask_dns else socket.AI_NUMERICHOST
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)
    except (OSError, ValueError):  # ValueError: a name that IDNA cannot encode
        return ""
    for family, kind, protocol, _name, place in places:
        with suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0]).partition("%")[0]
    return ""
