"""Webhooks: all that the account's table and editor can do."""

from typing import Any

from flask import jsonify

from pbxhub.account import webhooks as rules
from pbxhub.account.access import Access
from pbxhub.account.call_questions import simulate as simulate_answer
from pbxhub.account.preview import Preview, Tried, preview, test_send
from pbxhub.account.ready_made import GoogleAnalytics, set_up_google_analytics
from pbxhub.account.refusals import ConflictError
from pbxhub.account.visible import readable, visible_request, visible_spec
from pbxhub.account.webhook_drafts import live_webhooks, read_draft
from pbxhub.account.webhook_files import carry_out, export_file, plan
from pbxhub.account.webhook_secrets import make_signing_key, remove_signing_key
from pbxhub.account.webhooks import change, create, editable, webhook_of
from pbxhub.api import schemas
from pbxhub.api.answers import check_if_match, check_match, page, tagged
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.keys import enter, needs
from pbxhub.api.problems import refuse, refuse_all
from pbxhub.api.resources.account import id_after
from pbxhub.store import webhooks as store
from pbxhub.translatable import say
from pbxhub.webhooks.curl_command import as_curl
from pbxhub.webhooks.import_export import Change
from pbxhub.webhooks.spec import dump_spec
from pbxhub.wsgi.current import reading, writing
from pbxhub.wsgi.request_checks import LARGEST_REVISION

webhooks = Blueprint("webhooks", __name__, description="Events: when to send what where")
_SCHEMA = schemas.Webhook()


@webhooks.get("/webhooks")
@webhooks.arguments(schemas.Paging, location="query")
@webhooks.response(200, schemas.page_of(schemas.Webhook))
@needs("account.read")
def index(wanted: dict[str, Any]) -> Any:
    """The events of the project, in the order they were made; `position` is the order of starting."""
    after = id_after(wanted)
    with reading() as session:
        access = enter(session)
        rows = sorted(live_webhooks(session, access), key=lambda row: row.id)
        found = page([row for row in rows if row.id > after], wanted["limit"], lambda row: row.id)
        return {**found, "items": [show(access, row) for row in found["items"]]}


@webhooks.post("/webhooks")
@webhooks.arguments(schemas.Webhook)
@webhooks.response(201, schemas.Webhook)
@needs("webhooks.change")
def add(data: dict[str, Any]) -> Any:
    """Adds an event at the end of the table."""
    with writing() as session:
        access = enter(session)
        return tagged(show_dumped(access, create(session, access, read_draft(session, access, data, None))), 201)


@webhooks.get("/webhooks/<int:webhook_id>")
@webhooks.response(200, schemas.Webhook)
@needs("account.read")
def one(webhook_id: int) -> Any:
    """One event."""
    with reading() as session:
        access = enter(session)
        return tagged(show_dumped(access, webhook_of(session, access, webhook_id)))


@webhooks.put("/webhooks/<int:webhook_id>")
@webhooks.arguments(schemas.Webhook)
@webhooks.response(200, schemas.Webhook)
@needs("webhooks.change")
def save(data: dict[str, Any], webhook_id: int) -> Any:
    """Another revision. Without `secret` and `tls_key` those that are there stay, unless the request goes to another
    host; without `spec.request.tls_certificate` its key goes, too."""
    with writing() as session:
        access = enter(session)
        webhook = editable(session, access, webhook_id)
        check_match(show_dumped(access, webhook))
        change(session, access, webhook, read_draft(session, access, data, webhook))
        return tagged(show_dumped(access, webhook))


@webhooks.delete("/webhooks/<int:webhook_id>")
@webhooks.response(204)
@needs("webhooks.change")
def delete(webhook_id: int) -> None:
    """Deletes an event: what waits is cancelled, what was sent stays in the history."""
    with writing() as session:
        access = enter(session)
        webhook = editable(session, access, webhook_id)
        check_if_match(show_dumped(access, webhook))
        rules.remove(session, access, webhook)


@webhooks.put("/webhooks/order")
@webhooks.arguments(schemas.Order)
@webhooks.response(204)
@needs("webhooks.change")
def order(data: dict[str, Any]) -> None:
    """The order in which the events of a stage start."""
    with writing() as session:
        rules.reorder(session, enter(session), data["ids"])


@webhooks.post("/webhooks/<int:webhook_id>/signing")
@webhooks.response(200, schemas.SigningKey)
@needs("webhooks.change")
def sign(webhook_id: int) -> Any:
    """Signs from now on, or rotates the key: for a day requests carry the signatures of both."""
    with writing() as session:
        access = enter(session)
        webhook = editable(session, access, webhook_id)
        return {"key": make_signing_key(session, access, webhook, rotating=True)}


@webhooks.delete("/webhooks/<int:webhook_id>/signing")
@webhooks.response(204)
@needs("webhooks.change")
def sign_no_more(webhook_id: int) -> None:
    """Requests are not signed any more."""
    with writing() as session:
        access = enter(session)
        remove_signing_key(session, access, editable(session, access, webhook_id))


