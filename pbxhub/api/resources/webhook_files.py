"""Revisions, export and import of webhooks."""

from typing import Any

from flask import jsonify
from sqlalchemy.orm import Session

from pbxhub.account import webhooks as rules
from pbxhub.account.access import Access
from pbxhub.account.secret_visibility import visible_spec
from pbxhub.account.webhook_files import carry_out, export_file, plan
from pbxhub.account.webhooks import editable, webhook_of
from pbxhub.api.answers import page, tagged
from pbxhub.api.authentication import changes, reads
from pbxhub.api.resources.account import id_after
from pbxhub.api.resources.webhooks import columns, show_dumped, webhooks
from pbxhub.api.schemas import webhooks as schemas
from pbxhub.api.schemas.base import Paging, page_of
from pbxhub.webhooks.import_export import Change
from pbxhub.wsgi.request_checks import LARGEST_ID, LARGEST_REVISION


@webhooks.get("/webhooks/<int:webhook_id>/versions")
@webhooks.arguments(Paging, location="query")
@webhooks.response(200, page_of(schemas.Version))
@reads("account.read")
def versions(session: Session, access: Access, wanted: dict[str, Any], webhook_id: int) -> Any:
    """Every revision, newest first."""
    after = id_after(wanted) or LARGEST_ID
    webhook = webhook_of(session, access, webhook_id)
    rows = rules.revisions(session, access, webhook, min(after, LARGEST_REVISION + 1), wanted["limit"] + 1)
    found = page([row.version for row in rows], wanted["limit"], lambda row: row.revision)
    own = ("revision", "name", "stage", "enabled", "created_on")
    shown = [{**columns(row, *own), "spec": visible_spec(access, row.spec)} for row in found["items"]]
    return {**found, "items": shown}


@webhooks.post("/webhooks/<int:webhook_id>/versions/<int(digits=9):revision>/restore")
@webhooks.response(200, schemas.Webhook)
@changes("webhooks.change")
def restore(session: Session, access: Access, webhook_id: int, revision: int) -> Any:
    """Makes an earlier revision the current one, as a new revision, on or off as it is now."""
    webhook = editable(session, access, webhook_id)
    rules.restore(session, access, webhook, revision)
    return tagged(show_dumped(access, webhook))


@webhooks.get("/webhooks/export")
@webhooks.arguments(schemas.ExportOptions, location="query")
@webhooks.response(200, schemas.File)
@reads("account.read")
def export(session: Session, access: Access, options: dict[str, Any]) -> Any:
    """Every event except the locked one, or those of one set, without the encrypted secrets. For a key that may not
    change webhooks, secrets in URLs, headers and bodies are hidden, too."""
    return jsonify(export_file(session, access, options["set"]))


@webhooks.post("/webhooks/import")
@webhooks.arguments(schemas.ImportOptions, location="query")
@webhooks.arguments(schemas.File)
@webhooks.response(200, schemas.ImportResult)
@changes("webhooks.change")
def take_in(session: Session, access: Access, options: dict[str, Any], data: dict[str, Any]) -> Any:
    """Adds and changes events by name. An event without its secret is imported switched off. Connections of the file
    that the project does not have are added without secrets; existing ones are not changed."""
    planned = plan(session, access, data)
    written = 0 if options["dry_run"] else carry_out(session, access, planned)
    return {
        "written": written,
        "webhooks": [_change_shown(item) for item in planned.webhooks],
        "connections": [each.name for each in planned.connections],
        "subscribers_left_out": planned.subscribers_left_out,
    }


def _change_shown(item: Change) -> dict[str, Any]:
    return {
        "name": item.webhook.name,
        "change": item.kind,
        "needs_secret": item.needs_secret,
        "fields_changed": [difference.path for difference in item.differences],
    }
