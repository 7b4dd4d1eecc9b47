"""The bytes of one AMI connection: panoramisk's protocol, guarded.

Of panoramisk 1.4 this uses the protocol, its actions and messages, not its Manager: connecting, reconnecting, pinging
and queueing are what the Manager does, and all four do harm here (an unanswered Originate is sent again after a
reconnect, close() leaves a pending reconnect alive, a wrong password is retried every 2 s untold, missing pongs go
unnoticed). Switching them off one by one takes more code than connecting ourselves.

What is guarded in the protocol: segments are joined as bytes before anything is decoded (a letter split between two
segments stays whole), a message has a greatest size, unwanted events are dropped by name before they are decoded,
repeated headers count once, and nothing that arrives can raise.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from panoramisk.actions import Action
from panoramisk.ami_protocol import AMIProtocol
from panoramisk.message import Message

from pbxhub.calls.ami_events import EVENTS
from pbxhub.store.pbx_states import PbxState

LONGEST_MESSAGE = 128 * 1024  # bytes; the longest in the recordings has 2,400
_LONGEST_GARBAGE = 16 * 1024 * 1024
_GREETING = b"Asterisk Call Manager/"
_LONGEST_GREETING = 200
_END = b"\r\n\r\n"
_LISTS = frozenset({"Status", "StatusComplete", "CoreShowChannel", "CoreShowChannelsComplete"})
HEARD = (EVENTS | {"FullyBooted", "Shutdown", "OriginateResponse"}) - _LISTS  # the event filter lets these pass
_WANTED = frozenset(name.encode() for name in HEARD)
_ANSWERS = frozenset(name.encode() for name in _LISTS)


class SessionEndedError(Exception):
    """Leaves the steps of a session with the state that ended it."""

    def __init__(self, state: PbxState) -> None:
        super().__init__(state.sentence)
        self.state = state


@dataclass(slots=True)
class Counts:
    """What one connection has heard and thrown away."""

    wanted: int = 0
    unwanted: int = 0
    unreadable: int = 0
    too_long: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What an action came to. blocks: the text of every message of the answer, the list events included."""

    success: bool
    message: str
    headers: Mapping[str, str]
    blocks: tuple[str, ...]


class AmiProtocol(AMIProtocol):
    """One connection. hear(block) is called with each wanted event; it says whether there was room for it."""

    def __init__(self, hear: Callable[[str], bool]) -> None:
        self.hear = hear
        self.counts = Counts()
        self.heard_newchannel = False
        self.fully_booted: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.greeting: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[PbxState] = asyncio.get_running_loop().create_future()
        self.last_byte = asyncio.get_running_loop().time()
        self._buffer = bytearray()
        self._skipped = 0  # bytes thrown away of a message that is too long

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
        """Takes the greeting off the buffer; False while it is incomplete, or when it is none."""
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
        """Throws an endless message away as it comes; ends the connection when there is no end to it."""
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
            self._answer(block.decode("utf-8", "replace"))
        elif block:
            self.counts.unreadable += 1

    def _event(self, block: bytes, name: bytes) -> None:
        if name in _ANSWERS:
            self._answer(block.decode("utf-8", "replace"))
            return
        if name not in _WANTED:
            self.counts.unwanted += 1
            return
        text = block.decode("utf-8", "replace")
        self.counts.wanted += 1
        if name == b"OriginateResponse":  # for whoever sent the Originate, and for the tracker
            self._answer(text)
        elif name == b"Newchannel":
            self.heard_newchannel = True
        elif name == b"FullyBooted" and not self.fully_booted.done():
            self.fully_booted.set_result(text)
        if not self.hear(text):
            self.end(PbxState("lost", "flooded", str(self.counts.wanted)))

    def _answer(self, text: str) -> None:
        headers = headers_of(text)
        action = self.responses.get(headers.get("ActionID"))
        if action is None:
            return
        try:
            self.handle_message(Message(headers, content=text))  # type: ignore[no-untyped-call]
        except (AttributeError, KeyError, TypeError):  # panoramisk's guess what kind of answer this is may stumble
            self.counts.unreadable += 1

    @property
    def own_address(self) -> str:
        """The address of this end; empty when the connection broke before anybody could ask."""
        name = self.transport.get_extra_info("sockname") or ("",)
        return str(name[0]).partition("%")[0]

    async def wait_for(self, future: asyncio.Future[str], seconds: float) -> bool:
        """Waits until the future is done or the time is up; says which. Raises SessionEndedError when the connection
        ends meanwhile."""
        either: set[asyncio.Future[Any]] = {future, self.ended}
        await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not future.done() and self.ended.done():
            raise SessionEndedError(self.ended.result())
        return future.done()

    async def ask(self, action: Action, seconds: float) -> Answer:
        """Sends an action and waits for its whole answer. It is sent once, whatever happens.

        Raises SessionEndedError when the connection ends meanwhile or the answer does not come in time.
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
        """Ends the connection at once, for this reason; the first reason stays."""
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
    """The headers of a message; of a repeated one the first counts. Lines without a colon are passed over."""
    headers: dict[str, str] = {}
    for line in block.split("\r\n"):
        name, colon, value = line.partition(":")
        if colon:
            headers.setdefault(name, value.removeprefix(" "))
    return headers


def _answer(reply: Message | list[Message]) -> Answer:
    messages = reply if isinstance(reply, list) else [reply]
    first = messages[0]
    return Answer(
        success=bool(first.success),
        message=str(first.message),
        headers=dict(first.items()),
        blocks=tuple(str(message.content) for message in messages),
    )
