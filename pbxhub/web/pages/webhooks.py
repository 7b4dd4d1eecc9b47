"""The table of webhooks and what its rows can do: switch, pause, order, delete, history, export and import."""

import json

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select

from pbxhub.account.access import Access
from pbxhub.account.audit_log import differences
from pbxhub.account.visible import visible_spec
from pbxhub.calls.stages import JSON
from pbxhub.json_reader import UnreadableError, read_json
from pbxhub.store.accounts import User
from pbxhub.store.webhooks import WebhookVersion
from pbxhub.web import webhooks
from pbxhub.web.access import enter
from pbxhub.web.health import recent_outcomes
from pbxhub.web.language import _, said
from pbxhub.web.webhooks import (
    carry_out,
    editable,
    exported,
    flatten,
    incomplete,
    live_webhooks,
    own_fields,
    plan,
    reorder,
    restore_version,
    switch,
    webhook_of,
)  # fmt: skip
from pbxhub.web.webhooks import remove as delete
from pbxhub.webhooks.import_export import export_webhooks
from pbxhub.webhooks.spec import FieldError, SpecError, dump_spec
from pbxhub.wsgi.current import hub, reading, writing
from pbxhub.wsgi.request_checks import is_id

pages = Blueprint("webhooks", __name__, url_prefix="/projects/<int:project_id>/webhooks")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Every webhook: Google Analytics first, then as ordered by the user."""
    with reading() as session:
        access = enter(session, project_id)
        rows = live_webhooks(session, access)
        unreadable = {row.id for row in rows if not all(map(hub().vault.can_open, row.secrets_sealed))}
        return render_template("webhooks/index.html", rows=rows, unreadable=unreadable)


@pages.get("/health")
def health(project_id: int) -> ResponseReturnValue:
    """The last outcomes of every webhook as dots: the slow column of the table, loaded after it."""
    with reading() as session:
        access = enter(session, project_id)
        rows = live_webhooks(session, access)
        outcomes = recent_outcomes(session, [row.id for row in rows])
        return render_template("webhooks/_health.html", rows=rows, outcomes=outcomes)


@pages.post("/<int:webhook_id>/enabled")
def enable(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """On or off. Off: what waits is cancelled, and says so."""
    with writing() as session:
        access = enter(session, project_id, "webhooks.change")
        webhook = webhook_of(session, access, webhook_id)
        wanted = request.form.get("enabled") == "1"
        if wanted and webhook.locked and not webhook.secret_sealed:
            flash(_("Set it up first: it needs your measurement id and API secret."), "error")
            return redirect(url_for("webhooks.setup_default", project_id=project_id, webhook_id=webhook.id))
        if wanted and (lacking := incomplete(webhook)):
            flash(f"{lacking[0].path}: {said(lacking[0].message)}", "error")
            return redirect(url_for("webhooks.index", project_id=project_id))
        switch(session, access, webhook, wanted)
    return redirect(url_for("webhooks.index", project_id=project_id))


@pages.post("/<int:webhook_id>/pause")
def hold(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Stops sending and keeps what waits, or sends again."""
    with writing() as session:
        access = enter(session, project_id, "webhooks.change")
        webhook = webhook_of(session, access, webhook_id)
        if webhook.paused_on:
            webhooks.release(session, access, webhook)
        else:
            webhooks.hold(session, access, webhook)
    back = "errors.index" if request.form.get("back") == "errors" else "webhooks.index"
    return redirect(url_for(back, project_id=project_id))


