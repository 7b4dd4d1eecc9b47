"""A receiver in a process of its own, so that what it costs is not counted as the hub's."""

import json
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests


def receive(ready: Any, wait: float) -> None:
    """A receiver as fast as one process can be: answers 204 after `wait` seconds, /hang never.

    /report: the time at which each request first arrived, by its header `moment`, else by its webhook-id.
    """
    import asyncio

    arrived: dict[str, float] = {}

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport, self.buffer = transport, b""

        def data_received(self, data: bytes) -> None:
            self.buffer += data
            while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
                head = self.buffer[:end].lower()
                at = head.find(b"content-length:")
                length = int(head[at + 15 : (head + b"\r").find(b"\r", at)]) if at >= 0 else 0
                if len(self.buffer) < end + 4 + length:
                    return
                self.buffer = self.buffer[end + 4 + length :]
                self.answer(head)

        def answer(self, head: bytes) -> None:
            if head.startswith(b"get /report"):
                body = json.dumps(arrived).encode()
                arrived.clear()
                self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
                return
            for name in (b"\r\nmoment: ", b"\r\nwebhook-id: "):
                if (at := head.find(name)) >= 0:
                    at += len(name)
                    arrived.setdefault(head[at : (head + b"\r").find(b"\r", at)].decode(), time.time())
                    break
            if b"/hang" in head[: head.find(b"\r\n")]:
                return
            if wait:
                loop.call_later(wait, self.transport.write, b"HTTP/1.1 204 No Content\r\n\r\n")
            else:
                self.transport.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def serve() -> None:
        server = await loop.create_server(Protocol, "127.0.0.1", 0, backlog=2048)
        ready.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(serve())


@contextmanager
def receiver(wait: float = 0.0) -> Iterator[str]:
    context = multiprocessing.get_context("spawn")
    ready = context.Queue()
    process = context.Process(target=receive, args=(ready, wait), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ready.get(timeout=30)}"
    finally:
        process.kill()
        process.join()


def arrivals(url: str) -> dict[str, float]:
    return dict(requests.get(f"{url}/report", timeout=30).json())
