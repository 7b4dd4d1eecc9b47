"""Deliveries and their attempts: what was sent, what failed, Checked and Send."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.visible import visible_body, visible_text
from pbxhub.api import schemas
from pbxhub.api.answers import page
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.keys import enter, needs
from pbxhub.api.problems import refuse, wrong_field
from pbxhub.delivery.outbox import (
    CannotResendError,
    Selection,
    check,
    list_conditions,
    order_resend,
    resend_one,
    stop_resend,
)
from pbxhub.redaction import redact_headers, redact_url
from pbxhub.store.delivery_rows import Attempt, Delivery
from pbxhub.store.resends import Resend
from pbxhub.wsgi.current import hub, now, reading, writing

history = Blueprint("deliveries", __name__, description="What was sent, and what came back")
_SHOWN = (
    "id", "webhook_id", "call_id", "stage_event_id", "kind", "state", "attempts", "method", "outcome", "message",
    "status_code", "duration_ms", "due_at", "created_on", "finished_on", "checked_on",
)  # fmt: skip


@history.get("/deliveries")
@history.arguments(schemas.DeliveryFilter, location="query")
@history.response(200, schemas.page_of(schemas.Delivery))
@needs("account.read")
def index(wanted: dict[str, Any]) -> Any:
    """Deliveries, newest first."""
    table = Delivery
    before = uuid_after(wanted)
    with reading() as session:
        selection = replace(_matching(wanted), unchecked=wanted["unchecked"])
        access = enter(session)
        query = select(table).where(*list_conditions(session, access.project.id, selection))
        if wanted["state"]:
            query = query.where(table.state == wanted["state"])
        if before:
            query = query.where(table.id < before)
        query = query.options(defer(table.body), defer(table.headers))
        rows = session.scalars(query.order_by(table.id.desc()).limit(wanted["limit"] + 1)).all()
        return page([_shown(access, row) for row in rows], wanted["limit"], lambda row: row["id"])


@history.get("/deliveries/<uuid:delivery_id>")
@history.response(200, schemas.Delivery)
@needs("account.read")
def one(delivery_id: UUID) -> Any:
    """One delivery."""
    with reading() as session:
        access = enter(session)
        return _shown(access, _of(session, access, delivery_id))


@history.get("/deliveries/<uuid:delivery_id>/attempts")
@history.response(200, schemas.page_of(schemas.Attempt))
@needs("account.read")
def attempts(delivery_id: UUID) -> Any:
    """Every request of a delivery with its answer; credentials are blacked out."""
    with reading() as session:
        access = enter(session)
        delivery = _of(session, access, delivery_id)
        table = Attempt
        rows = session.scalars(select(table).where(table.delivery_id == delivery.id).order_by(table.number)).all()
        return {"items": [_attempt(access, delivery, row) for row in rows], "next": None}


@history.post("/deliveries/<uuid:delivery_id>/resend")
@history.arguments(schemas.ResendOne)
@history.response(202, schemas.Delivery)
@needs("deliveries.change")
def send_one(data: dict[str, Any], delivery_id: UUID) -> Any:
    """Sends one delivery again at once, as it was or with the current settings."""
    with writing() as session:
        access = enter(session)
        row = _of(session, access, delivery_id)
        try:
            resend_one(
                hub().context, session, access.project.id, delivery_id, now(), data["current_settings"],
            )  # fmt: skip
        except CannotResendError as error:
            refuse(409, str(error))
        note(session, access, "sent again", str(delivery_id))
        return _shown(access, row)


@history.post("/deliveries/check")
@history.arguments(schemas.Chosen)
@history.response(200, schemas.Count)
@needs("deliveries.change")
def checked(data: dict[str, Any]) -> Any:
    """Takes failed deliveries off the error page; they stay in the history."""
    with writing() as session:
        access = enter(session)
        count = check(session, access.project.id, _selection(data), now())
        note(session, access, "failures checked", str(count))
        return {"count": count}


@history.post("/resends")
@history.arguments(schemas.Again)
@history.response(202, schemas.Resend)
@needs("deliveries.change")
def send(data: dict[str, Any]) -> Any:
    """Orders the sending again of all failed deliveries that match, at a rate."""
    with writing() as session:
        access = enter(session)
        order = order_resend(
            session, access.project.id, _selection(data), now(), rate=data["rate"],
            current_settings=data["current_settings"],
        )  # fmt: skip
        note(session, access, "sent again", str(order.total))
        session.flush()
        return order


@history.get("/resends/<uuid:resend_id>")
@history.response(200, schemas.Resend)
@needs("account.read")
def resend(resend_id: UUID) -> Any:
    """How far it is."""
    with reading() as session:
        return _resend(session, enter(session), resend_id)


@history.delete("/resends/<uuid:resend_id>")
@history.response(204)
@needs("deliveries.change")
def stop(resend_id: UUID) -> None:
    """Stops it; what was not sent yet is again what it was before."""
    with writing() as session:
        access = enter(session)
        _resend(session, access, resend_id)
        if not stop_resend(session, access.project.id, resend_id, now()):
            refuse(409, "It is over already: everything has been sent, or it was stopped before.")
        note(session, access, "sending again stopped", str(resend_id))


def uuid_after(wanted: dict[str, Any]) -> UUID | None:
    """The id behind ?after=, None on the first page."""
    if not wanted["after"]:
        return None
    try:
        return UUID(wanted["after"])
    except ValueError:
        wrong_field("after", "is not the key of a page; take `next` of the page before")


def _of(session: Session, access: Access, delivery_id: UUID) -> Delivery:
    row = session.get(Delivery, delivery_id)
    if row is None or row.project_id != access.project.id:
        refuse(404, "There is no such delivery in this project.")
    return row


def _resend(session: Session, access: Access, resend_id: UUID) -> Resend:
    row = session.get(Resend, resend_id)
    if row is None or row.project_id != access.project.id:
        refuse(404, "There is no such order in this project.")
    return row


def _selection(data: dict[str, Any]) -> Selection:
    if data["ids"]:
        return Selection(ids=tuple(data["ids"]))
    return replace(_matching(data), unchecked=True, failed_by=now())


def _matching(data: dict[str, Any]) -> Selection:
    return Selection(**{name: data[name] for name in schemas.Matching().fields})


def _shown(access: Access, row: Delivery) -> dict[str, Any]:
    known = {name: getattr(row, name) for name in _SHOWN}
    return {**known, "url": redact_url(row.url), "message": visible_text(access, row.message)}


def _attempt(access: Access, delivery: Delivery, row: Attempt) -> dict[str, Any]:
    names = ("number", "started_on", "finished_on", "outcome", "status_code", "total_us", "peer")
    return {
        **{name: getattr(row, name) for name in names},
        "request_headers": [list(header) for header in redact_headers((*delivery.headers, *row.request_headers))],
        "message": visible_text(access, row.message),
        "request_body": visible_body(access, delivery.body).decode("utf-8", "replace"),
        "response_headers": [list(header) for header in redact_headers(row.response_headers)],
        "response_body": visible_body(access, row.response_body).decode("utf-8", "replace"),
        "response_truncated": row.response_truncated,
    }
