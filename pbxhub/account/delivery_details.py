"""Everything about one delivery, as its reader may see it: the request, the values it was made of, and, of a failed
one, how it differs from the last good one."""

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import differences
from pbxhub.account.sample_calls import values_of
from pbxhub.account.secret_visibility import visible_body, visible_request, visible_values
from pbxhub.account.webhook_fields import flatten
from pbxhub.calls.stages import JSON, Value
from pbxhub.delivery.stage_values import Lookups
from pbxhub.json_depth import read_any_json
from pbxhub.redaction import redact_headers, redact_url
from pbxhub.store.connections import Connection, waiting_for
from pbxhub.store.delivery_rows import DELIVERED, FAILED, PENDING, Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.webhooks import Webhook, WebhookVersion
from pbxhub.webhooks.attached import load_files, recording_in, with_notes
from pbxhub.webhooks.check import used_parameters
from pbxhub.webhooks.params import lookup
from pbxhub.webhooks.rendered_request import Request
from pbxhub.webhooks.spec import WebhookSpec

_MOST_NAMED = 100


@dataclass(frozen=True, slots=True)
class Compared:
    """The last good delivery and what is different in ours: path -> [good, ours]."""

    good: Delivery
    changes: dict[str, list[JSON]]


@dataclass(frozen=True, slots=True)
class Details:
    """body: to read, without the bytes of files. named: where each parameter stands in the webhook, its name, and the
    value it had. waits_for: the connection for whose token the delivery waits."""

    delivery: Delivery
    webhook: Webhook
    call: Call | None
    stage_event: StageEvent | None
    request: Request
    body: bytes
    named: list[tuple[str, str, Value]]
    compared: Compared | None
    waits_for: Connection | None


def details_of(session: Session, access: Access, delivery: Delivery) -> Details:
    """What belongs to a delivery of the project."""
    webhook = session.get_one(Webhook, delivery.webhook_id)
    call = session.get(Call, delivery.call_id) if delivery.call_id else None
    stage = session.get(StageEvent, delivery.stage_event_id) if delivery.stage_event_id else None
    headers = tuple((name, value) for name, value in delivery.headers)
    files = load_files(delivery.files)
    request = visible_request(access, Request(delivery.method, delivery.url, headers, delivery.body, files))
    named = _named_values(session, access, delivery, webhook, stage, call)
    waits_for = waiting_for(session, webhook, access.now) if delivery.state == PENDING else None
    body = shown_body(session, access, delivery)
    return Details(
        delivery, webhook, call, stage, request, body, named, _compared(session, access, delivery), waits_for
    )


def shown_body(session: Session, access: Access, delivery: Delivery) -> bytes:
    """The body of a request to read: names and sizes in place of files, secrets hidden as its reader may see them."""
    files, size = load_files(delivery.files), None
    if name := recording_in(files):
        call = session.get(Call, delivery.call_id) if delivery.call_id else None
        common = access.hub.settings.recordings
        size = Lookups(session).recording_size(call.pbx_id, name, common) if call else None
    return visible_body(access, with_notes(delivery.body, files, size))


def _named_values(
    session: Session, access: Access, delivery: Delivery, webhook: Webhook, stage: StageEvent | None, call: Call | None
) -> list[tuple[str, str, Value]]:
    if stage is None or call is None or delivery.content_removed_on:
        return []
    values = values_of(session, access, stage, call, webhook.name if delivery.kind == "chain" else "")
    used = used_parameters(_spec_then(session, delivery, webhook))
    found = [(path, name, lookup(values, name)) for path, name in used][:_MOST_NAMED]
    return [(path, name, visible_values(access, {name: value})[name]) for path, name, value in found]


def _spec_then(session: Session, delivery: Delivery, webhook: Webhook) -> WebhookSpec:
    """What the webhook was when this request was made from it."""
    version = session.get(WebhookVersion, (webhook.id, delivery.webhook_revision))
    return version.spec if version else webhook.spec


def _compared(session: Session, access: Access, ours: Delivery) -> Compared | None:
    """URL, headers and body, field by field when the bodies are JSON."""
    if ours.state != FAILED or ours.content_removed_on:
        return None
    good = session.scalar(
        select(Delivery)
        .where(Delivery.webhook_id == ours.webhook_id, Delivery.state == DELIVERED, Delivery.id < ours.id)
        .where(Delivery.content_removed_on.is_(None))
        .order_by(Delivery.id.desc())
        .limit(1)
    )
    return Compared(good, differences(_fields(session, access, good), _fields(session, access, ours))) if good else None


def _fields(session: Session, access: Access, delivery: Delivery) -> dict[str, JSON]:
    own: dict[str, JSON] = {"method": delivery.method, "URL": redact_url(delivery.url)}
    headers: dict[str, JSON] = {f"header {name}": value for name, value in redact_headers(delivery.headers)}
    return {**own, **headers, **_body(shown_body(session, access, delivery))}


def _body(body: bytes) -> dict[str, JSON]:
    text = body.decode("utf-8", "replace")
    try:
        return {f"body {path}": value for path, value in flatten(read_any_json(text)).items()}
    except ValueError:
        return {"body": text[:2000]}
