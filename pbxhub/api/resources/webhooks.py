"""Webhooks: added, changed, switched, paused, copied, ordered, signed, deleted."""

from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account import webhooks as rules
from pbxhub.account.access import Access
from pbxhub.account.ready_made import GoogleAnalytics, set_up_google_analytics
from pbxhub.account.secret_visibility import visible_spec
from pbxhub.account.webhook_drafts import live_webhooks, read_draft
from pbxhub.account.webhook_secrets import make_signing_key, remove_signing_key
from pbxhub.account.webhooks import change, create, editable, webhook_of
from pbxhub.api.answers import check_if_match, check_match, page, tagged
from pbxhub.api.authentication import changes, reads
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.problems import refuse_all
from pbxhub.api.resources.account import id_after
from pbxhub.api.schemas import webhooks as schemas
from pbxhub.api.schemas.base import Paging, page_of
from pbxhub.store import webhooks as store

webhooks = Blueprint("webhooks", __name__, description="Events: when to send what where")
_SCHEMA = schemas.Webhook()


@webhooks.get("/webhooks")
@webhooks.arguments(Paging, location="query")
@webhooks.response(200, page_of(schemas.Webhook))
@reads("account.read")
def index(session: Session, access: Access, wanted: dict[str, Any]) -> Any:
    """The events of the project, in the order they were created; `position` is the order of sending."""
    after = id_after(wanted)
    rows = sorted(live_webhooks(session, access), key=lambda row: row.id)
    found = page([row for row in rows if row.id > after], wanted["limit"], lambda row: row.id)
    return {**found, "items": [show(access, row) for row in found["items"]]}


@webhooks.post("/webhooks")
@webhooks.arguments(schemas.Webhook)
@webhooks.response(201, schemas.Webhook)
@changes("webhooks.change")
def add(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Adds an event at the end of the table."""
    return tagged(show_dumped(access, create(session, access, read_draft(session, access, data, None))), 201)


@webhooks.get("/webhooks/<int:webhook_id>")
@webhooks.response(200, schemas.Webhook)
@reads("account.read")
def one(session: Session, access: Access, webhook_id: int) -> Any:
    """One event."""
    return tagged(show_dumped(access, webhook_of(session, access, webhook_id)))


@webhooks.put("/webhooks/<int:webhook_id>")
@webhooks.arguments(schemas.Webhook)
@webhooks.response(200, schemas.Webhook)
@changes("webhooks.change")
def save(session: Session, access: Access, data: dict[str, Any], webhook_id: int) -> Any:
    """Saves a new revision. Without `secret` and `tls_key` the stored ones are kept, unless the request goes to another
    host; without `spec.request.tls_certificate` its key is deleted, too."""
    webhook = editable(session, access, webhook_id)
    check_match(show_dumped(access, webhook))
    change(session, access, webhook, read_draft(session, access, data, webhook))
    return tagged(show_dumped(access, webhook))


@webhooks.delete("/webhooks/<int:webhook_id>")
@webhooks.response(204)
@changes("webhooks.change")
def delete(session: Session, access: Access, webhook_id: int) -> None:
    """Deletes an event: pending deliveries are cancelled, sent ones stay in the history."""
    webhook = editable(session, access, webhook_id)
    check_if_match(show_dumped(access, webhook))
    rules.remove(session, access, webhook)


@webhooks.put("/webhooks/order")
@webhooks.arguments(schemas.Order)
@webhooks.response(204)
@changes("webhooks.change")
def order(session: Session, access: Access, data: dict[str, Any]) -> None:
    """Sets the order in which the events of a stage are sent."""
    rules.reorder(session, access, data["ids"])


@webhooks.post("/webhooks/<int:webhook_id>/signing")
@webhooks.response(200, schemas.SigningKey)
@changes("webhooks.change")
def sign(session: Session, access: Access, webhook_id: int) -> Any:
    """Starts signing, or rotates the key: for a day requests have the signatures of both keys."""
    webhook = editable(session, access, webhook_id)
    return {"key": make_signing_key(session, access, webhook, rotating=True)}


@webhooks.delete("/webhooks/<int:webhook_id>/signing")
@webhooks.response(204)
@changes("webhooks.change")
def sign_no_more(session: Session, access: Access, webhook_id: int) -> None:
    """Stops signing requests."""
    remove_signing_key(session, access, editable(session, access, webhook_id))


@webhooks.put("/webhooks/<int:webhook_id>/google-analytics")
@webhooks.arguments(schemas.GoogleAnalytics)
@webhooks.response(200, schemas.Webhook)
@changes("webhooks.change")
def set_up(session: Session, access: Access, data: dict[str, Any], webhook_id: int) -> Any:
    """Sets up the project's locked event and switches it on."""
    webhook = webhook_of(session, access, webhook_id)
    refuse_all(set_up_google_analytics(session, access, webhook, GoogleAnalytics(**data)))
    return tagged(show_dumped(access, webhook))


@webhooks.post("/webhooks/<int:webhook_id>/copy")
@webhooks.arguments(schemas.WebhookCopy)
@webhooks.response(201, schemas.Webhook)
@changes("webhooks.change")
def copy(session: Session, access: Access, data: dict[str, Any], webhook_id: int) -> Any:
    """Copies an event, with its secret and signing keys, for the same or another stage. The copy is switched off."""
    source = webhook_of(session, access, webhook_id)
    copied = rules.copy(session, access, source, data.get("name", ""), data.get("stage", ""))
    return tagged(show_dumped(access, copied), 201)


@webhooks.put("/webhooks/<int:webhook_id>/enabled")
@webhooks.arguments(schemas.Switch)
@webhooks.response(200, schemas.Webhook)
@changes("webhooks.change")
def switch(session: Session, access: Access, data: dict[str, Any], webhook_id: int) -> Any:
    """Switches an event on or off, also the locked one; refused when something is missing. Switching off cancels the
    pending deliveries."""
    webhook = webhook_of(session, access, webhook_id)
    rules.switch(session, access, webhook, data["enabled"])
    return tagged(show_dumped(access, webhook))


@webhooks.post("/webhooks/<int:webhook_id>/pause")
@webhooks.response(200, schemas.Webhook)
@changes("webhooks.change")
def hold(session: Session, access: Access, webhook_id: int) -> Any:
    """Pauses an event: deliveries are held until it is resumed."""
    webhook = webhook_of(session, access, webhook_id)
    rules.hold(session, access, webhook)
    return tagged(show_dumped(access, webhook))


@webhooks.post("/webhooks/<int:webhook_id>/resume")
@webhooks.response(200, schemas.Webhook)
@changes("webhooks.change")
def go_on(session: Session, access: Access, webhook_id: int) -> Any:
    """Resumes an event and sends what was held."""
    webhook = webhook_of(session, access, webhook_id)
    rules.release(session, access, webhook)
    return tagged(show_dumped(access, webhook))


def show(access: Access, webhook: store.Webhook) -> dict[str, Any]:
    """A webhook for the schema, as this program may see it."""
    own = columns(
        webhook, "id", "name", "stage", "enabled", "locked", "position", "revision", "paused_on", "paused_reason",
        "created_on",
    )  # fmt: skip
    own["set"] = webhook.set_name
    sealed = {"has_secret": bool(webhook.secret_sealed), "has_tls_key": bool(webhook.tls_key_sealed)}
    return {**own, **sealed, "spec": visible_spec(access, webhook.spec)}


def show_dumped(access: Access, webhook: store.Webhook) -> Any:
    """As it is sent, for its ETag."""
    return _SCHEMA.dump(show(access, webhook))


def columns(row: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}
