"""Typed events as programs read them: rows of the event table, joined with the attempts they refer to."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import select, tuple_
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox.own_webhooks import resthook_of
from pbxhub.redaction import redact_headers, redact_url
from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.events import EventRow, Position
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.attached import load_files, with_notes
from pbxhub.webhooks.typed_events import webhook_status

_DUMPED = 10_000  # characters of a request or an answer in an event


def shown(session: Session, rows: Sequence[EventRow]) -> list[dict[str, Any]]:
    """The events of these rows, in their order, without those whose attempt is no longer kept."""
    attempts = _attempts(session, [row for row in rows if _is_our_attempt(row)])
    found = []
    for row in rows:
        body: dict[str, Any] = {
            **row.data,
            "id": str(Position(row.id)),
            "call_id": str(row.call_id) if row.call_id else None,
            "type": row.type,
            "created_on": row.data.get("created_on") or row.created_on.isoformat(),
        }
        if _is_our_attempt(row):
            known = attempts.get((row.data["delivery_id"], row.data["attempt"]))
            if known is None:
                continue
            body |= known
        found.append(body)
    return found


def _is_our_attempt(row: EventRow) -> bool:
    """The hub's own webhook_called has only the key of an attempt; one sent by a program has all its fields."""
    return row.type == "webhook_called" and row.data.keys() == {"delivery_id", "attempt"}


def _attempts(session: Session, rows: Iterable[EventRow]) -> dict[tuple[Any, Any], dict[str, Any]]:
    keys = [(UUID(str(row.data["delivery_id"])), row.data["attempt"]) for row in rows]
    if not keys:
        return {}
    query = (
        select(Attempt, Delivery, Webhook)
        .join(Delivery, Delivery.id == Attempt.delivery_id)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(tuple_(Attempt.delivery_id, Attempt.number).in_(keys))
    )
    found = session.execute(query).all()
    return {(str(one.delivery_id), one.number): _called(one, delivery, webhook) for one, delivery, webhook in found}


def _called(attempt: Attempt, delivery: Delivery, webhook: Webhook) -> dict[str, Any]:
    body = with_notes(delivery.body, load_files(delivery.files))
    left = _lines((*delivery.headers, *attempt.request_headers))
    head = "\r\n".join([f"{delivery.method} {redact_url(delivery.url)}", *left])
    came = "\r\n".join([f"HTTP/1.1 {attempt.status_code}", *_lines(attempt.response_headers)])
    answer = f"{came}\r\n\r\n{attempt.response_body.decode('utf-8', 'replace')}" if attempt.status_code else ""
    resthook = resthook_of(webhook)
    return ({"resthook": resthook} if resthook else {}) | {
        "webhook_id": delivery.webhook_id,
        "url": redact_url(delivery.url),
        "status": webhook_status(attempt.outcome),
        "status_code": attempt.status_code,
        "outcome": attempt.outcome,
        "elapsed_ms": (attempt.total_us or 0) // 1000,
        "request": f"{head}\r\n\r\n{body.decode('utf-8', 'replace')}"[:_DUMPED],
        "response": answer[:_DUMPED],
        "body_ignored": attempt.response_truncated,
    }


def _lines(headers: Iterable[Iterable[str]]) -> list[str]:
    return [f"{name}: {value}" for name, value in redact_headers(headers)]