@webhooks.put("/webhooks/<int:webhook_id>/google-analytics")
@webhooks.arguments(schemas.GoogleAnalytics)
@webhooks.response(200, schemas.Webhook)
@needs("webhooks.change")
def set_up(data: dict[str, Any], webhook_id: int) -> Any:
    """Sets up the project's locked event and switches it on."""
    with writing() as session:
        access = enter(session)
        webhook = webhook_of(session, access, webhook_id)
        refuse_all(set_up_google_analytics(session, access, webhook, GoogleAnalytics(**data)))
        return tagged(show_dumped(access, webhook))


@webhooks.post("/webhooks/<int:webhook_id>/simulate")
@webhooks.arguments(schemas.AnswerTried)
@webhooks.response(200, schemas.Simulated)
@needs("webhooks.change")
def simulate(data: dict[str, Any], webhook_id: int) -> Any:
    """What an answer would do with a waiting call. Nobody is called."""
    with reading() as session:
        access = enter(session)
        steering = webhook_of(session, access, webhook_id).spec.steering
        if steering is None:
            raise ConflictError(say("This event does not steer calls: its stage is not call.question."))
        return simulate_answer(access, steering, data["answer"].encode())


@webhooks.post("/webhooks/<int:webhook_id>/copy")
@webhooks.arguments(schemas.WebhookCopy)
@webhooks.response(201, schemas.Webhook)
@needs("webhooks.change")
def copy(data: dict[str, Any], webhook_id: int) -> Any:
    """A copy, with its secret and signing keys, for the same or another stage. It comes switched off."""
    with writing() as session:
        access = enter(session)
        source = webhook_of(session, access, webhook_id)
        copied = rules.copy(session, access, source, data.get("name", ""), data.get("stage", ""))
        return tagged(show_dumped(access, copied), 201)


@webhooks.put("/webhooks/<int:webhook_id>/enabled")
@webhooks.arguments(schemas.Switch)
@webhooks.response(200, schemas.Webhook)
@needs("webhooks.change")
def switch(data: dict[str, Any], webhook_id: int) -> Any:
    """Switches an event on or off, the locked one too; refused when something is missing. What is queued of an event
    that is switched off is cancelled."""
    with writing() as session:
        access = enter(session)
        webhook = webhook_of(session, access, webhook_id)
        rules.switch(session, access, webhook, data["enabled"])
        return tagged(show_dumped(access, webhook))


@webhooks.post("/webhooks/<int:webhook_id>/pause")
@webhooks.response(200, schemas.Webhook)
@needs("webhooks.change")
def hold(webhook_id: int) -> Any:
    """Stops sending; what is due waits until it is resumed."""
    with writing() as session:
        access = enter(session)
        webhook = webhook_of(session, access, webhook_id)
        rules.hold(session, access, webhook)
        return tagged(show_dumped(access, webhook))


@webhooks.post("/webhooks/<int:webhook_id>/resume")
@webhooks.response(200, schemas.Webhook)
@needs("webhooks.change")
def go_on(webhook_id: int) -> Any:
    """Sends again, what has waited too."""
    with writing() as session:
        access = enter(session)
        webhook = webhook_of(session, access, webhook_id)
        rules.release(session, access, webhook)
        return tagged(show_dumped(access, webhook))


@webhooks.post("/webhooks/preview")
@webhooks.arguments(schemas.WebhookTrial)
@webhooks.response(200, schemas.Rendered)
@needs("webhooks.change")
def preview_draft(data: dict[str, Any]) -> Any:
    """The exact request that an event which need not be saved would send. Whoever draws it up chooses which values of a
    call it shows and under which names, and so reads what is hidden elsewhere."""
    with reading() as session:
        access = enter(session)
        return _rendered(access, preview(session, access, data))


@webhooks.post("/webhooks/<int:webhook_id>/preview")
@webhooks.arguments(schemas.Sample)
@webhooks.response(200, schemas.Rendered)
@needs("account.read")
def preview_one(data: dict[str, Any], webhook_id: int) -> Any:
    """The exact request for a recent call or a sample."""
    with reading() as session:
        access = enter(session)
        webhook = webhook_of(session, access, webhook_id)
        return _rendered(access, preview(session, access, _trial(webhook, data), webhook))


@webhooks.post("/webhooks/<int:webhook_id>/test")
@webhooks.arguments(schemas.Sample)
@webhooks.response(200, schemas.Answered)
@needs("webhooks.change")
def test(data: dict[str, Any], webhook_id: int) -> Any:
    """Sends the previewed request once, the way a delivery is sent, and tells the answer."""
    with reading() as session:
        access = enter(session)
        webhook = webhook_of(session, access, webhook_id)
        return _answered(access, test_send(session, access, _trial(webhook, data), webhook))


