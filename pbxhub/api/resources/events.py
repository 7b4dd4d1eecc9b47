"""Typed events: submitted, listed, streamed; and events that are not calls."""

import json
from functools import partial
from typing import Any

from flask import Response
from marshmallow import Schema, fields
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from pbxhub.account import reported_events as rules
from pbxhub.account.access import Access
from pbxhub.account.secret_visibility import visible_values
from pbxhub.api.authentication import changes, needs, reading_project, reads, writing_project
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.problems import accepted, refuse_all, wrong_field
from pbxhub.api.schemas import events as schemas
from pbxhub.api.schemas.base import Paging, given, page_of, text
from pbxhub.api.streams import follow, places
from pbxhub.delivery.event_stream import shown
from pbxhub.store.events import EventRow, Position, last_given, newest, position_of, read_after, today
from pbxhub.webhooks.spec import FieldError, SpecError
from pbxhub.webhooks.typed_events import TYPES, EventError, read_event, write_event
from pbxhub.wsgi.current import hub
from pbxhub.wsgi.request_checks import json_body

events = Blueprint("events", __name__, description="What happened, as typed events")


class WhichEvents(Schema):
    call_id = fields.UUID(load_default=None, **given("only events of this call"))
    type = text(1000, load_default="", **given("only events of these types, separated by commas: call_stage,error"))


class LastPlace(Schema):
    last = fields.String(data_key="Last-Event-ID", load_default="", **given("id of the last event that came"))


class EventFilter(WhichEvents, Paging):
    """Of a list."""


@events.get("/events")
@events.arguments(EventFilter, location="query")
@events.response(200, page_of(schemas.Event))
@reads("account.read")
def index(session: Session, access: Access, wanted: dict[str, Any]) -> Any:
    """Events in the order they were written, oldest first; of one call with `call_id`, of some types with `type`."""
    after = _position(session, access.project.id, wanted["after"], "after")
    rows = read_after(session, access.project.id, after, wanted["limit"] + 1, *_which(wanted))
    page = rows[: wanted["limit"]]
    more = str(Position(page[-1].id)) if len(rows) > len(page) else None
    return _json({"items": [visible_values(access, event) for event in shown(session, page)], "next": more})


@events.post("/events")
@events.response(201, schemas.Event)
@events.doc(requestBody={"required": True, "content": {"application/json": {
    "schema": {"$ref": "#/components/schemas/Event"}}}})  # fmt: skip
@needs("events.send")
def hand_in() -> Any:
    """Stores an event of a known type unchanged, including the 23 types of goflow. `call_id` adds it to a call."""
    try:
        event = read_event(json_body())
    except EventError as error:
        raise SpecError([FieldError(path, message) for path, message in error.errors]) from None
    with writing_project() as (session, access):
        refuse_all(rules.hand_in(session, access, event))
    return _json(write_event(event), 201)


@events.get("/events/stream")
@events.arguments(WhichEvents, location="query")
@events.arguments(LastPlace, location="headers")
@events.response(200, {"type": "string"}, content_type="text/event-stream")
@needs("account.read")
def stream(wanted: dict[str, Any], place: dict[str, str]) -> Any:
    """Events as they happen (server-sent events): after Last-Event-ID without a gap, or from now on without it.

    A stream ends after five minutes; a browser's EventSource reconnects where it was. A project may have four open.
    """
    which = _which(wanted)
    given = place["last"]
    with reading_project() as (session, access):
        after = _position(session, access.project.id, given, "Last-Event-ID") if given else newest(session)
    held = places()
    held.take(access.project.id)
    response = Response(
        follow(hub().database, access.project.id, after, which, partial(visible_values, access)),
        mimetype="text/event-stream",
    )
    response.call_on_close(partial(held.give_back, access.project.id))
    response.headers["X-Accel-Buffering"] = "no"
    return response


@events.post("/events/in")
@events.arguments(schemas.EventIn)
@events.response(201, schemas.Happened)
@changes("events.send")
def happened(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Reports that a form was sent, a dialogue opened or closed, or a deal changed: webhooks of that stage are sent."""
    given = rules.Happening(data["stage"], data["fields_"], data["attributes"], data["call_id"], data["key"])
    published = accepted(rules.report(session, access, given))
    return {"id": published.id, "stage": data["stage"], "deliveries": published.deliveries}


def _which(wanted: dict[str, Any]) -> list[ColumnElement[bool]]:
    """What the filters ask of a row."""
    types = [name.strip() for name in wanted["type"].split(",") if name.strip()]
    if unknown := next((name for name in types if name not in TYPES), None):
        wrong_field(
            "type", f"has {unknown[:60]!r}, which is not a type of event; the types are {', '.join(sorted(TYPES))}"
        )
    which: list[ColumnElement[bool]] = [EventRow.type.in_(types)] if types else []
    return which + ([EventRow.call_id == wanted["call_id"]] if wanted["call_id"] else [])


def _json(data: Any, status: int = 200) -> Response:
    """As it is: a schema would leave out the fields of each type."""
    return Response(json.dumps(data, ensure_ascii=False), status, content_type="application/json")


def _position(session: Session, project_id: int, text: str, name: str) -> Position:
    if not text:
        return Position()
    found = position_of(text) or wrong_field(name, "is not the id of an event")
    if found.id > last_given(session):
        wrong_field(
            name, "is newer than any event, because the database was restored from a backup; read from 0 or from now"
        )
    return today(session, project_id, found)
