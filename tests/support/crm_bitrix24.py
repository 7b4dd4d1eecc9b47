"""Bitrix24: telephony.externalCall.*, as its documentation and its published module voximplant describe it."""

import base64
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from pbxhub.testing.receivers.receiver import Received, Reply
from tests.support.crm import TOKEN, Crm, as_json, form, query

USERS = {"1", "11", "12", "13"}
_TYPES = {"1", "2", "3", "4", "5"}
_STATUSES = {"200", "304", "402", "403", "404", "423", "480", "484", "486", "503", "603", "603-S", "OTHER"}


@dataclass
class Card:
    """A registered call. shown: users who see it now."""

    id: str
    user: str
    external: str
    shown: set[str] = field(default_factory=set)
    finished: dict[str, str] = field(default_factory=dict)
    recording: bytes = b""


class Bitrix24Leads(Crm):
    """crm.lead.add at the address of an inbound webhook."""

    def __init__(self) -> None:
        super().__init__()
        self.leads: list[dict[str, str]] = []

    def answer(self, request: Received) -> Reply:
        if not re.fullmatch(r"/rest/\d+/\w+/crm\.lead\.add\.json", urlsplit(request.path).path):
            return as_json(404, {"error": "ERROR_METHOD_NOT_FOUND", "error_description": "Method not found!"})
        given = form(request)
        if not given.get("fields[TITLE]"):
            return _refused("The field Lead name is required", "")
        if not re.fullmatch(r"\+\d{7,15}", given.get("fields[PHONE][0][VALUE]", "")):
            self.wrong.append("a phone without country code finds no duplicate")
        if given.get("fields[PHONE][0][VALUE_TYPE]") not in ("WORK", "MOBILE", "HOME", "OTHER"):
            self.wrong.append("a kind of phone that Bitrix24 does not have")
        self.leads.append(given)
        return _result(len(self.leads))


class Bitrix24Tasks(Crm):
    """tasks.task.add at the address of an inbound webhook."""

    def answer(self, request: Received) -> Reply:
        if not re.fullmatch(r"/rest/\d+/\w+/tasks\.task\.add\.json", urlsplit(request.path).path):
            return as_json(404, {"error": "ERROR_METHOD_NOT_FOUND", "error_description": "Method not found!"})
        given = form(request)
        if not given.get("fields[TITLE]"):
            return _refused("The task title is not specified", "0")
        if given.get("fields[RESPONSIBLE_ID]") not in USERS:
            return _refused("The responsible person is not specified or not found", "0")
        if given.get("fields[DEADLINE]") and not _is_iso(given["fields[DEADLINE]"]):
            return _refused("The deadline is no date", "0")
        return _result({"task": {"id": "91", "title": given["fields[TITLE]"]}})


