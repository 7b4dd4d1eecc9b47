"""A light phone calls a PBX that sends nothing back, as on a busy machine: the call fails, and the phone goes on."""

import asyncio
import socket
from contextlib import closing

import pytest

from pbxhub.testing.phones.light import phone as light
from pbxhub.testing.phones.light.until import until


def test_a_call_without_any_response_fails_as_if_the_pbx_had_answered_408(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(light, "_PAUSES", (0.01, 0.01))
    saw: list[str] = []

    async def call() -> int:
        caller = light.LightPhone("79000000010", "127.83.0.1", "127.83.0.2", "", lambda kind, leg: saw.append(kind))
        await caller.start()
        try:
            leg = caller.dial("5501003")
            assert await until(lambda: leg.state == "over")
            return leg.status
        finally:
            caller.close()

    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as silent:
        silent.bind(("127.83.0.2", 5060))
        assert asyncio.run(call()) == 408
    assert saw == ["placed", "failed"]
