"""CRMs for the tests: each refuses what the real one refuses, in its own words and status codes.

They are built from the public documentation of the systems, and from their published source where there is one. What a
CRM would accept although it is wrong, such as one card for each phone of a call, is noted in `wrong`; a test of a
template ends with an empty list.
"""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from pbxhub.testing.receivers.receiver import Received, Reply

TOKEN = "t0ken-of-the-crm"


class Crm:
    """What all of them have in common. answered: method, path and status of each request. nobody: those of them that
    say only that nobody has the number."""

    def __init__(self) -> None:
        self.answered: list[tuple[str, str, int]] = []
        self.nobody: list[tuple[str, str, int]] = []
        self.wrong: list[str] = []

    def __call__(self, request: Received) -> Reply:
        reply = self.answer(request)
        self.answered.append((request.method, urlsplit(request.path).path, reply.status))
        return reply

    def answer(self, request: Received) -> Reply:
        raise NotImplementedError


def as_json(status: int, data: Any) -> Reply:
    return Reply(status, json.dumps(data).encode(), (("Content-Type", "application/json"),))


def query(request: Received) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(request.path).query, keep_blank_values=True))


def form(request: Received) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode(), keep_blank_values=True))


def has_bearer(request: Received) -> bool:
    return request.header("authorization") == f"Bearer {TOKEN}"


def lacks(data: Mapping[str, Any], *names: str) -> list[str]:
    return [name for name in names if data.get(name) in (None, "")]
