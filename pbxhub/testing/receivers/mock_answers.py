"""What a mock server can answer: proper answers, and failures on demand."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from pbxhub.testing.durations import seconds
from pbxhub.testing.receivers.mock_request import MockRequest


@dataclass(frozen=True, slots=True)
class MockAnswer:
    """A proper answer. Content-Length and Date are added by the server."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer: the connection stays open and silent, for `length` seconds or until the server stops."""

    length: float | None


@dataclass(frozen=True, slots=True)
class Drip:
    """The answer's body comes byte by byte, one every `pause` seconds."""

    answer: MockAnswer
    pause: float


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is torn down with a TCP reset, after the headers and so many bytes of the body (None: before)."""

    answer: MockAnswer | None
    after: int


Answer = MockAnswer | Hang | Drip | Reset
Responder = Callable[[MockRequest], Answer]


def status_response(status: int, headers: Mapping[str, str] | None = None) -> MockAnswer:
    """An answer with a status and no body."""
    return MockAnswer(status, tuple((headers or {}).items()))


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> MockAnswer:
    """An answer with the body as JSON."""
    return _answer(status, "application/json", headers, json.dumps(body, ensure_ascii=False).encode())


def text_response(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> MockAnswer:
    """An answer with a text, in UTF-8."""
    return _answer(status, "text/plain; charset=utf-8", headers, body.encode())


def hang(length: str | float | None = None) -> Hang:
    """No answer at all for so long, then the connection closes; without a length until the server stops."""
    return Hang(None if length is None else seconds(length))


def drip(answer: MockAnswer, every: str | float = "1s") -> Drip:
    """The answer, its body one byte at a time."""
    return Drip(answer, seconds(every))


def reset(answer: MockAnswer | None = None, after: int = 0) -> Reset:
    """The connection breaks with a TCP reset: at once, or after the headers and `after` bytes of the answer's body."""
    return Reset(answer, after)


def in_turn(*answers: Answer | int) -> Responder:
    """Each request gets the next answer; the last one stays. A number is a status: in_turn(503, 503, 200)."""
    if not answers:
        raise ValueError("in_turn() needs at least one answer, in_turn(503, 200) for example")
    left = [status_response(answer) if isinstance(answer, int) else answer for answer in answers]
    lock = Lock()

    def next_answer(_: MockRequest) -> Answer:
        with lock:
            return left.pop(0) if len(left) > 1 else left[0]

    return next_answer


def _answer(status: int, content_type: str, headers: Mapping[str, str] | None, body: bytes) -> MockAnswer:
    own = tuple((headers or {}).items())
    named = any(name.lower() == "content-type" for name, _ in own)
    return MockAnswer(status, own if named else (("Content-Type", content_type), *own), body)
