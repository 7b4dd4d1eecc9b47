"""Where a PBX may be: looked at when it is saved, and at the very addresses of every connection."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

import pytest

from pbxhub.ami.pbx_check import check_pbx
from pbxhub.sending.pbx_reach import ANYWHERE, PbxReach, read_pbx_host
from pbxhub.store.accounts import Project
from pbxhub.store.session import Database
from tests.support.hub import add_pbx, listening, pbx_of
from tests.support.pbx_line import HASTY, address_of, playing, until

LAN = PbxReach((ip_network("10.1.0.0/16"), ip_network("fd00:1::/64")))
NOWHERE_ELSE = [
    "127.0.0.1", "127.8.8.8", "::1", "localhost", "pbx.localhost", "10.2.0.1", "192.168.1.1", "169.254.169.254",
    "100.64.0.1", "0.0.0.0", "::", "224.0.0.1", "::ffff:10.2.0.1", "64:ff9b::a02:1", "2002:a02:1::", "fe80::1",
    "fd00:2::1", "metadata.google.internal",
]  # fmt: skip


@pytest.mark.parametrize("host", NOWHERE_ELSE)
def test_an_address_outside_is_refused_when_it_is_saved(host: str) -> None:
    assert not LAN.allows_host(read_pbx_host(host) or "")
    assert ANYWHERE.allows_host(host)


@pytest.mark.parametrize(
    "host", ["10.1.2.3", "fd00:1::5", "8.8.8.8", "2606:4700::1", "pbx.example.com", "::ffff:10.1.0.9"]
)
def test_a_public_address_and_a_granted_one_are_taken(host: str) -> None:
    assert LAN.allows_host(read_pbx_host(host) or "")


@pytest.mark.parametrize(
    "host", ["127.1", "0x7f.1", "2130706433", "127。0。0。1", "a b", "http://a", "a:5038", "fe80::1%lo", "", "a/b"]
)
def test_what_is_no_plain_address_or_name_is_no_host(host: str) -> None:
    assert read_pbx_host(host) is None


def test_metadata_is_refused_inside_a_granted_network_too() -> None:
    everything = PbxReach((ip_network("0.0.0.0/0"), ip_network("::/0")))
    assert everything.allows((ip_address("192.168.1.1"),))
    assert not everything.allows((ip_address("169.254.169.254"),))
    assert not everything.allows((ip_address("192.168.1.1"), ip_address("fd00:ec2::254")))


@contextmanager
def neighbours() -> Iterator[tuple[socket.socket, int, int]]:
    """A web server and a port where nobody listens: (server, its port, the closed port)."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        server.setblocking(False)
        yield server, server.getsockname()[1], closed.getsockname()[1]


@pytest.mark.slow
def test_without_the_network_a_pbx_another_server_and_a_closed_port_are_one() -> None:
    """And nobody there is called."""

    async def scenario() -> None:
        async with playing() as player:
            with neighbours() as (server, other, closed):
                begun = asyncio.get_running_loop().time()
                places = [address_of(player, reach=PbxReach(), port=port) for port in (player.port, other, closed)]
                found = await asyncio.gather(*(check_pbx(place, HASTY) for place in places))
                said = {one.sentence.replace(str(place.port), "?") for (one,), place in zip(found, places, strict=True)}
                assert len(said) == 1
                assert said.pop().startswith("No PBX answers at 127.0.0.1:?.")
                assert asyncio.get_running_loop().time() - begun >= 2 * HASTY.connect  # whatever it was
                assert player.actions == []
                with pytest.raises(BlockingIOError):
                    server.accept()

    asyncio.run(scenario())


def test_in_a_granted_network_the_reason_is_told() -> None:
    """The operator has let the project look there."""

    async def scenario() -> None:
        granted = PbxReach((ip_network("127.0.0.0/8"),))
        async with playing() as player:
            player.faults.banner = b"SSH-2.0-OpenSSH_9.2\r\n"
            (other,) = await check_pbx(address_of(player, reach=granted), HASTY)
            with neighbours() as (_server, _other, closed):
                (nobody,) = await check_pbx(address_of(player, reach=granted, port=closed), HASTY)
        assert "SSH-2.0" in other.sentence
        assert "Nothing accepts connections at" in nobody.sentence

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_name_that_leads_into_the_lan_is_refused_at_the_connection() -> None:
    """Saving does not ask the DNS: the name of this machine is a name like any other there."""
    name = socket.gethostname()
    assert PbxReach().allows_host(name)

    async def scenario() -> None:
        async with playing() as player:
            with socket.create_server(("0.0.0.0", 0)) as server:
                server.setblocking(False)
                port = server.getsockname()[1]
                (found,) = await check_pbx(address_of(player, host=name, port=port, reach=PbxReach()), HASTY)
                assert found.sentence.startswith(f"No PBX answers at {name}:")
                with pytest.raises(BlockingIOError):
                    server.accept()

    asyncio.run(scenario())


@pytest.mark.slow
def test_the_listener_goes_to_a_pbx_when_the_network_is_granted_and_leaves_it_when_not(database: Database) -> None:
    def grant(*networks: str) -> None:
        with database.write() as session:
            session.query(Project).one().pbx_networks = list(networks)

    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player, any_network=False)

            def stands(state: str, code: str) -> bool:
                pbx = pbx_of(database, pbx_id)
                return (pbx.state, pbx.state_code) == (state, code)

            async with listening(database):
                await until(lambda: stands("refused", "no_pbx"))
                assert player.actions == []
                grant("127.0.0.0/30")
                await until(lambda: stands("connected", ""))
                grant("127.9.0.0/16")
                await until(lambda: stands("refused", "no_pbx"))

    asyncio.run(scenario())
