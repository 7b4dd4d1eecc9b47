"""Resthooks: named hooks that programs subscribe to; and attributes for calls there are or will be."""

import json
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.visible import visible_url
from pbxhub.api import schemas
from pbxhub.api.answers import page
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.keys import enter, needs
from pbxhub.api.problems import refuse, wrong_field
from pbxhub.api.resources.account import id_after
from pbxhub.delivery.attributes import known_names, lookup_key
from pbxhub.delivery.outbox import add_to_call, call_resthook, subscribe, unsubscribe
from pbxhub.store import api as store
from pbxhub.store.accounts import lock_project
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.wsgi.current import hub, now, reading, writing

hooks = Blueprint("resthooks", __name__, description="Named hooks, and attributes of calls")
MOST_SUBSCRIBERS = 100
LONGEST_WINDOW = timedelta(days=31)


@hooks.get("/resthooks")
@hooks.arguments(schemas.Paging, location="query")
@hooks.response(200, schemas.page_of(schemas.Resthook))
@needs("account.read")
def index(wanted: dict[str, Any]) -> Any:
    """The hooks of the project."""
    table = store.Resthook
    with reading() as session:
        rows = session.scalars(
            select(table)
            .where(table.project_id == enter(session).project.id, table.id > id_after(wanted))
            .order_by(table.id)
            .limit(wanted["limit"] + 1)
        ).all()
        found = page(rows, wanted["limit"], lambda row: row.id)
        return {**found, "items": [_shown(session, row) for row in found["items"]]}


@hooks.post("/resthooks")
@hooks.arguments(schemas.Resthook)
@hooks.response(201, schemas.Resthook)
@needs("webhooks.change")
def add(data: dict[str, Any]) -> Any:
    """Adds a hook."""
    with writing() as session:
        access = enter(session)
        row = store.Resthook(project_id=access.project.id, name=data["name"], created_on=now())
        session.add(row)
        try:
            session.flush()
        except IntegrityError:
            refuse(409, "There is a hook of this name already.")
        note(session, access, "resthook added", row.name)
        return _shown(session, row)


@hooks.delete("/resthooks/<name>")
@hooks.response(204)
@needs("webhooks.change")
def remove(name: str) -> None:
    """Removes a hook with its subscribers; what waits for them is cancelled."""
    with writing() as session:
        access = enter(session)
        row = _hook(session, access, name)
        for subscriber in _subscribers(session, row):
            unsubscribe(session, access.project.id, subscriber, now())
        session.delete(row)
        note(session, access, "resthook removed", name)


@hooks.get("/resthooks/<name>/subscribers")
@hooks.response(200, schemas.page_of(schemas.Subscriber))
@needs("account.read")
def subscribers(name: str) -> Any:
    """Who is subscribed."""
    with reading() as session:
        access = enter(session)
        row = _hook(session, access, name)
        return {"items": [_subscriber(access, row, one) for one in _subscribers(session, row)], "next": None}


@hooks.post("/resthooks/<name>/subscribers")
@hooks.arguments(schemas.SubscriberIn)
@hooks.response(201, schemas.Subscriber)
@needs("webhooks.change")
def add_subscriber(data: dict[str, Any], name: str) -> Any:
    """Subscribes an address. One that answers 410 is unsubscribed."""
    with writing() as session:
        access = enter(session)
        if refused := hub().guard_of(access.project).check_url(data["target_url"]):
            wrong_field("target_url", refused.sentence)
        lock_project(session, access.project.id)  # counting, looking for the address and writing are one
        row = _hook(session, access, name)
        if len(_subscribers(session, row)) >= MOST_SUBSCRIBERS:
            refuse(409, f"A hook has {MOST_SUBSCRIBERS} subscribers at most.")
        one = subscribe(session, row, data["target_url"], now())
        note(session, access, "resthook subscribed", name)
        return _subscriber(access, row, one)


@hooks.delete("/resthooks/<name>/subscribers/<int:subscriber_id>")
@hooks.response(204)
@needs("webhooks.change")
def remove_subscriber(name: str, subscriber_id: int) -> None:
    """Unsubscribes an address."""
    with writing() as session:
        access = enter(session)
        row = _hook(session, access, name)
        one = session.get(store.Subscriber, subscriber_id)
        if one is None or one.resthook_id != row.id:
            refuse(404, "There is no such subscriber of this hook.")
        unsubscribe(session, access.project.id, one, now())
        note(session, access, "resthook unsubscribed", name)


@hooks.post("/resthooks/<name>/call")
@hooks.arguments(schemas.Payload)
@hooks.response(202, schemas.Called)
@needs("events.send")
def call(data: dict[str, Any], name: str) -> Any:
    """Sends the payload to every subscriber; an event tells of it even when there is none."""
    body = json.dumps(data["payload"], ensure_ascii=False).encode("utf-8", "replace")
    if len(body) > 256 * 1024:
        wrong_field("payload", "has more than 256 KB")
    with writing() as session:
        row = _hook(session, enter(session), name)
        deliveries = call_resthook(hub().context, session, row, data["payload"], body, now())
        return {"resthook": name, "deliveries": deliveries}


@hooks.post("/attributes")
@hooks.arguments(schemas.AttributesIn)
@hooks.response(201, schemas.AttributesKept)
@needs("events.send")
def attach(data: dict[str, Any]) -> Any:
    """Attaches utm_source, client_id … to a call, or to calls with a number that begin in a time window."""
    if unknown := known_names(data["values"]):
        wrong_field(f"values.{unknown[0]}", "is not an attribute; see /parameters, source API")
    with writing() as session:
        access = enter(session)
        number = lookup_key(data["number"], access.project.country)
        if bool(number) == bool(data["call_id"]):
            wrong_field("number", "give a number or a call_id, one of them")
        if data["call_id"]:
            known = session.get(Call, data["call_id"])
            if known is None or known.project_id != access.project.id:
                wrong_field("call_id", "is not a call of this project")
            add_to_call(session, known.id, data["values"])
            return {"id": None, "number": "", "call_id": known.id, "values": data["values"]}
        begins = data["valid_from"] or now()
        ends = data["valid_until"] or begins + timedelta(days=1)
        if not begins < ends <= begins + LONGEST_WINDOW:
            wrong_field("valid_until", f"must be after valid_from, by {LONGEST_WINDOW.days} days at most")
        row = store.Attributes(
            id=new_id(), project_id=access.project.id, number=number, valid_from=begins, valid_until=ends,
            values=data["values"], created_on=now(),
        )  # fmt: skip
        session.add(row)
        return {"id": row.id, "number": number, "call_id": None, "valid_from": begins, "valid_until": ends,
                "values": row.values}  # fmt: skip


def _hook(session: Session, access: Access, name: str) -> store.Resthook:
    table = store.Resthook
    row = session.scalar(select(table).where(table.project_id == access.project.id, table.name == name[:80]))
    return row or refuse(404, "There is no such hook in this project.")


def _subscribers(session: Session, row: store.Resthook) -> list[store.Subscriber]:
    table = store.Subscriber
    return list(session.scalars(select(table).where(table.resthook_id == row.id).order_by(table.id)))


def _shown(session: Session, row: store.Resthook) -> dict[str, Any]:
    count = select(func.count()).where(store.Subscriber.resthook_id == row.id)
    return {"name": row.name, "created_on": row.created_on, "subscribers": session.scalar(count) or 0}


def _subscriber(access: Access, row: store.Resthook, one: store.Subscriber) -> dict[str, Any]:
    url = visible_url(access, one.target_url)
    return {"id": one.id, "resthook": row.name, "target_url": url, "created_on": one.created_on}
