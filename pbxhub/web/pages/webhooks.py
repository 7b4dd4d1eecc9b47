"""The table of webhooks and what its rows can do: switch, pause, order, delete, history, export and import."""

import json

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from pbxhub.account import webhooks
from pbxhub.account.crm_calls import is_without_address, set_with_address
from pbxhub.account.deliveries import calls_of, sent_since
from pbxhub.account.names import names_of
from pbxhub.account.resthook_subscribers import count_subscribers
from pbxhub.account.secret_visibility import visible_spec
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.account.webhook_files import carry_out, export_file, plan
from pbxhub.account.webhook_health import edits_by_hour, health_of, recent_outcomes
from pbxhub.account.webhook_sets import in_sets, warnings_of
from pbxhub.json_reader import UnreadableError, read_json
from pbxhub.store.connections import connections_of
from pbxhub.web.language import _, said
from pbxhub.web.page_access import reading_project, writing_project
from pbxhub.webhooks.chains import names_in
from pbxhub.webhooks.spec import FieldError, SpecError
from pbxhub.wsgi.current import hub
from pbxhub.wsgi.request_checks import LARGEST_REVISION, is_id

_NEWEST = 5  # revisions on the page of a webhook
_MARKED = 20  # of which those of the last day are marks in its chart
pages = Blueprint("webhooks", __name__, url_prefix="/projects/<int:project_id>/webhooks")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Every webhook: Google Analytics first, then as ordered by the user."""
    with reading_project(project_id) as (session, access):
        rows = live_webhooks(session, access)
        unreadable = {row.id for row in rows if not all(map(hub().vault.can_open, row.secrets_sealed))}
        waiting = {row.id: row for row in connections_of(session, project_id) if row.waits(access.now)}
        return render_template(
            "webhooks/index.html", rows=rows, sets=in_sets(rows), unreadable=unreadable, waiting=waiting,
            warnings=warnings_of(rows), subscribers=count_subscribers(session, access),
            dial_set=set_with_address(session, access) if access.may("keys.change") else "",
        )  # fmt: skip


@pages.get("/<int:webhook_id>")
def detail(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """One webhook: is it well, since when not, what did it send, what came back, how is it set up."""
    with reading_project(project_id) as (session, access):
        webhook = webhooks.webhook_of(session, access, webhook_id)
        found = health_of(session, access, webhook)
        newest = webhooks.revisions(session, access, webhook, LARGEST_REVISION + 1, _MARKED)
        shown = visible_spec(access, webhook.spec)
        template = "webhooks/_detail.html" if "HX-Request" in request.headers else "webhooks/detail.html"
        return render_template(
            template, webhook=webhook, health=found, revisions=newest[:_NEWEST], spec=shown,
            edits=edits_by_hour(newest, found.day.bars[0].start),
            names=names_of(session, project_id, calls_of(found.latest)),
            sending=sent_since(session, [row.delivery for row in found.latest], access.now),
        )  # fmt: skip


@pages.get("/health")
def health(project_id: int) -> ResponseReturnValue:
    """The last outcomes of every webhook as dots: the slow column of the table, loaded after it."""
    with reading_project(project_id) as (session, access):
        return render_template("webhooks/_health.html", outcomes=recent_outcomes(session, access))


@pages.post("/<int:webhook_id>/enabled")
def enable(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Switches a webhook on or off. Switching off cancels its pending deliveries."""
    with writing_project(project_id, "webhooks.change") as (session, access):
        webhook = webhooks.webhook_of(session, access, webhook_id)
        wanted = request.form.get("enabled") == "1"
        if wanted and webhook.locked and not webhook.secret_sealed:
            flash(_("Set it up first: it needs your measurement id and API secret."), "error")
            return redirect(url_for("webhooks.setup_default", project_id=project_id, webhook_id=webhook.id))
        try:
            webhooks.switch(session, access, webhook, wanted)
        except SpecError as error:
            flash(f"{error.errors[0].path}: {said(error.errors[0].message)}", "error")
    return _back(project_id, webhook_id)


