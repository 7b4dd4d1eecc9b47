"""Who may read secrets in URLs, headers, bodies, answers and values of calls.

Users who may change webhooks see their settings and what was sent; for all others it is redacted by
pbxhub/redaction.py. The URL and the headers of a delivery are redacted for everybody.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pbxhub.account.access import Access
from pbxhub.json_depth import read_any_json
from pbxhub.redaction import redact_body, redact_headers, redact_text, redact_url, redact_value
from pbxhub.webhooks.connection_spec import ConnectionSpec, OAuth
from pbxhub.webhooks.rendered_request import Request
from pbxhub.webhooks.spec import WebhookSpec, dump_spec


def sees_secrets(access: Access | None) -> bool:
    """Whether this person or program may read what is secret of a webhook's settings."""
    return access is not None and access.may("webhooks.change")


def visible_spec(access: Access | None, spec: WebhookSpec) -> Any:
    """A webhook's settings as JSON, as load_spec reads them; with secrets hidden for those who may not change them."""
    return dump_spec(spec) if sees_secrets(access) else redacted_spec(spec)


def redacted_spec(spec: WebhookSpec) -> Any:
    """The same without secrets, for everybody: for the audit log, which keeps what it is given."""
    data = dump_spec(spec)
    hidden = redact_value(data)
    if "steering" in data:  # its "key" is the name of a field in an answer
        hidden["steering"] = data["steering"]
    if spec.request.file:
        hidden["request"]["file"] = base64.b64encode(redact_body(spec.request.file)).decode()
    return hidden


def visible_connection(access: Access | None, spec: ConnectionSpec) -> ConnectionSpec:
    """A connection's settings: its addresses and their parameters may have keys in them."""
    if sees_secrets(access):
        return spec
    return replace(spec, test_url=redact_url(spec.test_url), oauth=_redacted_oauth(spec.oauth) if spec.oauth else None)


def _redacted_oauth(oauth: OAuth) -> OAuth:
    extra = tuple(replace(one, value=redact_value(one.value, one.name)) for one in oauth.extra)
    return replace(
        oauth, authorize_url=redact_url(oauth.authorize_url), token_url=redact_url(oauth.token_url), extra=extra
    )


def visible_url(access: Access | None, url: str) -> str:
    """An address that was set up by somebody: of a subscriber, a callback."""
    return url if sees_secrets(access) else redact_url(url)


def visible_text(access: Access | None, text: str) -> str:
    """A message or a dump."""
    return text if sees_secrets(access) else redact_text(text)


def visible_body(access: Access | None, body: bytes) -> bytes:
    """The body of a request or of an answer."""
    return body if sees_secrets(access) else redact_body(body)


def visible_request(access: Access | None, request: Request) -> Request:
    """A request that was or would be sent."""
    shown = replace(request, url=redact_url(request.url), headers=redact_headers(request.headers))
    if sees_secrets(access):
        return shown
    return replace(shown, body=redact_body(request.body_with_notes()), files=())  # their places may have moved


def visible_values(access: Access | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of a call, or the fields of an event."""
    return dict(values) if sees_secrets(access) else {**redact_value(values)}


def readable(body: bytes) -> str:
    """A body as text: JSON in lines, bytes that are not UTF-8 replaced."""
    return indented(body.decode("utf-8", "replace"))


def indented(text: str) -> str:
    """JSON in lines; any other text unchanged."""
    try:
        return json.dumps(read_any_json(text), ensure_ascii=False, indent=2)
    except ValueError:
        return text
