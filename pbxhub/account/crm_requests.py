"""What CRMs send when somebody clicks on a number, read into one shape.

Bitrix24 (events OnExternalCallStart and OnExternalCallBackStart, as a form):
    event=ONEXTERNALCALLSTART  data[USER_ID]  data[PHONE_NUMBER]  data[CALL_ID]  …  auth[application_token]
    https://apidocs.bitrix24.com/api-reference/telephony/events/
amoCRM (its widget for Asterisk, as a script that the browser loads):
    ?_login=…&_secret=KEY&_action=call&from=101&to=79161234567&as=…   answered by asterisk_cb({…});
Anything else: to and from in the query, a form or JSON.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pbxhub.account.refusals import Refusal
from pbxhub.translatable import say

Sender = Literal["bitrix24", "amocrm", "plain"]
_BITRIX_EVENTS = {"ONEXTERNALCALLSTART": "click", "ONEXTERNALCALLBACKSTART": "callback"}
_IN_BRACKETS = re.compile(r"(data|auth)\[(\w+)\]", re.ASCII)
_NOT_DIALLED = re.compile(r"[\s().\u2010-\u2015-]+")
_KEPT = ("CALL_ID", "USER_ID", "CRM_ENTITY_TYPE", "CRM_ENTITY_ID", "LINE_NUMBER", "CALL_LIST_ID", "IS_MOBILE", "TEXT")
_LONGEST_VALUE, _LONGEST_NAME = 500, 100  # characters
_MOST_FIELDS = 50


@dataclass(frozen=True, slots=True)
class CrmRequest:
    """One request. to: whom to call. who: extension, id in the CRM or e-mail of the employee; of Bitrix24 the id. kind:
    "click" of an employee, "callback" that a visitor has asked for, "other" that orders no call. token: Bitrix24's
    application token. custom: goes with the call, as custom.NAME."""

    sender: Sender
    kind: Literal["click", "callback", "other"]
    key: str
    to: str = ""
    who: str = ""
    name: str = ""
    from_number: str = ""
    token: str = ""
    custom: Mapping[str, str] = field(default_factory=dict)


def read_request(query: Mapping[str, Any], body: Mapping[str, Any]) -> CrmRequest:
    """query: of the address; body: a form, or an object in JSON."""
    key = _text(query, "key") or _text(query, "_secret") or _text(body, "key")
    if _text(body, "event"):
        return _bitrix24(key, body)
    if _text(query, "_action"):
        kind: Literal["click", "other"] = "click" if _text(query, "_action") == "call" else "other"
        return CrmRequest("amocrm", kind, key, _number(query, "to"), _text(query, "from"), _text(query, "as"))
    given = {**query, **body}
    custom = {name: _text(given, name) for name in given if name not in _FIELDS}
    return CrmRequest(
        "plain", "click", key, _number(given, "to"), _text(given, "from"), _text(given, "name"),
        _number(given, "from_number"), custom=custom,
    )  # fmt: skip


def too_much(custom: Mapping[str, str]) -> Refusal | None:
    """What is wrong with fields that go with a call."""
    if len(custom) > _MOST_FIELDS:
        why = say(
            "The request has %(count)s fields of its own; %(most)s are allowed.", count=len(custom), most=_MOST_FIELDS
        )
        return Refusal("", why, say("Leave some out."))
    if long := next((name for name in custom if len(name) > _LONGEST_NAME), None):
        why = say("The name of this field is longer than %(longest)s characters.", longest=_LONGEST_NAME)
        return Refusal(long[:_LONGEST_NAME], why, say("Shorten it."))
    return None


_FIELDS = ("key", "to", "from", "name", "from_number")


def _bitrix24(key: str, body: Mapping[str, Any]) -> CrmRequest:
    """As a form with brackets in its names, or the same as JSON."""
    data, auth = _inside(body, "data"), _inside(body, "auth")
    kind: Any = _BITRIX_EVENTS.get(_text(body, "event").upper(), "other")
    kept = {name: _text(data, name) for name in _KEPT if _text(data, name)}
    if "CALL_ID" in kept:  # a program's order may have a CALL_ID of its own; the ready-made set goes by this name
        kept["BITRIX_CALL_ID"] = kept["CALL_ID"]
    return CrmRequest(
        "bitrix24", kind, key, _number(data, "PHONE_NUMBER"), _text(data, "USER_ID"),
        token=_text(auth, "application_token"), custom=kept,
    )  # fmt: skip


def _inside(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    if isinstance(body.get(name), Mapping):
        found: Mapping[str, Any] = body[name]
        return found
    matches = ((_IN_BRACKETS.fullmatch(key), value) for key, value in body.items())
    return {match[2]: value for match, value in matches if match and match[1] == name}


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = str(value)
    return value.strip()[:_LONGEST_VALUE] if isinstance(value, str) else ""


def _number(given: Mapping[str, Any], name: str) -> str:
    """A number as people write it, without spaces, brackets, dots and dashes."""
    return _NOT_DIALLED.sub("", _text(given, name))
