"""Kommo (amoCRM): /api/v4/calls, /api/v4/leads/unsorted/sip and /api/v2/events, as its documentation describes them."""

import json
from collections.abc import Collection
from typing import Any
from urllib.parse import urlsplit

from pbxhub.testing.receivers.receiver import Received, Reply
from tests.support.crm import as_json, has_bearer, lacks
from tests.support.crm_records import KNOWN, Contacts

USERS = {11, 12, 13}
_DIRECTIONS = {"inbound", "outbound"}


class Kommo(Contacts):
    """added: incoming leads. popups: cards that were shown. refuses_calls: a known number, and an error in the call."""

    def __init__(self, known: Collection[str] = KNOWN) -> None:
        super().__init__(known)
        self.popups: list[dict[str, Any]] = []
        self.refuses_calls = False

    def answer(self, request: Received) -> Reply:
        if not has_bearer(request):
            return _problem(401, "Unauthorized", "Invalid token")
        path = urlsplit(request.path).path
        if path == "/api/v4/contacts":
            self.wrong.append("the search finds the digits in other fields, too; /calls looks at the phones only")
            return Reply(204, b"")
        given = json.loads(request.body)
        if path == "/api/v4/calls":
            return self._calls(given)
        if path == "/api/v4/leads/unsorted/sip":
            return self._unsorted(given)
        if path == "/api/v2/events":
            return self._events(given)
        return _problem(404, "Not Found", path)

    def _calls(self, given: Any) -> Reply:
        if not isinstance(given, list):
            return _problem(400, "Bad Request", "Request validation failed")
        call = given[0]
        wrong = lacks(call, "direction", "uniq", "duration", "source", "phone")
        whole = ("duration", "call_status", "responsible_user_id", "created_at")
        wrong += [name for name in whole if name in call and not isinstance(call[name], int)]
        if wrong or call["direction"] not in _DIRECTIONS:
            return _problem(400, "Bad Request", f"Request validation failed: {wrong}")
        if call.get("call_status", 4) not in range(1, 8):
            return _problem(400, "Bad Request", "call_status")
        if call.get("responsible_user_id", 11) not in USERS:
            return _problem(400, "Bad Request", "responsible_user_id")
        if not self.knows("".join(filter(str.isdigit, call["phone"]))):
            self.nobody.append(("POST", "/api/v4/calls", 400))
            return as_json(400, {"_total_items": 0, "errors": [{"status": 263, "title": "Entity not found"}]})
        if self.refuses_calls:
            return as_json(400, {"_total_items": 0, "errors": [{"status": 400, "title": "Bad Request"}]})
        if any(one["uniq"] == call["uniq"] for one in self.calls):
            self.wrong.append(f"the call {call['uniq']} stands in the card twice")
        self.calls.append(call)
        return as_json(200, {"_total_items": 1, "errors": [], "_embedded": {"calls": [{"id": 1, "entity_id": 77}]}})

    def _unsorted(self, given: Any) -> Reply:
        if not isinstance(given, list) or lacks(given[0], "source_name", "source_uid", "metadata"):
            return _problem(400, "Bad Request", "Request validation failed")
        metadata = given[0]["metadata"]
        if wrong := lacks(metadata, "uniq", "from", "phone", "called_at", "duration", "link", "service_code"):
            return _problem(400, "Bad Request", f"Request validation failed: {wrong}")
        self.added.append(given[0])
        return as_json(200, {"_total_items": 1, "_embedded": {"unsorted": [{"uid": "u1"}]}})

    def _events(self, given: Any) -> Reply:
        for event in given.get("add", [{}]):
            users = event.get("users") or []
            if event.get("type") != "phone_call" or lacks(event, "phone_number", "users"):
                return _problem(400, "Bad Request", "Request validation failed")
            if not {int(user) for user in users} <= USERS:
                self.wrong.append(f"a card for users who do not exist: {users}")
            self.popups.append(event)
        return as_json(200, {"_embedded": {"items": [{"element_id": 77}]}})


def _problem(status: int, title: str, detail: str) -> Reply:
    return as_json(status, {"status": status, "title": title, "detail": detail, "type": "https://httpstatuses.com"})
