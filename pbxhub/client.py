"""A client for the hub's API, built on requests: order calls, change webhooks, read what happened.

hub = Client("https://pbx.example.com", "pbx_…")
call = hub.order_call("+380441234567", "101", callback_url="https://crm.example.com/calls")
hub.call(call.id).status
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from pbxhub.calls.stages import JSON

_DEADLINE = 30.0
_PAUSE = 0.5  # seconds before a stream that has ended is opened again


class ProblemError(Exception):
    """The hub refused a request. status: HTTP status. errors: (path, message) of each wrong field."""

    def __init__(self, status: int, detail: str, errors: tuple[tuple[str, str], ...]) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource and its version (needed to change it). resource["name"] reads a field."""

    data: Mapping[str, Any]
    etag: str = ""

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    @property
    def id(self) -> Any:
        return self.data["id"]


@dataclass(frozen=True, slots=True)
class OrderedCall:
    """A call ordered by API. status: registered, ongoing, completed, failed, error or cancelled. reason: why."""

    id: str
    status: str
    reason: str
    call_id: str | None
    data: Mapping[str, Any]


class Client:
    """One project of one hub."""

    def __init__(self, address: str, key: str, session: requests.Session | None = None) -> None:
        self._address = address.rstrip("/") + "/api/v1"
        self._session = session or requests.Session()
        self._session.headers["X-API-KEY"] = key

    def get(self, path: str, **query: Any) -> Resource:
        """A resource. Like every method, raises ProblemError when the hub refuses."""
        return self._ask("GET", path, params=query)

    def add(self, path: str, body: Mapping[str, Any], key: str = "") -> Resource:
        """POST. key: an Idempotency-Key. Requests with the same key take effect once, however often they are sent."""
        return self._ask("POST", path, json=dict(body), headers={"Idempotency-Key": key} if key else {})

    def change(self, path: str, seen: Resource, body: Mapping[str, Any], method: str = "PATCH") -> Resource:
        """Changes a resource. The hub refuses with status 412 when it has been changed since it was read."""
        return self._ask(method, path, json=dict(body), headers={"If-Match": seen.etag})

    def put(self, path: str, body: Mapping[str, Any]) -> Resource:
        """PUT of a resource that has no version."""
        return self._ask("PUT", path, json=dict(body))

    def remove(self, path: str, seen: Resource | None = None) -> None:
        """Deletes. seen: delete only if it is unchanged since then; otherwise the hub refuses with status 412."""
        self._ask("DELETE", path, headers={"If-Match": seen.etag} if seen else {})

    def all(self, path: str, **query: Any) -> Iterator[Mapping[str, Any]]:
        """Every item of a list, page by page."""
        after = ""
        while True:
            page = self.get(path, **query, **({"after": after} if after else {}))
            yield from page["items"]
            after = page["next"]
            if not after:
                return

    def order_call(
        self, mobile_number: str, agent_id: str, *, callback_url: str = "", headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None, custom: Mapping[str, JSON] | None = None, key: str = "", **more: Any,
    ) -> OrderedCall:  # fmt: skip
        """Orders a call: the agent's phone rings, then the number is dialled."""
        body = {
            "mobile_number": mobile_number, "agent_id": agent_id, "callback_url": callback_url,
            "callback_args": {"headers": dict(headers or {}), "params": dict(params or {})},
            "custom_args_values": dict(custom or {}), **more,
        }  # fmt: skip
        return _ordered(self.add("/calls", body, key))

    def call(self, call_id: str) -> OrderedCall:
        """The current state of an ordered call."""
        return _ordered(self.get(f"/calls/{quote(call_id)}"))

    def cancel(self, call_id: str) -> OrderedCall:
        """Cancels an ordered call."""
        return _ordered(self._ask("DELETE", f"/calls/{quote(call_id)}"))

    def events(
        self, last_id: str = "", seconds: float = _DEADLINE, *, types: Iterable[str] = (), call_id: str = ""
    ) -> Iterator[Mapping[str, Any]]:
        """Yields events as they happen, from last_id on, without end. Reconnects after a break without losing any.

        types, call_id: yields only these.

        Raises an exception of requests when the hub sends nothing for so many seconds, and ProblemError when the hub
        refuses the first request.
        """
        heard = time.monotonic()
        begun = False
        while True:
            try:
                for line in self._stream(last_id, seconds, {"type": ",".join(types), "call_id": call_id}):
                    heard, begun = time.monotonic(), True
                    if line.startswith(b"id: "):
                        last_id = line.removeprefix(b"id: ").decode()
                    elif line.startswith(b"data: "):
                        yield json.loads(line.removeprefix(b"data: "))
            except (requests.RequestException, ProblemError) as error:
                refused = isinstance(error, ProblemError) and (not begun or error.status < 500)
                if refused or time.monotonic() - heard > seconds:
                    raise
            time.sleep(_PAUSE)

    def _stream(self, last_id: str, seconds: float, which: Mapping[str, str]) -> Iterator[bytes]:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        address = f"{self._address}/events/stream"
        params = {name: value for name, value in which.items() if value}
        with self._session.get(address, params=params, headers=headers, stream=True, timeout=seconds) as answer:
            _check(answer)
            yield from answer.iter_lines(chunk_size=1)

    def _ask(self, method: str, path: str, **options: Any) -> Resource:
        answer = self._session.request(method, self._address + path, timeout=_DEADLINE, **options)
        _check(answer)
        return Resource(answer.json() if answer.content else {}, answer.headers.get("ETag", ""))


def _check(answer: requests.Response) -> None:
    if answer.status_code < 400:
        return
    try:
        said = answer.json()
    except ValueError:
        raise ProblemError(answer.status_code, answer.reason, ()) from None
    errors = tuple((error["path"], error["message"]) for error in said.get("errors", ()))
    raise ProblemError(answer.status_code, said.get("detail", answer.reason), errors)


def _ordered(found: Resource) -> OrderedCall:
    ordered = found["ordered"]
    return OrderedCall(ordered["id"], ordered["status"], ordered["reason"], found["call_id"], found.data)
