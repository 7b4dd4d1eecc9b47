"""Receivers that misbehave, on real sockets: each animal is what one connection of a bad server does."""

import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from itertools import chain, repeat
from types import TracebackType
from typing import Self

_DRIP_SECONDS = 0.05


class Visit:
    """One connection to a bad server: send, wait, break off."""

    def __init__(self, connection: socket.socket, over: threading.Event, number: int) -> None:
        self._connection = connection
        self._over = over
        self.number = number

    def read_request(self) -> bytes:
        """Head and body of the next request; empty when the client has gone."""
        data = b""
        while b"\r\n\r\n" not in data or len(data) < _length(data):
            part = self._connection.recv(65536)
            if not part:
                return b""
            data += part
        return data

    def send(self, data: bytes) -> None:
        """Sends all of it. Raises OSError when the client has had enough."""
        self._connection.sendall(data)

    def pause(self, seconds: float = 3600.0) -> bool:
        """Waits; true when the server is being closed."""
        return self._over.wait(seconds)

    def reset(self) -> None:
        """RST instead of a proper end."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()


Animal = Callable[[Visit], None]


class Cage:
    """A server on loopback that treats every connection as its animal does. Use it in a with block.

    requests: all that was read by animals that read. visits: connections accepted.
    """

    def __init__(self, animal: Animal, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[bytes] = []
        self.visits = 0
        self._animal = animal
        self._tls = tls
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._open: set[socket.socket] = set()

    @property
    def port(self) -> int:
        """The port it listens on."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """http(s)://127.0.0.1:PORT, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="cage", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            connection.close()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.visits += 1
            threading.Thread(target=self._serve, args=(connection, self.visits), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        self._open.add(connection)
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            visit = _Recorded(connection, self._over, number, self.requests)
            self._animal(visit)
        except OSError:
            return  # the client went away, which is what it should do
        finally:
            self._open.discard(connection)
            connection.close()


class _Recorded(Visit):
    def __init__(self, connection: socket.socket, over: threading.Event, number: int, log: list[bytes]) -> None:
        super().__init__(connection, over, number)
        self._log = log

    def read_request(self) -> bytes:
        data = super().read_request()
        if data:
            self._log.append(data)
        return data


def _length(data: bytes) -> int:
    head, _, _ = data.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(head) + 4 + int(value)
    return len(head) + 4


def says(answer: bytes) -> Animal:
    """Answers every request with these bytes and keeps the connection."""

    def animal(visit: Visit) -> None:
        while visit.read_request():
            visit.send(answer)

    return animal


def ends_after(answer: bytes) -> Animal:
    """Answers with these bytes and closes."""

    def animal(visit: Visit) -> None:
        visit.read_request()
        visit.send(answer)

    return animal


def greets(answer: bytes) -> Animal:
    """Speaks first, whatever the client wants to say, and closes."""

    def animal(visit: Visit) -> None:
        visit.send(answer)
        visit.pause(0.1)

    return animal


def resets_after(answer: bytes) -> Animal:
    """Answers with these bytes, waits until they are through and resets the connection."""

    def animal(visit: Visit) -> None:
        visit.read_request()
        if answer:
            visit.send(answer)
            visit.pause(0.1)
        visit.reset()

    return animal


def drips(first: bytes, drop: bytes) -> Animal:
    """Sends the first bytes at once and then a drop twenty times a second, for ever."""

    def animal(visit: Visit) -> None:
        visit.read_request()
        visit.send(first)
        while not visit.pause(_DRIP_SECONDS):
            visit.send(drop)

    return animal


def floods(first: bytes, wave: bytes) -> Animal:
    """Sends the first bytes and then the wave again and again, as fast as it is read."""

    def animal(visit: Visit) -> None:
        visit.read_request()
        visit.send(first)
        while not visit.pause(0):
            visit.send(wave)

    return animal


def answers_in_turn(*answers: bytes) -> Animal:
    """The first request gets the first answer, and so on, over all connections; the last one stays."""
    left = chain(answers, repeat(answers[-1]))

    def animal(visit: Visit) -> None:
        while visit.read_request():
            visit.send(next(left))

    return animal


def hangs(visit: Visit) -> None:
    """Takes the request and never answers."""
    visit.read_request()
    visit.pause()


def slams(visit: Visit) -> None:
    """Closes without reading a byte."""
    visit.pause(0)


def http(status: int, body: bytes = b"", *headers: str) -> bytes:
    """A proper answer, for animals that need one."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


OK = http(200, b"ok")
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

drips_headers = drips(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n")
drips_one_header = drips(b"HTTP/1.1 200 OK\r\nX-Long: ", b"a")
drips_body = drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"a")
floods_body = floods(b"HTTP/1.1 200 OK\r\n\r\n", b"a" * 65536)
floods_chunks = floods(CHUNKED, b"1000\r\n" + b"a" * 4096 + b"\r\n")
floods_tiny_chunks = floods(CHUNKED, b"1\r\na\r\n" * 1000)
floods_interim = floods(b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100)
floods_headers = floods(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 1000)
sends_200_headers = says(b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 200 + b"Content-Length: 0\r\n\r\n")
sends_64k_header = says(b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 65536 + b"\r\nContent-Length: 0\r\n\r\n")
sends_interim_first = says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK)
truncates = ends_after(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
truncates_chunks = ends_after(CHUNKED + b"4\r\nhalf\r\n")
resets = resets_after(b"")
resets_in_body = resets_after(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
is_no_http = ends_after(b"SSH-2.0-OpenSSH_9.9\r\n")
is_http_09 = ends_after(b"<html>hello</html>")


def sends_bomb(encoding: str, packed: bytes) -> Animal:
    """An answer that says it is compressed."""
    return says(http(200, packed, f"Content-Encoding: {encoding}"))


def gzip_bomb(megabytes: int = 32) -> bytes:
    """Zeros that unpack to that many megabytes."""
    return gzip.compress(bytes(megabytes * 1024 * 1024), 9)
