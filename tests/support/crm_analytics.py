"""What counts calls as conversions: Google Analytics 4, Universal Analytics, the Conversions API of Meta."""

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pbxhub.testing.receivers.receiver import Received, Reply
from tests.support.crm import TOKEN, Crm, as_json, form, lacks, query

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED_PREFIXES = ("firebase_", "ga_", "google_", "gtag.")
_RESERVED_EVENTS = frozenset(
    {
        "ad_activeview", "ad_click", "ad_exposure", "ad_query", "ad_reward", "adunit_exposure", "app_clear_data",
        "app_exception", "app_install", "app_remove", "app_store_refund", "app_update", "app_upgrade",
        "dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "error", "first_open",
        "first_visit", "in_app_purchase", "notification_dismiss", "notification_foreground", "notification_open",
        "notification_receive", "notification_send", "os_update", "session_start", "user_engagement",
    }
)  # fmt: skip
_RESERVED_PROPERTIES = frozenset(
    {
        "first_open_time", "first_visit_time", "last_deep_link_referrer", "user_id", "first_open_after_install",
    }
)  # fmt: skip
_TOP = frozenset(
    {
        "client_id", "user_id", "timestamp_micros", "user_properties", "user_data", "consent", "non_personalized_ads",
        "events", "validation_behavior", "ip_override", "user_location", "device",
    }
)  # fmt: skip
Message = dict[str, str]