class Bitrix24(Crm):
    def __init__(self) -> None:
        super().__init__()
        self.cards: list[Card] = []

    def answer(self, request: Received) -> Reply:
        if query(request).get("auth") != TOKEN:
            return as_json(
                401, {"error": "expired_token", "error_description": "The access token provided has expired."}
            )
        name = urlsplit(request.path).path.removeprefix("/rest/").removesuffix(".json").lower()
        act = {
            "telephony.externalcall.register": self._register,
            "telephony.externalcall.show": self._show,
            "telephony.externalcall.hide": self._hide,
            "telephony.externalcall.finish": self._finish,
            "telephony.externalcall.attachrecord": self._attach,
        }.get(name)
        if act is None:
            return as_json(404, {"error": "ERROR_METHOD_NOT_FOUND", "error_description": "Method not found!"})
        return act(json.loads(request.body) if request.body.startswith(b"{") else form(request))

    def _register(self, given: dict[str, str]) -> Reply:
        if not given.get("USER_ID") and not given.get("USER_PHONE_INNER"):
            return _refused("USER_ID or USER_PHONE_INNER should be set")
        if given.get("TYPE") not in _TYPES:
            return _refused("Unknown TYPE")
        if given.get("CALL_START_DATE") and not _is_iso(given["CALL_START_DATE"]):
            return _refused("CALL_START_DATE should be in the ISO-8601 format")
        if not re.sub("[^0-9+]", "", given.get("PHONE_NUMBER", "")):
            return _refused("Unsupported phone number format")
        if given.get("USER_ID") not in USERS:
            return _refused("User is not found or is not active")
        external = given.get("EXTERNAL_CALL_ID", "")
        if not external:
            self.wrong.append("registered without EXTERNAL_CALL_ID: the next call of this number gets the same card")
        if any(card.external == external for card in self.cards):
            self.wrong.append("registered a call twice: its responsible user changes")
        card = Card(f"externalCall.{len(self.cards) + 1}", given["USER_ID"], external)
        card.shown |= {card.user} if given.get("SHOW", "1") == "1" else set()
        self.cards.append(card)
        return _result({"CALL_ID": card.id, "CRM_CREATED_LEAD": None, "CRM_CREATED_ENTITIES": []})

    def _show(self, given: dict[str, str]) -> Reply:
        card = self._live(given)
        if card is None:
            return _refused("Call is not found")
        card.shown.add(self._user(given, "show"))
        return _result(True)

    def _hide(self, given: dict[str, str]) -> Reply:
        card = self._live(given)
        if card is None:
            return _refused("Call is not found")
        user = self._user(given, "hide")
        if user not in card.shown:
            self.wrong.append(f"hid the card from {user}, who does not see it")
        card.shown.discard(user)
        return _result(True)

    def _finish(self, given: dict[str, str]) -> Reply:
        card = self._live(given)
        if card is None:
            return _refused("Call is not found (call should be registered prior to finishing")
        if given.get("USER_ID") not in USERS:
            return _refused("User is not found or is not active")
        if others := card.shown - {given["USER_ID"]}:
            self.wrong.append(f"users who have not got the call see the card until its end: {sorted(others)}")
        if not given.get("DURATION", "").isdigit():
            self.wrong.append("finished without a duration")
        if given.get("STATUS_CODE") not in _STATUSES:
            self.wrong.append(f"finished with a status that is in no table: {given.get('STATUS_CODE')}")
        if given.get("RECORD_URL"):
            self.wrong.append("RECORD_URL of finish is obsolete: it is tried twice, and fails without a word")
        card.finished, card.shown = given, set()
        return _result({"CALL_ID": card.id, "CALL_DURATION": int(given.get("DURATION") or 0)})

    def _attach(self, given: dict[str, str]) -> Reply:
        card = next((one for one in self.cards if one.id == given.get("CALL_ID") and one.finished), None)
        if card is None:
            return _refused("Call is not found in the statistic table. Looks like it is not finished yet.", "")
        if given.get("RECORD_URL"):
            self.wrong.append("RECORD_URL is tried once, and only a hub on the internet can be reached")
        if not given.get("FILENAME"):
            return _refused("Required parameters are not set", "")
        if "FILE_CONTENT" not in given:
            return _result({"uploadUrl": "https://p.bitrix24.com/rest/upload.json", "fieldName": "file"})
        if not given["FILENAME"].endswith((".wav", ".mp3")):
            return _refused("Wrong file extension. Only wav and mp3 are allowed")
        try:
            card.recording = base64.b64decode(given["FILE_CONTENT"], validate=True)
        except ValueError:
            return _refused("File content is not properly encoded. Base64 encoding is expected.")
        return _result({"FILE_ID": 9079}) if card.recording else _refused("File content is empty.")

    def _live(self, given: dict[str, str]) -> Card | None:
        return next((one for one in self.cards if one.id == given.get("CALL_ID") and not one.finished), None)

    def _user(self, given: dict[str, str], act: str) -> str:
        user = given.get("USER_ID", "")
        if user not in USERS:
            self.wrong.append(f"{act} for the user {user!r}, who does not exist: it is somebody's card")
        return user


def _is_iso(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _result(data: Any) -> Reply:
    return as_json(200, {"result": data, "time": {"duration": 0.1}})


def _refused(why: str, code: str = "ERROR_CORE") -> Reply:
    return as_json(400, {"error": code, "error_description": why})
