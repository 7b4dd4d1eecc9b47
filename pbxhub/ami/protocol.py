"""The bytes of one AMI connection: panoramisk's protocol with limits.

This uses the protocol, actions and messages of panoramisk 1.4, but not its Manager, whose connecting, reconnecting,
pinging and queueing do harm here: it sends an unanswered Originate again after a reconnect, close() leaves a pending
reconnect running, it silently retries a wrong password every 2 s, and it ignores missing pongs. Switching these off
one by one takes more code than connecting ourselves.

What this class adds: segments are joined as bytes before decoding, so a character split between two segments stays
whole; a message has a maximum size; unwanted events are dropped by name before decoding; the first of repeated
headers counts; nothing that arrives can raise an exception.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.message import Message

from pbxhub.calls.ami_parser import EVENTS
from pbxhub.calls.charsets import decode
from pbxhub.store.pbx_state_sentences import PbxState

LONGEST_MESSAGE = 128 * 1024  # bytes; the longest in the recordings has 2,400
_LONGEST_GARBAGE = 16 * 1024 * 1024
_GREETING = b"Asterisk Call Manager/"
_LONGEST_GREETING = 200
_END = b"\r\n\r\n"
_LISTS = frozenset({"Status", "StatusComplete", "CoreShowChannel", "CoreShowChannelsComplete", "ParkedCallsComplete"})
FILTERED_EVENTS = (EVENTS | {"FullyBooted", "Shutdown", "OriginateResponse"}) - _LISTS  # the filter lets these pass
_WANTED = frozenset(name.encode() for name in FILTERED_EVENTS)
_ANSWERS = frozenset(name.encode() for name in _LISTS)


class SessionEndedError(Exception):
    """The session has ended. state says why."""

    def __init__(self, state: PbxState) -> None:
        super().__init__(state.sentence)
        self.state = state


@dataclass(slots=True)
class Counts:
    """How many messages one connection has received and discarded."""

    wanted: int = 0
    unwanted: int = 0
    unreadable: int = 0
    too_long: int = 0


@dataclass(frozen=True, slots=True)
class AmiResponse:
    """The answer to an action. blocks: the text of each of its messages, list events included."""

    success: bool
    message: str
    headers: Mapping[str, str]
    blocks: tuple[str, ...]


class AmiProtocol(AMIProtocol):
    """One connection. on_event(block) is called with each wanted event; it returns False when there is no room.
    charset: of what is not UTF-8."""

    def __init__(self, on_event: Callable[[str], bool], charset: str) -> None:
        self.on_event = on_event
        self._charset = charset
        self.counts = Counts()
        self.got_newchannel = False
        self.fully_booted: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.greeting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[PbxState] = asyncio.get_running_loop().create_future()
        self.last_byte = asyncio.get_running_loop().time()
        self._buffer = bytearray()
        self._skipped = 0  # bytes discarded of a message that is too long

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[no-untyped-call]
        self.encoding = "utf-8"

    def data_received(self, data: bytes) -> None:
        self.last_byte = asyncio.get_running_loop().time()
        if self.ended.done():
            return
        searched = max(0, len(self._buffer) - 3)
        self._buffer += data
        if self.version is None and not self._greet():
            return
        if _END not in memoryview(self._buffer)[searched:].tobytes():
            self._bound()
            return
        *blocks, rest = bytes(self._buffer).split(_END)
        self._buffer = bytearray(rest)
        for block in blocks:
            self._take(block.lstrip(b"\r\n"))
        self._bound()

    def _greet(self) -> bool:
        """Removes the greeting from the buffer. False while it is incomplete, or when it is not AMI's."""
        line, end, rest = bytes(self._buffer).partition(b"\n")
        right = line.startswith(_GREETING) if end else _GREETING.startswith(line) or line.startswith(_GREETING)
        if not right or len(line) > _LONGEST_GREETING:
            self.end(PbxState("refused", "not_ami", ascii(line[:40].decode("utf-8", "replace"))))
        elif end:
            self.version = line.strip().removeprefix(_GREETING).decode("ascii", "replace")
            self._buffer = bytearray(rest)
            self.greeting.set_result(self.version)
        return self.version is not None

    def _bound(self) -> None:
        """Discards a message that is too long as it arrives; ends the connection when it never ends."""
        if len(self._buffer) <= LONGEST_MESSAGE:
            return
        self._skipped += len(self._buffer) - 3
        del self._buffer[:-3]  # the end mark may be split
        if self._skipped > _LONGEST_GARBAGE:
            self.end(PbxState("lost", "garbage", str(self._skipped)))

    def _take(self, block: bytes) -> None:
        if self._skipped or len(block) > LONGEST_MESSAGE:
            self._skipped = 0
            self.counts.too_long += 1
        elif block.startswith(b"Event: "):
            self._event(block, block[7 : block.find(b"\r\n")] if b"\r\n" in block else block[7:])
        elif block.startswith(b"Response: "):
            self._answer(decode(block, self._charset))
        elif block:
            self.counts.unreadable += 1

    def _event(self, block: bytes, name: bytes) -> None:
        if name in _ANSWERS:
            self._answer(decode(block, self._charset))
            return
        if name not in _WANTED:
            self.counts.unwanted += 1
            return
        text = decode(block, self._charset)
        self.counts.wanted += 1
        if name == b"OriginateResponse":  # both the sender of the Originate and the tracker need it
            self._answer(text)
        elif name == b"Newchannel":
            self.got_newchannel = True
        elif name == b"FullyBooted" and not self.fully_booted.done():
            self.fully_booted.set_result(text)
        if not self.on_event(text):
            self.end(PbxState("lost", "flooded", str(self.counts.wanted)))

    def _answer(self, text: str) -> None:
        headers = headers_of(text)
        action = self.responses.get(headers.get("ActionID"))
        if action is None:
            return
        try:
            self.handle_message(Message(headers, content=text))  # type: ignore[no-untyped-call]
        except (AttributeError, KeyError, TypeError):  # panoramisk may guess the kind of answer wrongly
            self.counts.unreadable += 1

    @property
    def own_address(self) -> str:
        """The address of this end; "" when the connection broke before it could be read."""
        name = self.transport.get_extra_info("sockname") or ("",)
        return str(name[0]).partition("%")[0]

    async def wait_for(self, future: asyncio.Future[str], seconds: float) -> bool:
        """Waits until the future is done (True) or the time is up (False). Raises SessionEndedError when the
        connection ends meanwhile."""
        either: set[asyncio.Future[Any]] = {future, self.ended}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not future.done() and self.ended.done():
            raise SessionEndedError(self.ended.result())
        return future.done()

    async def ask(self, action: Action, seconds: float) -> AmiResponse:
        """Sends an action once and waits for its complete answer.

        Raises SessionEndedError when the connection ends meanwhile or the answer does not arrive in time.
        """
        if self.ended.done():
            raise SessionEndedError(self.ended.result())
        future = self.send(action, as_list=None)  # type: ignore[no-untyped-call]
        try:
            if not await self.wait_for(future, seconds):
                raise SessionEndedError(PbxState("refused", "no_answer", action["Action"]))
        finally:
            self.responses.pop(action.id, None)
        return _answer(future.result())

    def end(self, state: PbxState) -> None:
        """Ends the connection at once. state is the reason; the first reason given counts."""
        if not self.ended.done():
            self.ended.set_result(state)
        self._buffer.clear()
        self.transport.abort()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: BaseException | None) -> None:
        self.closed = True
        self.responses = {}
        if self.ended.done():
            return
        if self.version is None:
            self.ended.set_result(PbxState("refused", "closed_at_once"))
        else:
            self.ended.set_result(PbxState("lost", "closed", f" ({exc})" if exc else ""))


def headers_of(block: str) -> dict[str, str]:
    """The headers of a message. The first of repeated headers counts; lines without a colon are ignored."""
    headers: dict[str, str] = {}
    for line in block.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name, value.removeprefix(" "))
    return headers


def _answer(reply: Message | list[Message]) -> AmiResponse:
    messages = reply if isinstance(reply, list) else [reply]
    first = messages[0]
    return AmiResponse(
        success=bool(first.success),
        message=str(first.message),
        headers=dict(first.items()),
        blocks=tuple(str(message.content) for message in messages),
    )
