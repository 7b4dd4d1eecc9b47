"""A web server for a test: answers the webhooks of the system under test and remembers every request."""

import errno
import re
import socket
import traceback
from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Self

import h11

from pbxhub.testing.receivers.mock_answers import Answer, Responder, status_response, text_response
from pbxhub.testing.receivers.mock_request import MockRequest
from pbxhub.testing.receivers.mock_wire import TOO_LARGE, Wire, check_answer

Path = str | re.Pattern[str]
_METHOD = re.compile(r"[A-Za-z-]+|\*")
_STOP_WAIT = 5.0  # seconds for the threads of open connections to end


class PortOccupiedError(Exception):
    """The port cannot be listened on. The text says what to do."""


class NoRequestError(AssertionError):
    """No such request arrived. An AssertionError, so that await_until tries again."""


class ResponderFailedError(AssertionError):
    """A responder of the test raised. The test is told when the server stops."""


@dataclass(frozen=True, slots=True)
class _Route:
    method: str
    path: Path
    responder: Responder

    def answers(self, request: MockRequest) -> bool:
        return self.method in ("*", request.method) and _is_at(request, self.path)

    @property
    def rank(self) -> tuple[bool, bool]:
        return isinstance(self.path, str), self.method != "*"


def regex(pattern: str) -> re.Pattern[str]:
    """A path for on(), respond(), request_count() …: the whole path must match. regex("/calls/.*")."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None


class MockServer:
    """An HTTP server on loopback, in threads of its own. Stop it with stop() or use it in a with statement.

    Of several routes that fit a request the one with the exact path wins over a regex, then the exact method over "*",
    then the one registered last. A request is remembered before its responder runs; one that fits no route is answered
    404 and remembered too.
    """

    def __init__(self, port: int = 0) -> None:
        """port: 0 takes a free one. Raises PortOccupiedError."""
        self._lock = Lock()
        self._routes: list[_Route] = []
        self._requests: list[MockRequest] = []
        self._failures: list[str] = []
        self._stopping = Event()
        self._open: set[socket.socket] = set()
        self._threads: list[Thread] = []
        self._listening = _listen(port)
        self.port: int = self._listening.getsockname()[1]
        self._accepting = Thread(target=self._accept, name=f"mock-{self.port}", daemon=True)
        self._accepting.start()

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    def on(self, method: str, path: Path, responder: Responder) -> None:
        """Answers by calling responder(request). method: "POST" …, "*" for any; path: exact, or regex(…)."""
        if not isinstance(method, str) or not _METHOD.fullmatch(method):
            raise ValueError(f'method={method!r}: give "GET", "POST" …, or "*" for any')
        _check_path(path)
        if not callable(responder):
            raise TypeError(f"responder={responder!r} cannot be called: give a function, or use respond()")
        with self._lock:
            self._routes.append(_Route(method.upper(), path, responder))

    def respond(self, method: str, path: Path, answer: Answer | int) -> None:
        """Answers always the same. Registered again it stages the next answer. A number is a status without a body."""
        fixed = status_response(answer) if isinstance(answer, int) else answer
        check_answer(fixed)
        self.on(method, path, lambda _: fixed)

    @property
    def requests(self) -> list[MockRequest]:
        """Everything that arrived, in order of arrival."""
        with self._lock:
            return list(self._requests)

    def request_count(self, path: Path) -> int:
        """How many requests arrived at the path, by any method."""
        _check_path(path)
        return sum(_is_at(request, path) for request in self.requests)

    def last_request(self, path: Path) -> MockRequest:
        """The newest request at the path. Raises NoRequestError that lists what arrived instead."""
        __tracebackhide__ = True
        _check_path(path)
        arrived = self.requests
        for request in reversed(arrived):
            if _is_at(request, path):
                return request
        others = ", ".join(map(str, arrived[-10:])) or "nothing"
        wanted = path if isinstance(path, str) else f"regex({path.pattern!r})"
        raise NoRequestError(f"no request arrived at {wanted}; what arrived: {others}")

    def stop(self) -> None:
        """Closes the port and every connection. Raises ResponderFailedError if a responder raised meanwhile."""
        __tracebackhide__ = True
        self._close()
        failures, self._failures = self._failures, []
        if failures:
            raise ResponderFailedError("\n".join(failures))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        __tracebackhide__ = True
        if kind is None:
            self.stop()
        else:  # the test has failed already: its own failure is the one to show
            self._close()

    @property
    def failures(self) -> list[str]:
        """What responders raised so far, with their tracebacks."""
        with self._lock:
            return list(self._failures)

    def _close(self) -> None:
        self._stopping.set()
        _shut(self._listening)
        self._accepting.join(_STOP_WAIT)
        with self._lock:
            for connection in self._open:
                _shut(connection, close=False)
        for thread in self._threads:
            thread.join(_STOP_WAIT)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            thread = Thread(target=self._serve, args=(connection,), name=f"mock-{self.port}", daemon=True)
            with self._lock:
                self._open.add(connection)
            thread.start()
            # a thread is joined until it is dead: it still runs for a moment after it has closed its connection
            self._threads = [*(one for one in self._threads if one.is_alive()), thread]

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Wire(connection, self._stopping).serve(self._answer)
        except h11.LocalProtocolError as error:
            self._tell(f"an answer cannot be sent as it is: {error}")
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _answer(self, request: MockRequest) -> Answer:
        with self._lock:
            self._requests.append(request)
            fitting = [route for route in self._routes if route.answers(request)]
        if request.truncated:
            return TOO_LARGE
        if not fitting:
            return text_response(f"the mock server has no answer for {request}\n", 404)
        route = max(reversed(fitting), key=lambda route: route.rank)
        try:
            answer = route.responder(request)
            check_answer(answer)
        except Exception:  # noqa: BLE001 - the responder is the test's: whatever it raises is told to the test
            self._tell(f"the responder for {request} raised:\n{traceback.format_exc()}")
            return text_response("the responder of the test raised\n", 500)
        return answer

    def _tell(self, failure: str) -> None:
        with self._lock:
            self._failures.append(failure)


def _check_path(path: object) -> None:
    """Raises ValueError for a path at which no request can ever arrive."""
    if isinstance(path, re.Pattern) and isinstance(path.pattern, str):
        return
    if not isinstance(path, str):
        raise ValueError(f'path={path!r}: give a text that begins with "/", or regex(…)')
    if not path.startswith("/"):
        raise ValueError(f'the path {path!r} must begin with "/"; for a pattern give regex({path!r})')
    if "?" in path:
        raise ValueError(f"the path {path!r} must end before the query: a responder reads it by request.query(name)")


def _is_at(request: MockRequest, path: Path) -> bool:
    return request.path == path if isinstance(path, str) else path.fullmatch(request.path) is not None


def _listen(port: int) -> socket.socket:
    if port not in range(65536):
        raise PortOccupiedError(f"{port} is not a port: give 1 to 65535, or 0 for a free one")
    try:
        return socket.create_server(("127.0.0.1", port), backlog=512)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortOccupiedError(
                f"port {port} is used by another program: stop it, or take a free port with mock_server()"
            ) from None
        raise PortOccupiedError(f"cannot listen on port {port}: {error.strerror}") from None


def _shut(connection: socket.socket, close: bool = True) -> None:
    """Wakes whoever waits on the socket."""
    with suppress(OSError):  # the other side was quicker
        connection.shutdown(socket.SHUT_RDWR)
    if close:
        connection.close()
