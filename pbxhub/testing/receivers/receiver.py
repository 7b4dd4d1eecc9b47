"""A real HTTP server on loopback that takes every request and remembers the last ones: for the demo, tests, benches."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from types import TracebackType
from typing import Self

_LARGEST_HEAD = 64 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived. path: with its query, as on the wire; connection: 1, 2, 3 … in order of connecting."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    connection: int
    received_on: datetime

    def header(self, name: str) -> str | None:
        """The first header of this name, in any letter case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer. delay: seconds to wait before."""

    status: int = 200
    body: bytes = b"ok"
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0


Responder = Callable[[Received], Reply]


class Receiver:
    """Answers every request with responder(received), by default 200 "ok". Use it in a with block.

    Keeps the last `keep` requests in .requests; .count counts all of them. The responder runs on the server's thread
    and must not block: a Reply has a delay for that.
    """

    def __init__(self, responder: Responder | None = None, *, port: int = 0, keep: int = 1000) -> None:
        self.requests: deque[Received] = deque(maxlen=keep)
        self.count = 0
        self.connections = 0
        self._responder = responder or _ok
        self._port = port
        self._news = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)
        self._open: set[asyncio.Transport] = set()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT, without a slash at the end."""
        return f"http://127.0.0.1:{self._port}"

    def wait_for(self, count: int, seconds: float = 60.0) -> list[Received]:
        """The requests kept, once `count` have arrived. Raises TimeoutError when they do not arrive in time."""
        with self._news:
            if not self._news.wait_for(lambda: self.count >= count, seconds):
                raise TimeoutError(f"{self.count} of {count} requests arrived within {seconds} s")
            return list(self.requests)

    def __enter__(self) -> Self:
        self._server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self._port, backlog=4096)
        )
        self._port = self._server.sockets[0].getsockname()[1]
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._server.close()
        for transport in self._open:
            transport.abort()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def take(self, received: Received) -> Reply:
        """Remembers a request and says what to answer; called by the connections."""
        with self._news:
            self.requests.append(received)
            self.count += 1
            self._news.notify_all()
        return self._responder(received)


class _Connection(asyncio.Protocol):
    """One connection: requests one after the other, bodies by Content-Length."""

    def __init__(self, receiver: Receiver) -> None:
        receiver.connections += 1
        self._receiver = receiver
        self._number = receiver.connections
        self._data = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._receiver._open.add(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._receiver._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            method, path, headers = _read_head(bytes(self._data[:end]))
            length = int(next((value for name, value in headers if name.lower() == "content-length"), "0"))
            if len(self._data) < end + 4 + length:
                return
            body = bytes(self._data[end + 4 : end + 4 + length])
            del self._data[: end + 4 + length]
            received = Received(method, path, headers, body, self._number, datetime.now(UTC))
            self._answer(self._receiver.take(received), method)
        if len(self._data) > _LARGEST_HEAD:
            self._transport.abort()

    def _answer(self, reply: Reply, method: str) -> None:
        lines = [f"HTTP/1.1 {reply.status} {_reason(reply.status)}", f"Content-Length: {len(reply.body)}"]
        lines += [f"{name}: {value}" for name, value in reply.headers]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        answer = head if method == "HEAD" else head + reply.body
        if reply.delay:
            asyncio.get_running_loop().call_later(reply.delay, self._transport.write, answer)
        else:
            self._transport.write(answer)


def _read_head(head: bytes) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    pairs = (line.partition(":") for line in lines)
    return method, rest.rpartition(" ")[0], tuple((name, value.strip()) for name, _, value in pairs)


def _reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _ok(_: Received) -> Reply:
    return Reply()
