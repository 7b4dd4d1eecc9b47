"""WSGI applications on waitress, on a thread of their own, that stop without tearing a request apart.

One server for `run`, `web` and the kit. waitress reads and writes all connections on one thread and gives a request a
thread of the pool only once all of it has arrived: neither an idle connection nor a request sent drop by drop holds up
a page. (gunicorn's threads wait for both.) What waitress leaves open is limited here: how many connections there are,
how long a request may take to arrive, and how large it may be.
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

_CONNECTIONS = 1000  # of one process; each costs a descriptor and about 2 µs per turn of the loop
_FILES = 8192  # descriptors a process asks for; some systems give 1,024 unasked
_IDLE = 60  # seconds without a byte in either direction
_ARRIVE = 60.0  # seconds from the first to the last byte of a request
_HEADERS = 64 * 1024  # bytes, the address included
_BODY = 4 * 1024 * 1024  # bytes; what is smaller and still too large gets a page that says so
_IN_MEMORY = 64 * 1024  # bytes of a body; the rest waits in a temporary file
_STALLED = 5.0  # seconds after which a reader who takes nothing may have to make room
_LOOK = 5  # seconds between two looks for connections that have had their time
_FINISH = 3.0  # seconds that requests being answered may take when it stops
_STOP = 5.0  # seconds for the thread to end


class _Request(HTTPRequestParser):
    """One that knows when its first byte came: drops sent one by one keep a connection busy, not its request."""

    def __init__(self, adj: Adjustments) -> None:
        super().__init__(adj)
        self.began = time.time()


class _Connection(HTTPChannel):
    parser_class = _Request
    request: _Request | None

    @property
    def since(self) -> float:
        """Since when it owes us something: the rest of a request, or the next one."""
        return float(self.request.began if self.request else self.last_activity)

    def readable(self) -> bool:
        """Asked before every turn. One that was closed in this turn must not be polled: its descriptor may be the
        next newcomer's."""
        return self.connected and bool(super().readable())

    def writable(self) -> bool:
        return self.connected and bool(super().writable())

    def may_go(self, now: float) -> bool:
        """Whether closing it interrupts nobody: nothing is being answered, nothing is being taken."""
        return not self.requests and (not self.total_outbufs_len or self.last_activity < now - _STALLED)


class _Server(TcpWSGIServer):
    channel_class = _Connection
    active_channels: dict[int, _Connection]  # type: ignore[assignment]

    def readable(self) -> bool:
        """Asked before every turn. Full, it closes the connection that has kept us waiting longest: whoever opens
        thousands pushes out their own, and a newcomer is heard."""
        if len(self.active_channels) >= self.adj.connection_limit - 2:
            self._make_room(time.time())
        return bool(super().readable())

    def maintenance(self, now: float) -> None:
        super().maintenance(now)  # type: ignore[arg-type]
        for connection in list(self.active_channels.values()):
            late = connection.request and connection.since < now - _ARRIVE
            # a thread waits for a reader who takes nothing of a long answer
            stuck = connection.total_outbufs_len and connection.last_activity < now - _IDLE
            if late or stuck:
                connection.handle_close()

    def _make_room(self, now: float) -> None:
        idle = [one for one in self.active_channels.values() if one.may_go(now)]
        if idle:
            # at once: marked as to be closed, it would be when it can be written to, which a full one never can
            min(idle, key=lambda one: one.since).handle_close()


@contextmanager
def serving(application: "WSGIApplication", listening_on: socket.socket, *, threads: int, name: str) -> Iterator[None]:
    """Serves on a bound TCP socket until left; what is being answered then is finished, within three seconds.

    threads: requests answered at the same time. name: of the thread that reads and writes the connections.
    """
    connections: dict[int, Any] = {}
    server = _server(application, listening_on, connections, threads)
    thread = threading.Thread(target=server.run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.task_dispatcher.shutdown(timeout=_FINISH)
        # closed by the thread that polls them: from here, it could be left polling a descriptor that is gone
        server.trigger.pull_trigger(lambda: wasyncore.close_all(connections))
        thread.join(_STOP)


def _server(application: "WSGIApplication", listening_on: socket.socket, map_: dict[int, Any], threads: int) -> Any:
    adjustments = Adjustments(
        sockets=[listening_on],
        ident="pbxhub",
        connection_limit=min(_CONNECTIONS, _files() // 2) + 2,  # waitress counts the listening socket and its pipe
        asyncore_use_poll=True,  # select() knows no descriptor above 1,023
        channel_timeout=_IDLE,
        cleanup_interval=_LOOK,
        max_request_header_size=_HEADERS,
        max_request_body_size=_BODY,
        inbuf_overflow=_IN_MEMORY,
        clear_untrusted_proxy_headers=False,  # the application itself decides whom to believe
    )
    dispatcher = ThreadedTaskDispatcher()
    dispatcher.set_thread_count(threads)
    place = (listening_on.family, listening_on.type, listening_on.proto, listening_on.getsockname())
    return _Server(
        application, map_, True, listening_on, dispatcher=dispatcher, adj=adjustments, bind_socket=False,
        sockinfo=place,
    )  # fmt: skip


def _files() -> int:
    """How many descriptors this process may have; it asks for more where few were given."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _FILES if soft == resource.RLIM_INFINITY else soft
