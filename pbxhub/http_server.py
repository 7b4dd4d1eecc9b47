"""Runs WSGI applications on waitress in a separate thread, and stops without interrupting a request.

`run`, `web` and the testing kit use the same server. waitress reads and writes all connections on one thread and
passes a request to the thread pool only once it is complete, so neither an idle connection nor a very slow request
delays a page. (gunicorn's threads wait for both.) This module adds the limits that waitress lacks: the number of
connections, the time a request may take to arrive, and its size.
"""

import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_CONNECTIONS = 1000  # per process; each costs a file descriptor and about 2 µs per turn of the loop
_FILES = 8192  # file descriptors to ask for; some systems allow 1,024 by default
_IDLE = 60  # seconds without a byte in either direction
_ARRIVE = 60.0  # seconds from the first to the last byte of a request
_HEADERS = 64 * 1024  # bytes, including the address
_BODY = 4 * 1024 * 1024  # bytes; a body below this that the page finds too large gets an explanation
_IN_MEMORY = 64 * 1024  # bytes of a body; the rest waits in a temporary file
_STALLED = 5.0  # seconds after which a client that reads nothing may be disconnected to make room
_CHECK = 5  # seconds between checks for connections that have timed out
_FINISH = 3.0  # seconds that running requests may take when the server stops
_STOP = 5.0  # seconds for the thread to end


class _Request(HTTPRequestParser):
    """A request that records when its first byte arrived: bytes sent one by one must not extend its time limit."""

    def __init__(self, adj: Adjustments) -> None:
        super().__init__(adj)
        self.began = time.time()


class _Connection(HTTPChannel):
    parser_class = _Request
    request: _Request | None

    @property
    def since(self) -> float:
        """Since when the client has kept us waiting: for the rest of a request, or for the next one."""
        return float(self.request.began if self.request else self.last_activity)

    def readable(self) -> bool:
        """Called before every turn. A connection closed in this turn must not be polled: a new connection may get its
        descriptor."""
        return self.connected and bool(super().readable())

    def writable(self) -> bool:
        return self.connected and bool(super().writable())

    def may_go(self, now: float) -> bool:
        """Whether closing it interrupts nothing: no request is running, and the client is not reading an answer."""
        return not self.requests and (not self.total_outbufs_len or self.last_activity < now - _STALLED)


class _Server(TcpWSGIServer):
    channel_class = _Connection
    active_channels: dict[int, _Connection]  # type: ignore[assignment]

    def readable(self) -> bool:
        """Called before every turn. When all connections are in use, closes the one that has kept us waiting longest:
        a client that opens thousands loses its own, and a new client gets in."""
        if len(self.active_channels) >= self.adj.connection_limit - 2:
            self._make_room(time.time())
        return bool(super().readable())

    def maintenance(self, now: float) -> None:
        super().maintenance(now)  # type: ignore[arg-type]
        for connection in list(self.active_channels.values()):
            late = connection.request and connection.since < now - _ARRIVE
            # a thread waits for a client that does not read a long answer
            stuck = connection.total_outbufs_len and connection.last_activity < now - _IDLE
            if late or stuck:
                connection.handle_close()

    def _make_room(self, now: float) -> None:
        idle = [one for one in self.active_channels.values() if one.may_go(now)]
        if idle:
            # closed now: one only marked for closing is closed when it becomes writable, and a full one never does
            min(idle, key=lambda one: one.since).handle_close()


@contextmanager
def serving(application: "WSGIApplication", listening_on: socket.socket, *, threads: int, name: str) -> Iterator[None]:
    """Serves on a bound TCP socket while the context is open; then finishes running requests within three seconds.

    threads: requests handled at the same time. name: of the thread that reads and writes the connections.
    """
    connections: dict[int, Any] = {}
    server = _server(application, listening_on, connections, threads)
    thread = threading.Thread(target=server.run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.task_dispatcher.shutdown(timeout=_FINISH)
        # the polling thread closes them: closed from here, it could poll a descriptor that no longer exists
        server.trigger.pull_trigger(lambda: wasyncore.close_all(connections))
        thread.join(_STOP)


def _server(application: "WSGIApplication", listening_on: socket.socket, map_: dict[int, Any], threads: int) -> Any:
    adjustments = Adjustments(
        sockets=[listening_on],
        ident="pbxhub",
        connection_limit=min(_CONNECTIONS, _files() // 2) + 2,  # waitress counts the listening socket and its pipe
        asyncore_use_poll=True,  # select() knows no descriptor above 1,023
        channel_timeout=_IDLE,
        cleanup_interval=_CHECK,
        max_request_header_size=_HEADERS,
        max_request_body_size=_BODY,
        inbuf_overflow=_IN_MEMORY,
        clear_untrusted_proxy_headers=False,  # the application decides which proxies to trust
    )
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(threads)
    place = (listening_on.family, listening_on.type, listening_on.proto, listening_on.getsockname())
    return _Server(
        application, map_, True, listening_on, dispatcher=dispatcher, adj=adjustments, bind_socket=False,
        sockinfo=place,
    )  # fmt: skip


def _files() -> int:
    """How many file descriptors this process may open; raises a low limit first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _FILES if soft == resource.RLIM_INFINITY else soft