@webhooks.get("/webhooks/<int:webhook_id>/versions")
@webhooks.arguments(schemas.Paging, location="query")
@webhooks.response(200, schemas.page_of(schemas.Version))
@needs("account.read")
def versions(wanted: dict[str, Any], webhook_id: int) -> Any:
    """Every revision, newest first."""
    after = id_after(wanted) or schemas.LARGEST_ID
    with reading() as session:
        access = enter(session)
        webhook = webhook_of(session, access, webhook_id)
        rows = rules.revisions(session, access, webhook, min(after, LARGEST_REVISION + 1), wanted["limit"] + 1)
        found = page([row.version for row in rows], wanted["limit"], lambda row: row.revision)
        own = ("revision", "name", "stage", "enabled", "created_on")
        shown = [{**_columns(row, *own), "spec": visible_spec(access, row.spec)} for row in found["items"]]
        return {**found, "items": shown}


@webhooks.post("/webhooks/<int:webhook_id>/versions/<int(digits=9):revision>/restore")
@webhooks.response(200, schemas.Webhook)
@needs("webhooks.change")
def restore(webhook_id: int, revision: int) -> Any:
    """Makes an earlier revision the current one, as a new revision, on or off as it is now."""
    with writing() as session:
        access = enter(session)
        webhook = editable(session, access, webhook_id)
        rules.restore(session, access, webhook, revision)
        return tagged(show_dumped(access, webhook))


@webhooks.get("/webhooks/export")
@webhooks.response(200, schemas.File)
@needs("account.read")
def export() -> Any:
    """Every event but the locked one. The sealed secrets are not in the file; for a key that may not change webhooks
    those in URLs, headers and bodies are hidden, too."""
    with reading() as session:
        access = enter(session)
        return jsonify(export_file(session, access))


@webhooks.post("/webhooks/import")
@webhooks.arguments(schemas.ImportOptions, location="query")
@webhooks.arguments(schemas.File)
@webhooks.response(200, schemas.ImportResult)
@needs("webhooks.change")
def take_in(options: dict[str, Any], data: dict[str, Any]) -> Any:
    """Adds and changes events by name. One that lacks its secret comes switched off."""
    with writing() as session:
        access = enter(session)
        changes = plan(session, access, data)
        written = 0 if options["dry_run"] else carry_out(session, access, changes)
        return {"written": written, "webhooks": [_change_shown(item) for item in changes]}


def show(access: Access, webhook: store.Webhook) -> dict[str, Any]:
    """A webhook as the schema wants it, and as this program may see it."""
    own = _columns(
        webhook, "id", "name", "stage", "enabled", "locked", "position", "revision", "paused_on", "paused_reason",
        "created_on",
    )  # fmt: skip
    sealed = {"has_secret": bool(webhook.secret_sealed), "has_tls_key": bool(webhook.tls_key_sealed)}
    return {**own, **sealed, "spec": visible_spec(access, webhook.spec)}


def show_dumped(access: Access, webhook: store.Webhook) -> Any:
    """As it is sent, for its ETag."""
    return _SCHEMA.dump(show(access, webhook))


def _columns(row: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _trial(webhook: store.Webhook, data: dict[str, Any]) -> dict[str, Any]:
    return {"name": webhook.name, "stage": webhook.stage, "spec": dump_spec(webhook.spec), "sample": data["sample"]}


def _rendered(access: Access, found: Preview) -> dict[str, Any]:
    if found.errors:
        refuse(422, "This cannot be sent.", found.errors)
    asked = visible_request(access, found.request) if found.request else None
    return {
        "method": asked.method if asked else None,
        "url": asked.url if asked else None,
        "headers": [list(header) for header in asked.headers] if asked else [],
        "body": readable(asked.body) if asked else "",
        "curl": as_curl(asked.method, asked.url, asked.headers, asked.body) if asked else "",
        "not_sent": found.not_sent.sentence if found.not_sent else None,
        "would_match": found.would_match,
        "notes": found.notes,
    }


def _answered(access: Access, tried: Tried) -> dict[str, Any]:
    answer = tried.answer
    shown = _rendered(access, tried.preview)
    if answer is None:
        return {**shown, "outcome": None, "message": shown["not_sent"] or "", "status_code": None, "response_body": "",
                "elapsed_ms": None, "success": None}  # fmt: skip
    return {
        **shown,
        "outcome": answer.outcome,
        "message": tried.verdict.sentence if tried.verdict else answer.message,
        "status_code": answer.status_code,
        "response_body": answer.body.decode("utf-8", "replace"),
        "elapsed_ms": None if answer.total_us is None else answer.total_us // 1000,
        "success": tried.verdict.ok if tried.verdict else False,
    }


def _change_shown(item: Change) -> dict[str, Any]:
    return {
        "name": item.webhook.name,
        "change": item.kind,
        "needs_secret": item.needs_secret,
        "fields_changed": [difference.path for difference in item.differences],
    }
