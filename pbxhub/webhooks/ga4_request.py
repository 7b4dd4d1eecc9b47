"""What Google Analytics 4 would drop from one rendered request, and the answer of its validation server.

Source: Measurement Protocol reference of GA4. Google answers 204 to everything, so its own answer says nothing.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pbxhub.webhooks.ga4 import (
    LONGEST_NAME,
    LONGEST_PROPERTY_VALUE,
    LONGEST_VALUE,
    MOST_EVENTS,
    MOST_PARAMS,
    MOST_PROPERTIES,
    RESERVED_EVENTS,
    debug_url,
    is_ga4,
    name_notes,
    property_notes,
)
from pbxhub.webhooks.paths_in_json import MISSING, json_or_missing
from pbxhub.webhooks.rendered_request import Request
from pbxhub.webhooks.spec_json import FieldError, join, too_many, wrong_at

LARGEST_BODY = 130_000
OLDEST = timedelta(hours=72)
_CLIENT = re.compile(r"\d+\.\d+", re.ASCII)
_COOKIE = re.compile(r"GA\d+\.\d+\.(\d+\.\d+)", re.ASCII)
_EPOCH_US = 1_000_000


def lint_request(request: Request, now: datetime) -> list[FieldError]:
    """What GA4 would silently drop from this request. Empty for every other URL."""
    if not is_ga4(request.url):
        return []
    body = json_or_missing(request.body)
    if not isinstance(body, dict):
        return [
            wrong_at("format", "GA4 accepts a JSON object only; choose POST, the format json and an object at the top")
        ]
    return [*_size(request), *_client(body), *_time(body, now), *_events(body.get("events")), *_properties(body)]


def twin(request: Request) -> Request:
    """The same request for GA4's validation server, which records nothing. Other requests stay unchanged."""
    return replace(request, url=debug_url(request.url)) if is_ga4(request.url) else request


def twin_messages(body: bytes) -> list[str] | None:
    """The errors in the validation server's answer; None when it is not such an answer."""
    answer = json_or_missing(body)
    messages = answer.get("validationMessages") if isinstance(answer, dict) else None
    if not isinstance(messages, list):
        return None
    return [_message(item) for item in messages if isinstance(item, dict)]


def _message(item: dict[str, Any]) -> str:
    return ": ".join(str(item[name]) for name in ("fieldPath", "description") if item.get(name))


def _size(request: Request) -> Iterator[FieldError]:
    yield from too_many("parameters", len(request.body), LARGEST_BODY, "have %(count)s bytes; GA4 accepts %(most)s")


def _client(body: dict[str, Any]) -> Iterator[FieldError]:
    path, client = "parameters.client_id", body.get("client_id", MISSING)
    if client is MISSING or client is None or client == "":
        yield wrong_at(path, "is missing for this call; GA4 requires it")
    elif not isinstance(client, str):
        yield wrong_at(path, "is %(client)s, a number; GA4 requires a text", client=client)
    elif cookie := _COOKIE.fullmatch(client):
        yield wrong_at(
            path, "is the whole cookie _ga; the client id of this visitor is %(value)s", value=cookie.group(1)
        )
    elif not _CLIENT.fullmatch(client):
        yield wrong_at(
            path, "is %(client)s; a client id from Google Analytics looks like 1391543214.177875", client=repr(client)
        )


def _time(body: dict[str, Any], now: datetime) -> Iterator[FieldError]:
    path, micros = "parameters.timestamp_micros", body.get("timestamp_micros")
    if micros is None:
        return
    if not isinstance(micros, int) or isinstance(micros, bool):
        yield wrong_at(
            path, "is %(micros)s; give a number of microseconds, like <<calldate|unix_us>>", micros=repr(micros)
        )
        return
    age = now.timestamp() - micros / _EPOCH_US
    if age > OLDEST.total_seconds() or age < -3600:
        yield wrong_at(path, "is not within the last 72 hours; GA4 accepts only such times, in microseconds")


def _events(events: Any) -> Iterator[FieldError]:
    path = "parameters.events"
    if not isinstance(events, list) or not events:
        yield wrong_at(path, "is missing; give an array of 1 to 25 events")
        return
    yield from too_many(path, len(events), MOST_EVENTS, "has %(count)s events; GA4 accepts %(most)s")
    for index, event in enumerate(events):
        yield from _event(event, f"{path}[{index}]")


def _event(event: Any, path: str) -> Iterator[FieldError]:
    if not isinstance(event, dict) or not isinstance(event.get("name"), str) or not event["name"]:
        yield wrong_at(f"{path}.name", "is missing; GA4 requires it")
        return
    yield from name_notes(event["name"], f"{path}.name", LONGEST_NAME)
    if event["name"] in RESERVED_EVENTS:
        yield wrong_at(f"{path}.name", "%(value)s is reserved by GA4; use another name", value=event["name"])
    parameters = event.get("params")
    if not isinstance(parameters, dict):
        return
    yield from too_many(
        f"{path}.params", len(parameters), MOST_PARAMS, "has %(count)s parameters; GA4 accepts %(most)s"
    )
    for name, value in parameters.items():
        yield from name_notes(name, join(f"{path}.params", name), LONGEST_NAME)
        yield from _value(name, value, join(f"{path}.params", name))


def _value(name: str, value: Any, path: str) -> Iterator[FieldError]:
    if name == "session_id" and not str(value).isdigit():
        yield wrong_at(path, "is %(value)s; GA4 accepts digits only", value=repr(value))
    elif name == "engagement_time_msec" and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        yield wrong_at(path, "is %(value)s; GA4 accepts a number", value=repr(value))
    elif isinstance(value, dict) or (isinstance(value, list) and name != "items"):
        yield wrong_at(path, "is a list or an object; GA4 accepts texts and numbers")
    else:
        yield from _length(value, path, LONGEST_VALUE)


def _properties(body: dict[str, Any]) -> Iterator[FieldError]:
    path, properties = "parameters.user_properties", body.get("user_properties")
    if not isinstance(properties, dict):
        return
    yield from too_many(path, len(properties), MOST_PROPERTIES, "has %(count)s properties; GA4 accepts %(most)s")
    for name, item in properties.items():
        yield from property_notes(name, join(path, name))
        value = item.get("value") if isinstance(item, dict) else item
        yield from _length(value, join(path, name), LONGEST_PROPERTY_VALUE)


def _length(value: Any, path: str, longest: int) -> Iterator[FieldError]:
    if isinstance(value, str) and len(value) > longest:
        yield wrong_at(path, "has %(count)s characters; GA4 accepts %(longest)s", count=len(value), longest=longest)
