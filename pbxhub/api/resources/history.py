"""Deliveries and their attempts: list them, mark them as checked, send them again."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from pbxhub.account.access import Access, row_of
from pbxhub.account.content_removal import ToRemove, refuse_one, remove_content
from pbxhub.account.deliveries import attempts_of, listed, sent_since
from pbxhub.account.delivery_details import shown_body
from pbxhub.account.resending import mark_checked, result_of, send_again, send_one_again, stop_sending
from pbxhub.account.secret_visibility import visible_body, visible_text
from pbxhub.api.answers import page
from pbxhub.api.authentication import changes, enter, needs, reading_project, reads, writing_project
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.problems import refuse_all, wrong_field
from pbxhub.api.schemas import deliveries as schemas
from pbxhub.api.schemas.base import page_of
from pbxhub.delivery.outbox import Selection, count_by_webhook
from pbxhub.redaction import redact_headers, redact_url
from pbxhub.sending.outcomes import error_number
from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.history import Call
from pbxhub.store.resends import Resend
from pbxhub.wsgi.current import hub, now, reading

history = Blueprint("deliveries", __name__, description="What was sent, and what came back")
NO_PLACE = "is not the key of a page; use `next` of the previous page"
_SHOWN = (
    "id", "webhook_id", "call_id", "stage_event_id", "kind", "state", "attempts", "method", "outcome", "message",
    "status_code", "duration_ms", "due_at", "created_on", "finished_on", "checked_on",
    "content_removed_on", "content_removed_by",
)  # fmt: skip


@history.get("/deliveries")
@history.arguments(schemas.DeliveryFilter, location="query")
@history.response(200, page_of(schemas.Delivery))
@reads("account.read")
def index(session: Session, access: Access, wanted: dict[str, Any]) -> Any:
    """Deliveries, newest first."""
    selection = replace(_matching(wanted), unchecked=wanted["unchecked"])
    before, limit = uuid_after(wanted), wanted["limit"]
    rows = listed(session, access.project.id, selection, wanted["state"], before, limit + 1)
    sending = sent_since(session, [row.delivery for row in rows], access.now)
    return page([_shown(access, row.delivery, sending) for row in rows], limit, lambda row: row["id"])


@history.get("/deliveries/<uuid:delivery_id>")
@history.response(200, schemas.Delivery)
@reads("account.read")
def one(session: Session, access: Access, delivery_id: UUID) -> Any:
    """One delivery."""
    row = row_of(session, access, Delivery, delivery_id)
    return _shown(access, row, sent_since(session, [row], access.now))


@history.get("/deliveries/<uuid:delivery_id>/attempts")
@history.response(200, page_of(schemas.Attempt))
@reads("account.read")
def attempts(session: Session, access: Access, delivery_id: UUID) -> Any:
    """Every request of a delivery with its answer; credentials are hidden."""
    delivery = row_of(session, access, Delivery, delivery_id)
    rows = reversed(attempts_of(session, delivery))
    body = shown_body(session, access, delivery).decode("utf-8", "replace")
    return {"items": [_attempt(access, delivery, body, row) for row in rows], "next": None}


@history.post("/deliveries/<uuid:delivery_id>/resend")
@history.arguments(schemas.ResendOne)
@history.response(202, schemas.Delivery)
@changes("deliveries.change")
def send_one(session: Session, access: Access, data: dict[str, Any], delivery_id: UUID) -> Any:
    """Sends one delivery again at once, as it was or with the current settings."""
    row = row_of(session, access, Delivery, delivery_id)
    send_one_again(session, access, delivery_id, data["current_settings"])
    return _shown(access, row, {})


@history.post("/deliveries/check")
@history.arguments(schemas.Chosen)
@history.response(200, schemas.Count)
@changes("deliveries.change")
def checked(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Removes failed deliveries from the error page; they stay in the history."""
    return {"count": mark_checked(session, access, _selection(data))}


