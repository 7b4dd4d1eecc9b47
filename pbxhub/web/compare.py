"""How two requests differ: the failed one and the last good one."""

import json
from dataclasses import dataclass

from pbxhub.account.access import Access
from pbxhub.account.audit_log import differences
from pbxhub.account.visible import visible_body
from pbxhub.account.webhook_fields import flatten
from pbxhub.calls.stages import JSON
from pbxhub.redaction import redact_headers, redact_url
from pbxhub.store.delivery_rows import Delivery


@dataclass(frozen=True, slots=True)
class Compared:
    """The last good delivery and what is different in ours: path -> [good, ours]."""

    good: Delivery
    changes: dict[str, list[JSON]]


def compare(access: Access, good: Delivery, ours: Delivery) -> Compared:
    """URL, headers and body, field by field when the bodies are JSON; as the reader may see them."""
    return Compared(good, differences(_fields(access, good), _fields(access, ours)))


def _fields(access: Access, delivery: Delivery) -> dict[str, JSON]:
    own: dict[str, JSON] = {"method": delivery.method, "URL": redact_url(delivery.url)}
    headers: dict[str, JSON] = {f"header {name}": value for name, value in redact_headers(delivery.headers)}
    return {**own, **headers, **_body(visible_body(access, delivery.body))}


def _body(body: bytes) -> dict[str, JSON]:
    text = body.decode("utf-8", "replace")
    try:
        return {f"body {path}": value for path, value in flatten(json.loads(text)).items()}
    except (ValueError, RecursionError):
        return {"body": text[:2000]}
