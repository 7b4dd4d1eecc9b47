"""The mock server's side of one TCP connection: reads requests and writes answers with h11."""

import socket
import struct
from collections.abc import Callable
from threading import Event

import h11

from pbxhub.testing.receivers.mock_answers import Answer, Drip, Hang, MockAnswer, Reset
from pbxhub.testing.receivers.mock_request import MockRequest

BODY_LIMIT = 1024 * 1024
_DRAINED = 64 * BODY_LIMIT  # read and thrown away of a body that is too large, so that its sender sees the 413
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
_NEVER_A_BODY = frozenset({204, 304})


class ConnectionOverError(Exception):
    """Nothing more will be read or written here."""


class Wire:
    """One connection. `serve` answers its requests until either side ends it."""

    def __init__(self, connection: socket.socket, stopping: Event) -> None:
        self._socket = connection
        self._stopping = stopping
        self._http = h11.Connection(h11.SERVER)

    def serve(self, answer: Callable[[MockRequest], Answer]) -> None:
        """Reads requests and sends what `answer` says to each, several on one connection."""
        try:
            while not self._stopping.is_set():
                request = self._read_request()
                self._send(answer(request), request.method != "HEAD")
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    return
                self._http.start_next_cycle()
        except h11.RemoteProtocolError as error:
            self._refuse(error)
        except (ConnectionOverError, OSError):
            return

    def _read_request(self) -> MockRequest:
        """The next request; of a body over the limit the beginning is kept."""
        head = self._next()
        if not isinstance(head, h11.Request):
            raise ConnectionOverError
        body, size = bytearray(), 0
        while isinstance(part := self._next(), h11.Data):
            size += len(part.data)
            body += part.data[: BODY_LIMIT - len(body)]
            if size > _DRAINED:
                break
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers.raw_items())
        method, target = head.method.decode(), head.target.decode("latin-1")
        return MockRequest(method, target, headers, bytes(body), truncated=size > BODY_LIMIT)

    def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(self._socket.recv(65536))

    def _send(self, answer: Answer, with_body: bool = True) -> None:
        match answer:
            case MockAnswer():
                self._head(answer)
                self._write(h11.Data(data=_body_of(answer, with_body)), h11.EndOfMessage())
            case Drip(dripped, pause):
                self._head(dripped)
                for byte in _body_of(dripped, with_body):
                    if self._stopping.wait(pause):
                        raise ConnectionOverError
                    self._write(h11.Data(data=bytes((byte,))))
                self._write(h11.EndOfMessage())
            case Hang(length):
                self._stopping.wait(length)
                raise ConnectionOverError
            case Reset(begun, after):
                if begun is not None:
                    self._head(begun)
                    self._write(h11.Data(data=begun.body[:after]))
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
                raise ConnectionOverError

    def _head(self, answer: MockAnswer) -> None:
        self._write(_head_of(answer))

    def _write(self, *events: h11.Event) -> None:
        for event in events:
            data = self._http.send(event)
            if data:
                self._socket.sendall(data)

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        text = f"not an HTTP request: {error}".encode()
        try:
            self._send(MockAnswer(400, (("Connection", "close"),), text))
        except (OSError, h11.LocalProtocolError):
            return


def _body_of(answer: MockAnswer, with_body: bool) -> bytes:
    return answer.body if with_body and answer.status not in _NEVER_A_BODY else b""


def check_answer(answer: Answer) -> None:
    """Raises ValueError or TypeError when HTTP has no such answer: a status of 99, a header with a line break."""
    match answer:
        case MockAnswer():
            proper: MockAnswer | None = answer
        case Drip(dripped, _):
            proper = dripped
        case Reset(begun, _):
            proper = begun
        case Hang():
            proper = None
        case _:
            raise TypeError(f"{answer!r} is no answer: give json_response(…), text_response(…) or another one")
    if proper is None:
        return
    if not isinstance(proper.body, bytes):
        raise TypeError(f"the body {proper.body!r} is not bytes: give text_response(…) or json_response(…)")
    try:
        _head_of(proper)
    except (h11.LocalProtocolError, TypeError, ValueError) as error:
        shown = ", ".join(f"{name}: {value!r}" for name, value in proper.headers)
        raise ValueError(f"status {proper.status!r} with headers {shown or 'none'} cannot be sent: {error}") from None


def _head_of(answer: MockAnswer) -> h11.Response:
    length = [] if answer.status in _NEVER_A_BODY else [("Content-Length", str(len(answer.body)))]
    return h11.Response(status_code=answer.status, headers=[*answer.headers, *length])


TOO_LARGE = MockAnswer(413, (("Connection", "close"),), b"the mock server takes bodies up to 1 MiB")
