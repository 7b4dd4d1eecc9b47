"""A PBX is gone without a word, or says what no protocol has: the conversation ends, the line goes on."""

import asyncio
import random
from typing import Any

import pytest
from panoramisk.actions import Action

from pbxhub.agi.wire import BadRequestError, HungUpError, Wire
from pbxhub.ami.protocol import AmiProtocol
from pbxhub.calls.ami_headers import clean
from pbxhub.calls.charsets import decode

HEADER = b"agi_network_script: t\nagi_uniqueid: 1.1\nagi_calleridname: A\x00nna\n"
GONE = (TimeoutError(110, "timed out"), OSError(113, "no route to host"), ConnectionResetError(104, "reset"))


class Nowhere(asyncio.Transport):
    """Takes what is sent."""

    def write(self, data: Any) -> None: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...
    def is_closing(self) -> bool:
        return False


def wire() -> tuple[asyncio.StreamReader, Wire]:
    reader = asyncio.StreamReader()
    writer = asyncio.StreamWriter(Nowhere(), asyncio.StreamReaderProtocol(reader), reader, asyncio.get_running_loop())
    return reader, Wire(reader, writer)


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
def test_a_conversation_ends_when_the_pbx_is_gone_without_a_word(error: OSError) -> None:
    async def scenario() -> None:
        reader, talks = wire()
        reader.feed_data(HEADER + b"\n")
        await talks.read_call()
        waiting = asyncio.create_task(talks.command("ANSWER"))
        await asyncio.sleep(0)
        reader.set_exception(error)
        with pytest.raises(HungUpError):
            await asyncio.wait_for(waiting, 10)
        assert talks.over

    asyncio.run(scenario())


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
def test_a_header_that_is_broken_off_is_no_request(error: OSError) -> None:
    async def scenario() -> None:
        reader, talks = wire()
        reader.feed_data(HEADER)
        asyncio.get_running_loop().call_soon(reader.set_exception, error)
        with pytest.raises(BadRequestError):
            await talks.read_call()

    asyncio.run(scenario())


@pytest.mark.slow
def test_a_nul_in_a_name_becomes_a_letter_that_databases_take() -> None:
    async def scenario() -> None:
        reader, talks = wire()
        reader.feed_data(HEADER + b"\n")
        named = (await talks.read_call()).caller_name
        assert clean(decode(named, "iso-8859-1")) == "A\ufffdnna"
        await talks.close()

    asyncio.run(scenario())


PIECES = (
    b"Event: ", b"Response: ", b"Success", b"Error", b"Follows", b"Goodbye", b"ActionID: ", b"EventList: start",
    b"EventList: Complete", b"SubEvent: Start", b"SubEvent: End", b"Message: ", b"will follow", b"Newchannel",
    b"OriginateResponse", b"FullyBooted", b"StatusComplete", b"Status", b"Shutdown", b"CommandID: ", b": ", b":",
    b"\r\n", b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\0", b"\xff\xfe", b" ", b"x" * 1000, b"Uniqueid: 1.1",
)  # fmt: skip


@pytest.mark.slow
def test_nothing_that_a_pbx_says_breaks_the_line() -> None:
    async def scenario() -> None:
        for seed in range(300):
            chance = random.Random(seed)
            protocol = AmiProtocol(lambda _block: True, "iso-8859-1")
            protocol.connection_made(Nowhere())
            protocol.data_received(b"Asterisk Call Manager/7.0.3\r\n")
            asked = [Action({"Action": "Status"}) for _ in range(2)]
            for action in asked:
                protocol.send(action, as_list=None)
            ids = [str(action.id).encode() for action in asked]
            for _ in range(60):
                piece = chance.choice((*PIECES, *ids, b"\r\nActionID: " + ids[0], b"\r\nActionID: " + ids[1]))
                protocol.data_received(piece)
            protocol.data_received(b"\r\n" * 10_000)
            protocol.data_received(b"a: b\r\n" * 10_000 + b"\r\n")
            protocol.data_received(b"\r\n\r\nEvent: Newchannel\r\nUniqueid: 1.1\r\n\r\n")
            assert protocol.counts.wanted
            assert not protocol.ended.done()

    asyncio.run(scenario())