@pages.post("/<int:webhook_id>/pause")
def hold(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Pauses a webhook and holds its deliveries, or resumes it."""
    with writing_project(project_id, "webhooks.change") as (session, access):
        webhook = webhooks.webhook_of(session, access, webhook_id)
        undoing = request.args.get("undo") == "1"  # does nothing when somebody else has resumed it
        if webhook.paused_on:
            webhooks.release(session, access, webhook)
        elif not undoing:
            webhooks.hold(session, access, webhook)
            undo = url_for("webhooks.hold", project_id=project_id, webhook_id=webhook_id, undo=1)
            flash(_("%(name)s is paused: its deliveries are held.", name=webhook.name), f"undo {undo}")
    if request.form.get("back") == "errors":
        return redirect(url_for("errors.index", project_id=project_id))
    return _back(project_id, webhook_id)


@pages.post("/<int:webhook_id>/delete")
def remove(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Deletes a webhook: pending deliveries are cancelled, sent ones stay in the history."""
    with writing_project(project_id, "webhooks.change") as (session, access):
        webhook = webhooks.editable(session, access, webhook_id)
        webhooks.remove(session, access, webhook)
        left = [row.name for row in live_webhooks(session, access) if webhook.name in names_in(row.spec)]
    undo = url_for("webhooks.bring_back", project_id=project_id, webhook_id=webhook_id)
    flash(_("%(name)s was deleted.", name=webhook.name), f"undo {undo}")
    if left:
        flash(_("These events still lead to it: %(names)s. Change or delete them.", names=", ".join(left)), "error")
    return redirect(url_for("webhooks.index", project_id=project_id))


@pages.post("/<int:webhook_id>/bring-back")
def bring_back(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Undoes the deletion of a webhook."""
    try:
        with writing_project(project_id, "webhooks.change") as (session, access):
            webhook = webhooks.bring_back(session, access, webhook_id)
            lost = is_without_address(session, access, webhook.set_name)
    except SpecError as error:
        return not_brought_back(project_id, error)
    if webhook.enabled:
        flash(_("%(name)s is there again, switched on.", name=webhook.name))
    else:
        flash(_("%(name)s is there again, switched off. If it had secrets, enter them again.", name=webhook.name))
    if lost:
        say_address_is_gone()
    return redirect(url_for("webhooks.index", project_id=project_id))


def say_address_is_gone() -> None:
    """To whoever has brought the set back without it."""
    flash(_("The address for calls from the CRM stays deleted. An owner can make a new one."), "error")


def not_brought_back(project_id: int, error: SpecError) -> ResponseReturnValue:
    """Says why, with the button again, for when the reason is gone."""
    first, undo = error.errors[0], request.script_root + request.full_path.rstrip("?")
    flash(f"{first.path}: {said(first.message)}", f"undo {undo}")
    return redirect(url_for("webhooks.index", project_id=project_id))


@pages.post("/order")
def order(project_id: int) -> ResponseReturnValue:
    """Saves the order of sending: the ids as the table shows them now."""
    wanted = [int(text) for text in request.form.getlist("id") if is_id(text)]
    with writing_project(project_id, "webhooks.change") as (session, access):
        webhooks.reorder(session, access, wanted)
    return "", 204


@pages.get("/<int:webhook_id>/history")
def history(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Every revision with its author and what it changed."""
    with reading_project(project_id) as (session, access):
        webhook = webhooks.webhook_of(session, access, webhook_id)
        rows = webhooks.revisions(session, access, webhook, LARGEST_REVISION + 1, 100)
        return render_template("webhooks/history.html", webhook=webhook, rows=rows)


@pages.post("/<int:webhook_id>/restore/<int(digits=9):revision>")
def restore(project_id: int, webhook_id: int, revision: int) -> ResponseReturnValue:
    """Makes an earlier revision the current one, as a new revision: checked like any other, on or off as it is now."""
    back = redirect(url_for("webhooks.history", project_id=project_id, webhook_id=webhook_id))
    with writing_project(project_id, "webhooks.change") as (session, access):
        webhook = webhooks.editable(session, access, webhook_id)
        try:
            webhooks.restore(session, access, webhook, revision)
        except SpecError as error:
            flash(
                _("Revision %(n)s cannot be restored: %(why)s", n=revision, why=said(error.errors[0].message)), "error"
            )
            return back
    flash(_("Revision %(n)s is current again.", n=revision))
    return back


@pages.get("/export.json")
def export(project_id: int) -> ResponseReturnValue:
    """Every webhook but the locked one, or those of one set, as a file without secrets."""
    with reading_project(project_id, "webhooks.change") as (session, access):
        text = json.dumps(export_file(session, access, request.args.get("set", "")), ensure_ascii=False, indent=2)
    return Response(
        text, mimetype="application/json", headers={"Content-Disposition": 'attachment; filename="webhooks.json"'}
    )


@pages.get("/import")
def choose_file(project_id: int) -> ResponseReturnValue:
    """The form that takes a file."""
    with reading_project(project_id, "webhooks.change") as (_session, _access):
        return render_template("webhooks/import.html", plan=None, text="", errors=[])


@pages.post("/import")
def take_in(project_id: int) -> ResponseReturnValue:
    """A file of webhooks: first what it would change, then, confirmed, the change."""
    upload = request.files.get("file")
    body = upload.read() if upload else request.form.get("text", "").encode()
    with writing_project(project_id, "webhooks.change") as (session, access):
        try:
            planned = plan(session, access, read_json(body))
        except SpecError as error:
            return _import_refused(error.errors)
        except UnreadableError as error:
            return _import_refused([FieldError(error.path, error.sentence)])
        if request.form.get("confirmed") != "1":
            return render_template("webhooks/import.html", plan=planned, text=body.decode("utf-8-sig"), errors=[])
        done = carry_out(session, access, planned)
    flash(_("%(n)s webhooks were imported.", n=done))
    return redirect(url_for("webhooks.index", project_id=project_id))


def _back(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """The page whose button was pressed: that of the webhook, or the table."""
    if request.form.get("back") == "detail":
        return redirect(url_for("webhooks.detail", project_id=project_id, webhook_id=webhook_id))
    return redirect(url_for("webhooks.index", project_id=project_id))


def _import_refused(errors: list[FieldError]) -> ResponseReturnValue:
    return render_template("webhooks/import.html", plan=None, text="", errors=errors), 422
