"""Typed events: what happened, as JSON with `type`, `created_on` and the fields of the type.

The registry lists every type and its fields. read_event checks an event against it and keeps the event unchanged, so
that writing it again gives the same JSON. Besides the hub's own types it contains the 23 types of goflow (releases 0.28
to 0.47), so that programs that use those can submit events and read them back unchanged.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pbxhub.calls.stages import JSON

WEBHOOK_STATUSES = ("success", "connection_error", "response_error", "subscriber_gone")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,59}")


@dataclass(frozen=True, slots=True)
class EventError(Exception):
    """An invalid event: path of the field and what is wrong with it."""

    errors: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return "; ".join(f"{path}: {message}" if path else message for path, message in self.errors)


@dataclass(frozen=True, slots=True)
class Event:
    """One event. body: all its JSON, including type and created_on."""

    type: str
    created_on: datetime
    body: Mapping[str, JSON]


# Each field has a kind; ! means mandatory. ref: an object with uuid or id; refs: a list of such objects.
_GOFLOW: Mapping[str, Mapping[str, str]] = {
    "broadcast_created": {"translations": "object!", "base_language": "text!", "urns": "texts", "contacts": "refs",
                          "groups": "refs"},
    "contact_field_changed": {"field": "object!", "value": "any"},
    "contact_groups_changed": {"groups_added": "refs", "groups_removed": "refs"},
    "contact_language_changed": {"language": "str"},
    "contact_name_changed": {"name": "str"},
    "contact_refreshed": {"contact": "any"},
    "contact_timezone_changed": {"timezone": "str"},
    "contact_urns_changed": {"urns": "texts"},
    "email_created": {"addresses": "texts!", "subject": "text!", "body": "str"},
    "environment_refreshed": {"environment": "any"},
    "error": {"text": "text!", "fatal": "bool"},
    "flow_entered": {"flow": "object!", "parent_run_uuid": "uuid", "terminal": "bool"},
    "input_labels_added": {"input_uuid": "uuid!", "labels": "refs!"},
    "ivr_created": {"msg": "object!"},
    "msg_created": {"msg": "object!"},
    "msg_received": {"msg": "object!"},
    "msg_wait": {"timeout_seconds": "int", "hint": "object"},
    "resthook_called": {"resthook": "str", "payload": "any"},
    "run_expired": {"run_uuid": "uuid!"},
    "run_result_changed": {"name": "text!", "value": "str", "category": "str", "category_localized": "str",
                           "input": "str", "extra": "any"},
    "session_triggered": {"flow": "object!", "urns": "texts", "contacts": "refs", "groups": "refs",
                          "create_contact": "bool", "run_summary": "any"},
    "wait_timed_out": {},
    "webhook_called": {"url": "text!", "resthook": "str", "status": "status!", "status_code": "int",
                       "elapsed_ms": "int", "request": "text!", "response": "str", "body_ignored": "bool"},
}  # fmt: skip
_OWN: Mapping[str, Mapping[str, str]] = {
    "call_stage": {"event_id": "uuid!", "stage": "text!", "ordinal": "int!"},
    "call_status_changed": {"order_id": "uuid!", "status": "text!", "reason": "str"},
    "event_received": {"event_id": "uuid!", "stage": "text!"},
}
TYPES: Mapping[str, Mapping[str, str]] = {**_GOFLOW, **_OWN}


def read_event(data: Any) -> Event:
    """The event in the JSON. Raises EventError when it is not an object, its type is unknown, or a field is wrong.

    Keeps unknown fields unchanged: a newer writer may use more fields than this reader.
    """
    if not isinstance(data, Mapping):
        raise EventError((("", "is not an object"),))
    name = data.get("type")
    if not isinstance(name, str) or not name:
        raise EventError((("type", "is missing"),))
    if name not in TYPES:
        raise EventError((("type", f"unknown type: {name!r}" if _NAME.fullmatch(name) else "unknown type"),))
    errors = [*_check({"created_on": "time!", "call_id": "str"}, data), *_check(TYPES[name], data)]
    if errors:
        raise EventError(tuple(errors))
    return Event(name, datetime.fromisoformat(str(data["created_on"])), dict(data))


def write_event(event: Event) -> dict[str, JSON]:
    """JSON that read_event reads back into an equal event."""
    return dict(event.body)


def webhook_status(outcome: str) -> str:
    """The status of a webhook_called event for a delivery's outcome."""
    if outcome == "ok":
        return "success"
    if outcome == "gone":
        return "subscriber_gone"
    return "response_error" if outcome.startswith("http_") or outcome == "bad_answer" else "connection_error"


def _check(fields: Mapping[str, str], data: Mapping[str, Any]) -> list[tuple[str, str]]:
    wrong = []
    for name, kind in fields.items():
        value, mandatory = data.get(name), kind.endswith("!")
        if value is None:
            wrong += [(name, "is missing")] if mandatory else []
        elif message := _wrong(kind.removesuffix("!"), value, mandatory):
            wrong.append((name, message))
    return wrong


def _wrong(kind: str, value: Any, mandatory: bool) -> str:
    """What is wrong with a value of this kind; "" when nothing is."""
    if kind in ("str", "text"):
        return "" if isinstance(value, str) and (value or kind == "str") else "must be a text that is not empty"
    if kind == "int":
        return "" if isinstance(value, int) and not isinstance(value, bool) else "must be a whole number"
    if kind == "bool":
        return "" if isinstance(value, bool) else "must be true or false"
    if kind == "uuid":
        return "" if _is_uuid(value) else "must be a UUID"
    if kind == "time":
        return "" if _is_time(value) else "must be a time with a zone, such as 2026-05-14T12:30:10Z"
    if kind == "status":
        return "" if value in WEBHOOK_STATUSES else f"must be one of {', '.join(WEBHOOK_STATUSES)}"
    if kind == "object":
        return "" if isinstance(value, Mapping) else "must be an object"
    if kind in ("texts", "refs"):
        return _wrong_list(str if kind == "texts" else Mapping, value, mandatory)
    return ""


def _wrong_list(inner: type, value: Any, mandatory: bool) -> str:
    if not isinstance(value, list) or not all(isinstance(item, inner) for item in value):
        return f"must be a list of {'texts' if inner is str else 'objects'}"
    return "must not be empty" if mandatory and not value else ""


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(UUID(value))
    except ValueError:
        return False


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
