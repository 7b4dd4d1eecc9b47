"""WSGI applications on waitress, on a thread of their own, that stop without tearing a request apart."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from waitress import wasyncore
from waitress.server import create_server

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_FINISH = 3.0  # seconds that requests being answered may take when it stops
_STOP = 5.0  # seconds for the thread to end


@contextmanager
def serving(application: "WSGIApplication", listening_on: socket.socket, *, threads: int, name: str) -> Iterator[None]:
    """Serves on a bound TCP socket until left; what is being answered then is finished, within three seconds.

    threads: requests answered at the same time. name: of the thread that reads and writes the connections.
    """
    connections: dict[int, Any] = {}
    server: Any = create_server(application, connections, sockets=[listening_on], threads=threads, ident="pbxhub")
    thread = threading.Thread(target=server.run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.task_dispatcher.shutdown(timeout=_FINISH)
        # closed by the thread that polls them: from here, it could be left polling a descriptor that is gone
        server.trigger.pull_trigger(lambda: wasyncore.close_all(connections))
        thread.join(_STOP)
