"""Systems with an interface of their own for telephones and chats: Zammad, Telegram, Slack, Google Sheets."""

import json
import re
from typing import Any
from urllib.parse import urlsplit

from pbxhub.testing.receivers.receiver import Received, Reply
from tests.support.crm import Crm, as_json, form, has_bearer, lacks, query

_CAUSES = {
    "cancel", "noAnswer", "congestion", "busy", "notFound", "forwarded", "normalClearing",
}  # fmt: skip


class Zammad(Crm):
    """Generic CTI: newCall, answer, hangup of one callId, in this order."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: dict[str, list[dict[str, Any]]] = {}

    def answer(self, request: Received) -> Reply:
        if not re.fullmatch(r"/api/v1/cti/[\w-]{6,}", urlsplit(request.path).path):
            return as_json(401, {"error": "Invalid token, please contact your admin!"})
        given = json.loads(request.body)
        if missing := lacks(given, "event", "from", "to", "direction", "callId"):
            return as_json(422, {"error": f"Missing {missing}"})
        if given["direction"] not in ("in", "out") or given["event"] not in ("newCall", "answer", "hangup"):
            return as_json(422, {"error": "Invalid direction or event"})
        if given["event"] == "hangup" and given.get("cause") not in _CAUSES:
            self.wrong.append(f"a cause that Zammad does not know: {given.get('cause')}")
        events = self.calls.setdefault(given["callId"], [])
        if (given["event"] == "newCall") != (not events):
            self.wrong.append(f"{given['event']} after {[one['event'] for one in events]}")
        events.append(given)
        return as_json(200, {})


class Telegram(Crm):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def answer(self, request: Received) -> Reply:
        if not re.fullmatch(r"/bot\d+:[\w-]+/sendMessage", urlsplit(request.path).path):
            return as_json(404, {"ok": False, "error_code": 404, "description": "Not Found"})
        kind = request.header("content-type") or ""
        given = json.loads(request.body) if "json" in kind else form(request)
        text = given.get("text", "")
        if lacks(given, "chat_id", "text"):
            return _bad("Bad Request: chat_id or message text is empty")
        if len(text) > 4096:
            return _bad("Bad Request: message is too long")
        if given.get("parse_mode") == "HTML" and re.search(
            r"<(?!/?(b|i|u|s|a|code|pre)\b)|&(?!(lt|gt|amp|quot);)", text
        ):
            return _bad("Bad Request: can't parse entities")
        self.messages.append(text)
        return as_json(200, {"ok": True, "result": {"message_id": len(self.messages)}})


def _bad(description: str) -> Reply:
    return as_json(400, {"ok": False, "error_code": 400, "description": description})


class Slack(Crm):
    """Incoming webhooks: plain text answers."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[dict[str, Any]] = []

    def answer(self, request: Received) -> Reply:
        if not re.fullmatch(r"/services/T\w+/B\w+/\w+", urlsplit(request.path).path):
            return Reply(404, b"no_service")
        try:
            given = json.loads(request.body)
        except ValueError:
            return Reply(400, b"invalid_payload")
        if not given.get("text") and not given.get("blocks"):
            return Reply(400, b"no_text")
        for block in given.get("blocks", ()):
            if block["type"] == "section" and not block.get("text") and not 1 <= len(block.get("fields", ())) <= 10:
                return Reply(400, b"invalid_blocks")
        self.messages.append(given)
        return Reply(200, b"ok")


class GoogleSheets(Crm):
    """spreadsheets.values.append."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[Any]] = []

    def answer(self, request: Received) -> Reply:
        if not has_bearer(request):
            return _google(401, "Request had invalid authentication credentials.", "UNAUTHENTICATED")
        if not re.fullmatch(r"/v4/spreadsheets/[\w-]+/values/[^/]+:append", urlsplit(request.path).path):
            return _google(404, "Requested entity was not found.", "NOT_FOUND")
        option = query(request).get("valueInputOption")
        if option not in ("RAW", "USER_ENTERED"):
            return _google(400, "'valueInputOption' is required but not specified", "INVALID_ARGUMENT")
        if option == "USER_ENTERED":
            self.wrong.append("USER_ENTERED makes a formula of a number that begins with +")
        rows = json.loads(request.body).get("values")
        if not isinstance(rows, list) or not all(isinstance(row, list) for row in rows):
            return _google(400, "Invalid value at 'data.values'", "INVALID_ARGUMENT")
        if any(isinstance(cell, (dict, list)) for row in rows for cell in row):
            return _google(400, "Invalid values[0][0]: list_value", "INVALID_ARGUMENT")
        self.rows += rows
        return as_json(200, {"updates": {"updatedRows": len(rows)}})


def _google(status: int, message: str, code: str) -> Reply:
    return as_json(status, {"error": {"code": status, "message": message, "status": code}})