@pages.post("/<int:webhook_id>/delete")
def remove(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Deletes a webhook: what waits is cancelled, what was sent stays in the history."""
    with writing() as session:
        access = enter(session, project_id, "webhooks.change")
        webhook = editable(session, access, webhook_id)
        delete(session, access, webhook)
    flash(_("%(name)s was deleted.", name=webhook.name))
    return redirect(url_for("webhooks.index", project_id=project_id))


@pages.post("/order")
def order(project_id: int) -> ResponseReturnValue:
    """The order of starting: ids as the table now shows them."""
    wanted = [int(text) for text in request.form.getlist("id") if is_id(text)]
    with writing() as session:
        reorder(session, enter(session, project_id, "webhooks.change"), wanted)
    return "", 204


@pages.get("/<int:webhook_id>/history")
def history(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Every revision with its author and what it changed."""
    with reading() as session:
        access = enter(session, project_id)
        webhook = webhook_of(session, access, webhook_id)
        rows = session.execute(
            select(WebhookVersion, User.email)
            .outerjoin(User, User.id == WebhookVersion.author_id)
            .where(WebhookVersion.webhook_id == webhook.id)
            .order_by(WebhookVersion.revision.desc())
            .limit(101)
        ).all()
        older = [*(row[0] for row in rows[1:]), None]
        listed = [(row[0], row[1], _changes(access, row[0], before)) for row, before in zip(rows, older, strict=False)]
        return render_template("webhooks/history.html", webhook=webhook, rows=listed[:100])


@pages.post("/<int:webhook_id>/restore/<int(digits=9):revision>")
def restore(project_id: int, webhook_id: int, revision: int) -> ResponseReturnValue:
    """Makes an earlier revision the current one, as a new revision: checked like any other, on or off as it is now."""
    back = redirect(url_for("webhooks.history", project_id=project_id, webhook_id=webhook_id))
    with writing() as session:
        access = enter(session, project_id, "webhooks.change")
        webhook = editable(session, access, webhook_id)
        version = session.get(WebhookVersion, (webhook.id, revision))
        if version is None:
            abort(404)
        try:
            restore_version(session, access, webhook, version)
        except SpecError as error:
            flash(
                _("Revision %(n)s cannot be restored: %(why)s", n=revision, why=said(error.errors[0].message)), "error"
            )
            return back
    flash(_("Revision %(n)s is the current one again.", n=revision))
    return back


@pages.get("/export.json")
def export(project_id: int) -> ResponseReturnValue:
    """Every webhook but the locked one as a file, without secrets."""
    with reading() as session:
        access = enter(session, project_id, "webhooks.change")
        rows = [exported(row) for row in live_webhooks(session, access) if not row.locked]
    text = json.dumps(export_webhooks(rows), ensure_ascii=False, indent=2)
    return Response(
        text, mimetype="application/json", headers={"Content-Disposition": 'attachment; filename="webhooks.json"'}
    )


@pages.get("/import")
def choose_file(project_id: int) -> ResponseReturnValue:
    """The form that takes a file."""
    with reading() as session:
        enter(session, project_id, "webhooks.change")
        return render_template("webhooks/import.html", plan=None, text="", errors=[])


@pages.post("/import")
def take_in(project_id: int) -> ResponseReturnValue:
    """A file of webhooks: first what it would change, then, confirmed, the change."""
    upload = request.files.get("file")
    body = upload.read() if upload else request.form.get("text", "").encode()
    with writing() as session:
        access = enter(session, project_id, "webhooks.change")
        try:
            changes = plan(session, access, read_json(body))
        except SpecError as error:
            return _import_refused(error.errors)
        except UnreadableError as error:
            return _import_refused([FieldError(error.path, error.sentence)])
        if request.form.get("confirmed") != "1":
            return render_template("webhooks/import.html", plan=changes, text=body.decode("utf-8-sig"), errors=[])
        done = carry_out(session, access, changes)
    flash(_("%(n)s webhooks were imported.", n=done))
    return redirect(url_for("webhooks.index", project_id=project_id))


def _import_refused(errors: list[FieldError]) -> ResponseReturnValue:
    return render_template("webhooks/import.html", plan=None, text="", errors=errors), 422


def _changes(access: Access, newer: WebhookVersion, older: WebhookVersion | None) -> dict[str, list[JSON]]:
    """What is different, as the reader may see it: of a secret only that it has changed."""
    if older is None:
        return {}
    before, after = (_fields(row, visible_spec(access, row.spec)) for row in (older, newer))
    changed = differences(_fields(older, dump_spec(older.spec)), _fields(newer, dump_spec(newer.spec)))
    return {path: [before.get(path), after.get(path)] for path in changed}


def _fields(version: WebhookVersion, spec: JSON) -> dict[str, JSON]:
    return {**own_fields(version), **flatten(spec)}
