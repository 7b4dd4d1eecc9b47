"""Typed events: handed in, listed, streamed; and events that are not calls."""

import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

from flask import Response, request
from flask_smorest import Blueprint
from marshmallow import fields

from pbxhub.api import schemas
from pbxhub.api.keys import enter, scope
from pbxhub.api.problems import refuse, wrong_field
from pbxhub.calls.events import EventError, read_event, write_event
from pbxhub.delivery.attributes import known_names
from pbxhub.delivery.events import shown
from pbxhub.delivery.outbox import publish_other
from pbxhub.delivery.storable import storable
from pbxhub.delivery.values import Links
from pbxhub.store.events import EventRow, NewEvent, Position, keep, newest, position_of, read_after
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.web.hub import hub, now, reading, writing
from pbxhub.webhooks.spec import FieldError, SpecError

events = Blueprint("events", __name__, description="What happened, as typed events")
MOST_STREAMS = 4  # of this process: each holds a thread of the server
STREAM_SECONDS = 300.0  # then the reader comes back with its Last-Event-ID
_LOOK = 0.5
_BEAT = 5.0
_streams = threading.BoundedSemaphore(MOST_STREAMS)


class EventFilter(schemas.Paging):
    call_id = fields.UUID(load_default=None)
    type = schemas.text(60, load_default="")


@events.get("/events")
@events.arguments(EventFilter, location="query")
@events.response(200, schemas.page_of(schemas.Event))
@scope("read")
def index(wanted: dict[str, Any]) -> Any:
    """Events in the order they were written, oldest first; of one call with `call_id`."""
    after = _position(wanted["after"], "after")
    with reading() as session:
        project_id = enter(session).project.id
        which = [EventRow.call_id == wanted["call_id"]] if wanted["call_id"] else []
        which += [EventRow.type == wanted["type"]] if wanted["type"] else []
        rows = read_after(session, project_id, after, wanted["limit"] + 1, *which)
        page = rows[: wanted["limit"]]
        more = str(Position(page[-1].xid, page[-1].id)) if len(rows) > len(page) else None
        return _json({"items": shown(session, page), "next": more})


@events.post("/events")
@events.response(201, schemas.Event)
@events.doc(requestBody={"required": True, "content": {"application/json": {
    "schema": {"$ref": "#/components/schemas/Event"}}}})  # fmt: skip
@scope("call")
def hand_in() -> Any:
    """Keeps an event of a known type as it is, the 23 types of goflow included. `call_id` puts it on a call."""
    data = request.get_json(force=True)
    try:
        event = read_event(data)
    except EventError as error:
        raise SpecError([FieldError(path, message) for path, message in error.errors]) from None
    with writing() as session:
        project_id = enter(session).project.id
        call_id = _call(session, project_id, event.body.get("call_id"))
        body = {name: value for name, value in storable(write_event(event)).items() if name not in ("type", "call_id")}
        keep(session, [NewEvent(project_id, event.type, event.created_on, body, call_id)])
    return _json(write_event(event), 201)


@events.get("/events/stream")
@events.response(200, {"type": "string"}, content_type="text/event-stream")
@events.doc(parameters=[{"in": "header", "name": "Last-Event-ID", "schema": {"type": "string"}}])
@scope("read")
def stream() -> Any:
    """Events as they happen (server-sent events). With Last-Event-ID from there on, none missing; without it from now.

    Ends by itself after five minutes; a browser's EventSource comes back where it was.
    """
    given = request.headers.get("Last-Event-ID", "")
    with reading() as session:
        project_id = enter(session).project.id
        after = _position(given, "Last-Event-ID") if given else newest(session, project_id)
    if not _streams.acquire(blocking=False):
        refuse(503, f"{MOST_STREAMS} streams are open already; that is all this server has.", Retry_After="30")
    response = Response(_follow(hub().database, project_id, after), mimetype="text/event-stream")
    response.call_on_close(_streams.release)
    response.headers["X-Accel-Buffering"] = "no"
    return response


@events.post("/events/in")
@events.arguments(schemas.EventIn)
@events.response(201, schemas.Happened)
@scope("call")
def happened(data: dict[str, Any]) -> Any:
    """A form was sent, a dialogue opened or closed, a deal changed: webhooks of that stage go."""
    if unknown := known_names(data["attributes"]):
        wrong_field(f"attributes.{unknown[0]}", "is not an attribute; see /parameters, source API")
    tree = data["stage"].partition(".")[0]
    with writing() as session:
        project_id = enter(session).project.id
        call_id = _call(session, project_id, data["call_id"])
        values = {**data["attributes"], tree: data["fields_"]}
        links = Links(hub().vault, hub().settings.public_url, hub().recordings)
        event_id, published = publish_other(
            session,
            hub().database,
            links,
            project_id,
            call_id,
            data["stage"],
            data["key"] or str(new_id()),
            values,
            now(),
        )
        return {"id": event_id, "stage": data["stage"], "deliveries": published.deliveries}


def _json(data: Any, status: int = 200) -> Response:
    """As it is: a schema would leave out the fields of each type."""
    return Response(json.dumps(data, ensure_ascii=False), status, content_type="application/json")


def _call(session: Any, project_id: int, given: Any) -> UUID | None:
    if given is None:
        return None
    try:
        call = session.get(Call, given if isinstance(given, UUID) else UUID(str(given)))
    except ValueError:
        call = None
    if call is None or call.project_id != project_id:
        wrong_field("call_id", "is not a call of this project")
    return UUID(str(call.id))


def _position(text: str, name: str) -> Position:
    if not text:
        return Position()
    return position_of(text) or wrong_field(name, "is not the id of an event")


def _follow(database: Database, project_id: int, after: Position) -> Iterator[str]:
    """Events from there on, and a comment when nothing happens, so that a reader who has gone is noticed. The place
    is told at once: a reader whose line breaks before the first event comes back to it, too."""
    ends, beat = time.monotonic() + STREAM_SECONDS, time.monotonic() + _BEAT
    yield f"retry: 1000\nid: {after}\n\n"
    while time.monotonic() < ends:
        with database.read() as session:
            rows = read_after(session, project_id, after, 200)
            found = shown(session, rows)
        for event in found:
            yield f"id: {event['id']}\nevent: {event['type']}\ndata: {json.dumps(event, ensure_ascii=False)}\n\n"
        if rows:
            after = Position(rows[-1].xid, rows[-1].id)
            continue
        if time.monotonic() > beat:
            beat = time.monotonic() + _BEAT
            yield ": nothing new\n\n"
        time.sleep(_LOOK)
