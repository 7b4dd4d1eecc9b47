"""Which address of this machine another one sees: what it must let in."""

import socket
from contextlib import suppress


def own_address(host: str, port: int, *, ask_dns: bool = True) -> str:
    """The address that a connection from here to there comes from, without a scope; "" when nobody can say.

    Nothing is sent: connecting a UDP socket only makes the kernel choose the route. Without ask_dns a host name is
    not looked up and gives "". A router that translates addresses on the way is not seen.
    """
    flags = 0 if ask_dns else socket.AI_NUMERICHOST
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=flags)
    except (OSError, ValueError):  # ValueError: a name no encoding takes
        return ""
    for family, kind, protocol, _name, place in places:
        with suppress(OSError), socket.socket(family, kind, protocol) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0]).partition("%")[0]
    return ""
