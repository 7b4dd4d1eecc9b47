"""Connections: added, changed, deleted. A person connects those that need consent on the page Connections."""

from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account import connections as rules
from pbxhub.account.access import Access, row_of
from pbxhub.account.connection_tests import try_connection
from pbxhub.account.secret_visibility import visible_connection
from pbxhub.api.answers import check_if_match, check_match, page, tagged
from pbxhub.api.authentication import changes, enter, needs, reads
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.resources.account import id_after
from pbxhub.api.resources.webhooks import columns
from pbxhub.api.schemas import connections as schemas
from pbxhub.api.schemas.base import Paging, page_of
from pbxhub.store.connections import Connection, connections_of, used_by
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.connection_presets import presets
from pbxhub.webhooks.connection_spec import dump_connection
from pbxhub.wsgi.current import reading

connections = Blueprint("connections", __name__, description="Credentials kept once for many events")
_SCHEMA = schemas.Connection()
# Fields that change by themselves.
_LIVE = ("state", "reason", "ready_until", "renewed_on", "used_by")


@connections.get("/connections")
@connections.arguments(Paging, location="query")
@connections.response(200, page_of(schemas.Connection))
@reads("account.read")
def index(session: Session, access: Access, wanted: dict[str, Any]) -> Any:
    """The connections of the project."""
    after = id_after(wanted)
    rows = sorted(connections_of(session, access.project.id), key=lambda row: row.id)
    found = page([row for row in rows if row.id > after], wanted["limit"], lambda row: row.id)
    users = used_by(session, [row.id for row in found["items"]])
    return {**found, "items": [_show(access, row, users[row.id]) for row in found["items"]]}


@connections.post("/connections")
@connections.arguments(schemas.Connection)
@connections.response(201, schemas.Connection)
@changes("connections.change")
def add(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Adds a connection. With the grant authorization_code, a person must connect it on the page Connections."""
    return tagged(_dumped(access, rules.save_connection(session, access, None, data), []), 201, _LIVE)


@connections.get("/connections/presets")
@connections.response(200, schemas.ConnectionPreset(many=True))
@reads("account.read")
def ready_made(_session: Session, _access: Access) -> Any:
    """Settings of connections to common systems. Fill in each text in [[brackets]], and client id and secret."""
    return [{**asdict(one), "spec": dump_connection(one.spec)} for one in presets()]


@connections.get("/connections/<int:connection_id>")
@connections.response(200, schemas.Connection)
@reads("account.read")
def one(session: Session, access: Access, connection_id: int) -> Any:
    """One connection."""
    row = row_of(session, access, Connection, connection_id)
    return tagged(_dumped(access, row, used_by(session, [row.id])[row.id]), live=_LIVE)


@connections.put("/connections/<int:connection_id>")
@connections.arguments(schemas.Connection)
@connections.response(200, schemas.Connection)
@changes("connections.change")
def save(session: Session, access: Access, data: dict[str, Any], connection_id: int) -> Any:
    """Changes a connection. Without `secret` the stored one is kept, unless it would be sent to other hosts."""
    row = rules.connection_to_change(session, access, connection_id)
    check_match(_dumped(access, row, []), _LIVE)
    rules.save_connection(session, access, row, data)
    return tagged(_dumped(access, row, used_by(session, [row.id])[row.id]), live=_LIVE)


@connections.delete("/connections/<int:connection_id>")
@connections.response(204)
@changes("connections.change")
def delete(session: Session, access: Access, connection_id: int) -> None:
    """Deletes a connection that no event uses."""
    row = rules.connection_to_change(session, access, connection_id)
    check_if_match(_dumped(access, row, []), _LIVE)
    rules.delete_connection(session, access, row)


@connections.post("/connections/<int:connection_id>/test")
@connections.response(200, schemas.ConnectionTest)
@needs("connections.change")
def check(connection_id: int) -> Any:
    """Fetches a token if there is none, and asks `test_url`. Takes twenty seconds at most."""
    with reading() as session:
        access = enter(session)
    return try_connection(access, connection_id)


def _show(access: Access, row: Connection, users: list[Webhook]) -> dict[str, Any]:
    own = columns(row, "id", "name", "state", "reason", "renewed_on", "ready_until", "created_on")
    return {
        **own, "spec": dump_connection(visible_connection(access, row.spec)), "has_secret": bool(row.secret_sealed),
        "used_by": [webhook.name for webhook in users],
    }  # fmt: skip


def _dumped(access: Access, row: Connection, users: list[Webhook]) -> Any:
    """As it is sent, for its ETag."""
    return _SCHEMA.dump(_show(access, row, users))
