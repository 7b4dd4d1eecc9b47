"""REST hooks, to which programs subscribe; and attributes for existing or future calls."""

from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account import resthook_subscribers as rules
from pbxhub.account.access import Access
from pbxhub.account.reported_events import NewAttributes
from pbxhub.account.reported_events import attach as attach_attributes
from pbxhub.account.secret_visibility import visible_url
from pbxhub.api.answers import page
from pbxhub.api.authentication import changes, reads
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.problems import accepted
from pbxhub.api.resources.account import id_after
from pbxhub.api.schemas import events as schemas
from pbxhub.api.schemas.base import Paging, page_of
from pbxhub.store.api import Resthook, Subscriber

hooks = Blueprint("resthooks", __name__, description="Named hooks, and attributes of calls")


@hooks.get("/resthooks")
@hooks.arguments(Paging, location="query")
@hooks.response(200, page_of(schemas.Resthook))
@reads("account.read")
def index(session: Session, access: Access, wanted: dict[str, Any]) -> Any:
    """The hooks of the project."""
    after = id_after(wanted)
    rows = rules.hooks_after(session, access, after, wanted["limit"] + 1)
    found = page(rows, wanted["limit"], lambda row: row[0].id)
    return {**found, "items": [_shown(*row) for row in found["items"]]}


@hooks.post("/resthooks")
@hooks.arguments(schemas.Resthook)
@hooks.response(201, schemas.Resthook)
@changes("webhooks.change")
def add(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Adds a hook."""
    return _shown(rules.add_hook(session, access, data["name"]), 0)


@hooks.delete("/resthooks/<name>")
@hooks.response(204)
@changes("webhooks.change")
def remove(session: Session, access: Access, name: str) -> None:
    """Deletes a hook with its subscribers and cancels their pending deliveries."""
    rules.remove_hook(session, access, name)


@hooks.get("/resthooks/<name>/subscribers")
@hooks.response(200, page_of(schemas.Subscriber))
@reads("account.read")
def subscribers(session: Session, access: Access, name: str) -> Any:
    """The subscribers of a hook."""
    rows = rules.subscribers_of(session, rules.hook_of(session, access, name))
    return {"items": [_subscriber(session, access, name, row) for row in rows], "next": None}


@hooks.post("/resthooks/<name>/subscribers")
@hooks.arguments(schemas.SubscriberIn)
@hooks.response(201, schemas.Subscriber)
@changes("webhooks.change")
def add_subscriber(session: Session, access: Access, data: dict[str, Any], name: str) -> Any:
    """Subscribes a URL. If it answers 410, it is removed. A hook that is named after a stage of calls, incoming.after,
    sends each call that passes the filters."""
    made = rules.add_subscriber(session, access, name, data["target_url"], data.get("filters"))
    return _subscriber(session, access, name, accepted(made))


@hooks.delete("/resthooks/<name>/subscribers/<int:subscriber_id>")
@hooks.response(204)
@changes("webhooks.change")
def remove_subscriber(session: Session, access: Access, name: str, subscriber_id: int) -> None:
    """Removes a subscriber."""
    rules.remove_subscriber(session, access, name, subscriber_id)


@hooks.post("/resthooks/<name>/call")
@hooks.arguments(schemas.Payload)
@hooks.response(202, schemas.Called)
@changes("events.send")
def call(session: Session, access: Access, data: dict[str, Any], name: str) -> Any:
    """Sends the payload to every subscriber, and writes an event even if there is none."""
    deliveries = accepted(rules.call_hook(session, access, name, data["payload"]))
    return {"resthook": name, "deliveries": list(deliveries)}


@hooks.post("/attributes")
@hooks.arguments(schemas.AttributesIn)
@hooks.response(201, schemas.AttributesKept)
@changes("events.send")
def attach(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Attaches utm_source, client_id … to a call, or to calls with a number that begin in a time window."""
    given = NewAttributes(data["values"], data["call_id"], data["number"], data["valid_from"], data["valid_until"])
    row = accepted(attach_attributes(session, access, given))
    if row is None:
        return {"id": None, "number": "", "call_id": data["call_id"], "values": data["values"]}
    return {"id": row.id, "number": row.number, "call_id": None, "valid_from": row.valid_from,
            "valid_until": row.valid_until, "values": row.values}  # fmt: skip


def _shown(row: Resthook, subscribers: int) -> dict[str, Any]:
    return {"name": row.name, "created_on": row.created_on, "subscribers": subscribers}


def _subscriber(session: Session, access: Access, name: str, row: Subscriber) -> dict[str, Any]:
    url = visible_url(access, row.target_url)
    filters = rules.filters_of(session, access, row)
    return {"id": row.id, "resthook": name, "target_url": url, "filters": filters, "created_on": row.created_on}