@history.post("/deliveries/remove-content")
@history.arguments(schemas.ToRemove)
@history.response(200, schemas.RemovedContent)
@needs("content.remove")
def remove(data: dict[str, Any]) -> Any:
    """Removes for good what deliveries contain, of a call or of all calls of a caller; with `calls` also what these
    calls contain. Their trace stays. What no call belongs to, such as a form, is removed by the ids of its deliveries.
    """
    which = ToRemove(tuple(data["ids"]), data["call_id"], data["number"], data["calls"])
    if refusal := which.refusal():
        refuse_all([refusal])
    with reading_project() as (session, access):
        if which.call_id:
            row_of(session, access, Call, which.call_id)
    return remove_content(hub().database, access, which)


@history.delete("/deliveries/<uuid:delivery_id>/content")
@history.response(204)
@needs("content.remove")
def remove_one(delivery_id: UUID) -> None:
    """The same of one delivery. One that is still to be sent, or whose call is going on, is refused with 409."""
    with reading_project() as (session, access):
        row_of(session, access, Delivery, delivery_id)
        refuse_one(session, access, delivery_id)
    remove_content(hub().database, access, ToRemove((delivery_id,)))


@history.post("/resends")
@history.arguments(schemas.Again)
@history.response(202, schemas.Resend)
@needs("deliveries.change")
def send(data: dict[str, Any]) -> Any:
    """Resends all matching failed deliveries at a rate."""
    selection = _selection(data)
    with reading() as session:  # nobody waits while it is counted
        total = sum(count_by_webhook(session, enter(session).project.id, selection).values())
    with writing_project() as (session, access):
        return send_again(session, access, selection, total, data["rate"], data["current_settings"])


@history.get("/resends/<uuid:resend_id>")
@history.response(200, schemas.ResendProgress)
@reads("account.read")
def resend(session: Session, access: Access, resend_id: UUID) -> Any:
    """The progress of a bulk resend, and what became of its deliveries so far."""
    result = result_of(session, row_of(session, access, Resend, resend_id))
    counted = {name: getattr(result, name) for name in ("delivered", "failures", "on_their_way")}
    return schemas.Resend().dump(result.order) | counted


@history.delete("/resends/<uuid:resend_id>")
@history.response(204)
@changes("deliveries.change")
def stop(session: Session, access: Access, resend_id: UUID) -> None:
    """Stops it; unsent deliveries get their previous state again, or are gone if it has added them."""
    stop_sending(session, access, resend_id)


def uuid_after(wanted: dict[str, Any]) -> UUID | None:
    """The id in ?after=; None on the first page."""
    if not wanted["after"]:
        return None
    try:
        return UUID(wanted["after"])
    except ValueError:
        wrong_field("after", NO_PLACE)


def _selection(data: dict[str, Any]) -> Selection:
    if data["ids"]:
        return Selection(ids=tuple(data["ids"]))
    return replace(_matching(data), unchecked=True, failed_by=now())


def _matching(data: dict[str, Any]) -> Selection:
    return Selection(**{name: data[name] for name in schemas.Matching().fields})


def _shown(access: Access, row: Delivery, sending: Mapping[UUID, datetime]) -> dict[str, Any]:
    known = {name: getattr(row, name) for name in _SHOWN}
    return {
        **known,
        "url": redact_url(row.url),
        "message": visible_text(access, row.message),
        "error_url": _error_url(access, row.outcome),
        "sending_since": sending.get(row.id),
    }


def _error_url(access: Access, outcome: str) -> str | None:
    number = error_number(outcome)
    return access.hub.context.links.outcome(number) if number else None


def _attempt(access: Access, delivery: Delivery, body: str, row: Attempt) -> dict[str, Any]:
    names = ("number", "started_on", "finished_on", "outcome", "status_code", "total_us", "peer")
    return {
        **{name: getattr(row, name) for name in names},
        "request_headers": [list(header) for header in redact_headers((*delivery.headers, *row.request_headers))],
        "message": visible_text(access, row.message),
        "error_url": _error_url(access, row.outcome),
        "request_body": body,
        "response_headers": [list(header) for header in redact_headers(row.response_headers)],
        "response_body": visible_body(access, row.response_body).decode("utf-8", "replace"),
        "response_truncated": row.response_truncated,
    }