class GoogleAnalytics(Crm):
    """The Measurement Protocol: 204 to everything. /debug/mp/collect says what is wrong with the same request.

    What the validation server would have said of a request that was collected is in `wrong`, and so is what it accepts
    although no report will show it: a client id that no browser has, a session without digits, no time of engagement.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []

    def answer(self, request: Received) -> Reply:
        path, asked = urlsplit(request.path).path, query(request)
        if path not in ("/mp/collect", "/debug/mp/collect"):
            return Reply(404, b"")
        body = _json(request)
        messages = list(_messages(body))
        if path == "/debug/mp/collect":
            return as_json(200, {"validationMessages": messages})
        if asked.get("api_secret") != TOKEN or not re.fullmatch(r"G-[A-Z0-9]+", asked.get("measurement_id", "")):
            self.wrong.append("the stream does not know this api_secret or measurement_id")
        self.wrong += [f"{one['fieldPath']}: {one['description']}" for one in messages]
        if not messages:
            self.wrong += list(_unseen(body))
            self.events += body["events"]
        return Reply(204, b"")


def _json(request: Received) -> Any:
    try:
        return json.loads(request.body)
    except ValueError:
        return None


def _message(path: str, code: str, description: str) -> Message:
    return {"fieldPath": path, "description": description, "validationCode": code}


def _messages(body: Any) -> Iterator[Message]:
    if not isinstance(body, dict):
        yield _message("", "VALUE_INVALID", "Unable to parse the request as an object.")
        return
    for name in body.keys() - _TOP:
        yield _message(name, "VALUE_INVALID", f"Unknown field [{name}].")
    if not isinstance(body.get("client_id"), str) or not body["client_id"]:
        yield _message("client_id", "VALUE_REQUIRED", "A text is required.")
    micros = body.get("timestamp_micros", 1)
    if not isinstance(micros, int) or isinstance(micros, bool):
        yield _message("timestamp_micros", "VALUE_INVALID", f"[{micros}] is no number of microseconds.")
    events = body.get("events")
    if not isinstance(events, list) or not events:
        yield _message("events", "VALUE_REQUIRED", "At least one event is required.")
        return
    if len(events) > 25:
        yield _message("events", "EXCEEDED_MAX_ENTITIES", f"{len(events)} events; 25 are allowed.")
    for index, event in enumerate(events):
        yield from _event(event, f"Event at index: [{index}]")
    yield from _properties(body.get("user_properties", {}))


def _event(event: Any, where: str) -> Iterator[Message]:
    if not isinstance(event, dict) or not isinstance(event.get("name"), str) or not event["name"]:
        yield _message("events", "VALUE_REQUIRED", f"{where} has no name.")
        return
    yield from _named(event["name"], "events", where, 40)
    if event["name"] in _RESERVED_EVENTS:
        yield _message("events", "NAME_RESERVED", f"{where} has the reserved name [{event['name']}].")
    given = event.get("params", {})
    if len(given) > 25:
        yield _message("events.params", "EXCEEDED_MAX_ENTITIES", f"{where} has {len(given)} parameters.")
    for name, value in given.items():
        yield from _named(name, f"events.params.{name}", where, 40)
        if isinstance(value, (dict, list)) and name != "items":
            yield _message(f"events.params.{name}", "VALUE_INVALID", f"{where}: neither a text nor a number.")
        if isinstance(value, str) and len(value) > 100:
            yield _message(f"events.params.{name}", "VALUE_OUT_OF_BOUNDS", f"{where}: {len(value)} characters.")
    session = given.get("session_id")
    if session is not None and not re.fullmatch(r"\d+", str(session)):
        yield _message("events.params.session_id", "VALUE_INVALID", f"{where}: [{session}] has more than digits.")
    if not _is_number(given.get("engagement_time_msec", 1)):
        yield _message("events.params.engagement_time_msec", "VALUE_INVALID", f"{where}: no number.")


def _properties(given: Any) -> Iterator[Message]:
    if len(given) > 25:
        yield _message("user_properties", "EXCEEDED_MAX_ENTITIES", f"{len(given)} properties; 25 are allowed.")
    for name, item in given.items():
        path = f"user_properties.{name}"
        yield from _named(name, path, "User property", 24)
        if name in _RESERVED_PROPERTIES:
            yield _message(path, "NAME_RESERVED", f"[{name}] is reserved.")
        if not isinstance(item, dict) or "value" not in item:
            yield _message(path, "VALUE_REQUIRED", "A property is an object with a value.")
        elif len(str(item["value"])) > 36:
            yield _message(path, "VALUE_OUT_OF_BOUNDS", f"{len(str(item['value']))} characters; 36 are allowed.")


def _named(name: str, path: str, where: str, longest: int) -> Iterator[Message]:
    if name.lower().startswith(_RESERVED_PREFIXES):
        yield _message(path, "NAME_RESERVED", f"{where} has a name with a reserved prefix [{name}].")
    elif not _NAME.fullmatch(name):
        yield _message(path, "NAME_INVALID", f"{where} has the invalid name [{name}].")
    elif len(name) > longest:
        yield _message(path, "NAME_INVALID", f"{where} has a name of {len(name)} characters [{name}].")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _unseen(body: dict[str, Any]) -> Iterator[str]:
    if not re.fullmatch(r"\d+\.\d+", body["client_id"]):
        yield f"the client id {body['client_id']} is of no browser"
    for event in body["events"]:
        if not event.get("params", {}).get("engagement_time_msec", 0) > 0:
            yield "a user who was engaged for no time is not active"


class UniversalAnalytics(Crm):
    """The old Measurement Protocol: 200 with a picture to everything; what it would drop is in `wrong`."""

    def answer(self, request: Received) -> Reply:
        if urlsplit(request.path).path != "/collect":
            return Reply(404, b"")
        given = form(request)
        if missing := lacks(given, "v", "tid", "cid", "t"):
            self.wrong.append(f"a hit without {missing}")
        if given.get("t") == "event" and lacks(given, "ec", "ea"):
            self.wrong.append("an event without category or action")
        if not re.fullmatch(r"\d*", given.get("ev", "")):
            self.wrong.append(f"the value {given['ev']} is no number")
        return Reply(200, b"GIF89a", (("Content-Type", "image/gif"),))


class Meta(Crm):
    """The Conversions API: POST /VERSION/PIXEL/events."""

    _SOURCES = frozenset(
        ("email", "website", "app", "phone_call", "chat", "physical_store", "system_generated", "other")
    )

    def answer(self, request: Received) -> Reply:
        if query(request).get("access_token") != TOKEN:
            return _meta(400, "Invalid OAuth access token.", 190)
        if not re.fullmatch(r"/v\d+\.\d+/\d+/events", urlsplit(request.path).path):
            return _meta(400, "Unsupported post request.", 100)
        events = json.loads(request.body).get("data")
        if not isinstance(events, list) or not events:
            return _meta(400, "The parameter data is required", 100)
        for event in events:
            if missing := lacks(event, "event_name", "event_time", "action_source", "user_data"):
                return _meta(400, f"Missing {missing}", 100)
            if event["action_source"] not in self._SOURCES or not isinstance(event["event_time"], int):
                return _meta(400, "Invalid parameter", 100)
            phones = event["user_data"].get("ph", [])
            if not all(re.fullmatch(r"[0-9a-f]{64}", phone) for phone in phones):
                return _meta(400, "ph must be hashed by SHA-256", 100)
        return as_json(200, {"events_received": len(events), "messages": [], "fbtrace_id": "x"})


def _meta(status: int, message: str, code: int) -> Reply:
    return as_json(status, {"error": {"message": message, "type": "OAuthException", "code": code}})
