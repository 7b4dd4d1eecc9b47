"""A port for a program that a test starts: free until that program listens there."""

import socket
from pathlib import Path

from pbxhub.testing.processes import free_port


def test_no_outgoing_connection_takes_a_free_port_or_its_neighbour():
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    if last - first > 60_000:
        return  # the kernel leaves no other ports: free_port then takes any
    for port in (free_port(2) for _ in range(100)):
        assert not {port, port + 1} & set(range(first, last + 1))
        for one in (port, port + 1):
            socket.create_server(("127.0.0.1", one)).close()
