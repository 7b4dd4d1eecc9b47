"""A light phone calls a PBX that falls silent, as on a busy machine or when it is killed: the call fails, and the phone
goes on."""

import asyncio
import socket
from contextlib import closing

import pytest

from pbxhub.testing.phones.light import phone as light
from pbxhub.testing.phones.light import wire
from pbxhub.testing.phones.light.until import until
from pbxhub.testing.phones.sip_trace import SipMessage

PBX = "127.83.0.2"


async def call(saw: list[str]) -> int:
    """The status of a call that fails."""
    caller = light.LightPhone("79000000010", "127.83.0.1", PBX, "", lambda kind, leg: saw.append(kind))
    await caller.start()
    try:
        leg = caller.dial("5501003")
        assert await until(lambda: leg.state == "over")
        return leg.status
    finally:
        caller.close()


def test_a_call_without_any_response_fails_as_if_the_pbx_had_answered_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light, "_PAUSES", (0.01, 0.01))
    saw: list[str] = []
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as silent:
        silent.bind((PBX, 5060))
        assert asyncio.run(call(saw)) == 408
    assert saw == ["placed", "failed"]


class _RingsOnly(asyncio.DatagramProtocol):
    """A PBX that is killed while the phone at the other end rings."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self._wire = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._wire.sendto(wire.reply(SipMessage("", "", data.decode()), "180 Ringing").encode(), addr)


def test_a_call_that_rings_and_gets_no_final_response_fails_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light, "_LONGEST_RING", 0.01)
    saw: list[str] = []

    async def scenario() -> int:
        pbx, _ = await asyncio.get_running_loop().create_datagram_endpoint(_RingsOnly, local_addr=(PBX, 5060))
        with closing(pbx):
            return await call(saw)

    assert asyncio.run(scenario()) == 408
    assert saw == ["placed", "failed"]


class _Counts(asyncio.DatagramProtocol):
    """A PBX that answers nothing."""

    def __init__(self) -> None:
        self.heard = 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.heard += 1


def test_a_killed_pbx_that_is_started_again_hears_no_more_of_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light, "_PAUSES", (0.01,) * 1000)

    async def scenario() -> None:
        pbx = _Counts()
        wire_of_pbx, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: pbx, local_addr=(PBX, 5060))
        caller = light.LightPhone("79000000010", "127.83.0.1", PBX, "", lambda kind, leg: None)
        await caller.start()
        with closing(wire_of_pbx), closing(caller):
            leg = caller.dial("5501003")
            assert await until(lambda: pbx.heard > 1)
            assert leg.dialling is not None
            leg.cut_off()
            assert await until(leg.dialling.done)
            assert leg.dialling.cancelled()

    asyncio.run(scenario())
