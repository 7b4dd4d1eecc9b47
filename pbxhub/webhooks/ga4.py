"""Checks webhooks against the limits of Google Analytics 4, which answers 204 to everything and drops what is invalid.

Source: Measurement Protocol reference of GA4 (limitations, reserved names). This module checks a webhook's names and
texts, ga4_request.py the rendered request. Only the endpoint /debug/mp/collect (see debug_url) returns Google's own
errors.
"""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

from pbxhub.translatable import say
from pbxhub.webhooks.spec import Parameter, WebhookSpec, each_parameter
from pbxhub.webhooks.spec_json import FieldError, join, too_many, wrong_at
from pbxhub.webhooks.template import TemplateError, compile_template

_HOSTS = frozenset({"www.google-analytics.com", "region1.google-analytics.com"})
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_RESERVED_PREFIXES = ("_", "firebase_", "ga_", "google_")
RESERVED_EVENTS = frozenset(
    {
        "ad_activeview", "ad_click", "ad_exposure", "ad_query", "ad_reward", "adunit_exposure", "app_clear_data",
        "app_exception", "app_install", "app_remove", "app_store_refund", "app_update", "app_upgrade",
        "dynamic_link_app_open", "dynamic_link_app_update", "dynamic_link_first_open", "error", "first_open",
        "first_visit", "in_app_purchase", "notification_dismiss", "notification_foreground", "notification_open",
        "notification_receive", "notification_send", "os_update", "session_start", "user_engagement",
    }
)  # fmt: skip
RESERVED_PROPERTIES = frozenset(
    {"first_open_after_install", "first_open_time", "first_visit_time", "last_deep_link_referrer", "user_id"}
)
_PHONES = frozenset({"caller", "caller_e164", "dst", "outbound_number", "caller_name", "employee_email"})
MOST_EVENTS, MOST_PARAMS, LONGEST_NAME, LONGEST_VALUE = 25, 25, 40, 100
MOST_PROPERTIES, LONGEST_PROPERTY, LONGEST_PROPERTY_VALUE = 25, 24, 36


def is_ga4(url: str) -> bool:
    """Whether the URL is the GA4 Measurement Protocol."""
    parts = urlsplit(url)
    return parts.hostname in _HOSTS and parts.path in ("/mp/collect", "/debug/mp/collect")


def debug_url(url: str) -> str:
    """The URL of the validation server, which answers with validationMessages and records nothing."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path="/debug/mp/collect")) if parts.path == "/mp/collect" else url


def lint_ga4(spec: WebhookSpec) -> list[FieldError]:
    """What GA4 would silently drop, and what its policy forbids. Empty for every other URL."""
    if not is_ga4(spec.request.url):
        return []
    top = {item.name: item for item in spec.request.parameters}
    return [
        *_client(top.get("client_id")),
        *_events(top.get("events")),
        *_properties(top.get("user_properties")),
        *_personal(spec.request.parameters),
    ]


def _client(client: Parameter | None) -> Iterator[FieldError]:
    if client is None:
        yield wrong_at("parameters.client_id", "is missing; GA4 requires it")
    elif not client.mandatory:
        yield wrong_at("parameters.client_id", "is not marked mandatory; GA4 requires it")


def _events(events: Parameter | None) -> Iterator[FieldError]:
    path = "parameters.events"
    if events is None or events.type != "array" or not events.children:
        yield wrong_at(path, "is missing; give an array of 1 to 25 events")
        return
    yield from too_many(path, len(events.children), MOST_EVENTS, "has %(count)s events; GA4 accepts %(most)s")
    for index, event in enumerate(events.children):
        yield from _event(event, f"{path}[{index}]")


def _event(event: Parameter, path: str) -> Iterator[FieldError]:
    fields = {item.name: item for item in event.children}
    name = fields.get("name")
    if name is None or not name.value:
        yield wrong_at(f"{path}.name", "is missing; GA4 requires it")
    elif "<<" not in name.value:
        yield from name_notes(name.value, f"{path}.name", LONGEST_NAME)
        if name.value in RESERVED_EVENTS:
            yield wrong_at(f"{path}.name", "%(value)s is reserved by GA4; use another name", value=name.value)
    given = fields["params"].children if "params" in fields else ()
    yield from too_many(f"{path}.params", len(given), MOST_PARAMS, "has %(count)s parameters; GA4 accepts %(most)s")
    for item in given:
        own = join(f"{path}.params", item.name)
        yield from name_notes(item.name, own, LONGEST_NAME)
        yield from _value_notes(item, own, LONGEST_VALUE)


def _properties(properties: Parameter | None) -> Iterator[FieldError]:
    path, children = "parameters.user_properties", properties.children if properties else ()
    yield from too_many(path, len(children), MOST_PROPERTIES, "has %(count)s properties; GA4 accepts %(most)s")
    for item in children:
        own = join(path, item.name)
        yield from property_notes(item.name, own)
        for child in item.children:
            yield from _value_notes(child, own, LONGEST_PROPERTY_VALUE)


def name_notes(name: str, path: str, longest: int) -> Iterator[FieldError]:
    """Why GA4 rejects the name of an event, a parameter or a property."""
    if not _NAME.fullmatch(name):
        why = say(
            "%(name)s is not a name that GA4 accepts: letters, digits and _, beginning with a letter", name=repr(name)
        )
        yield FieldError(path, why)
    elif len(name) > longest:
        yield wrong_at(path, "has %(count)s characters; GA4 accepts %(longest)s", count=len(name), longest=longest)
    elif name.lower().startswith(_RESERVED_PREFIXES):
        known = " ".join(_RESERVED_PREFIXES)
        yield wrong_at(path, "%(name)s begins with a prefix reserved by GA4 (%(known)s)", name=name, known=known)


def property_notes(name: str, path: str) -> Iterator[FieldError]:
    """Why GA4 rejects the name of a user property."""
    if name in RESERVED_PROPERTIES:
        yield wrong_at(path, "%(value)s is reserved by GA4; use another name", value=name)
    else:
        yield from name_notes(name, path, LONGEST_PROPERTY)


def _value_notes(item: Parameter, path: str, longest: int) -> Iterator[FieldError]:
    try:
        fixed = len(compile_template(item.value).literal)
    except TemplateError:
        return
    if fixed > longest:
        yield wrong_at(path, "has %(count)s characters; GA4 accepts %(longest)s", count=fixed, longest=longest)


def _personal(parameters: tuple[Parameter, ...]) -> Iterator[FieldError]:
    """Warns about personal data, which Google forbids. Hashes are allowed."""
    for own, item in each_parameter(parameters):
        if item.type in ("md5", "crc32", "sha1", "sha256"):
            continue
        try:
            slots = compile_template(item.value).slots
        except TemplateError:
            continue
        if plain := next((slot.name for slot in slots if slot.name in _PHONES and not slot.filters), ""):
            yield wrong_at(own, "sends %(plain)s; the policy of Google Analytics forbids personal data", plain=plain)
