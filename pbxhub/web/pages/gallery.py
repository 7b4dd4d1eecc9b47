"""Ready-made events for common systems: found, filled in, added."""

from flask import abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from pbxhub.account.ready_made import Answers, add_ready
from pbxhub.store.connections import connections_of
from pbxhub.store.webhooks import Webhook
from pbxhub.web.kept_forms import kept
from pbxhub.web.labels import categories
from pbxhub.web.language import _
from pbxhub.web.page_access import reading_project, writing_project
from pbxhub.web.pages.editor import pages
from pbxhub.webhooks.connection_presets import find_preset
from pbxhub.webhooks.gallery import Item, find, gallery
from pbxhub.webhooks.spec import FieldError, SpecError
from pbxhub.wsgi.current import hub

__all__ = ["pages"]


@pages.get("/gallery")
def templates(project_id: int) -> ResponseReturnValue:
    """Ready-made events for common systems, and an empty one."""
    with reading_project(project_id, "webhooks.change") as (_session, _access):
        return render_template("webhooks/gallery.html", items=gallery(), categories=categories())


@pages.route("/gallery/<item_id>", methods=["GET", "POST"])
def template(project_id: int, item_id: str) -> ResponseReturnValue:
    """One integration: says what it adds and needs, asks for its values, adds it and leads on."""
    item = find(item_id) or abort(404)
    errors: list[FieldError] = []
    if request.method == "POST":
        try:
            with writing_project(project_id, "webhooks.change") as (session, access):
                added = add_ready(session, access, item, _answers())
                return _next(item, added)
        except SpecError as error:  # nothing of it was added
            errors = error.errors
    with reading_project(project_id, "webhooks.change") as (session, _access):
        page = render_template(
            "webhooks/template.html", item=item, errors=errors, given=request.form or kept() or {},
            preset=find_preset(item.connection), connections=connections_of(session, project_id),
            callback=hub().links.consent_callback,
        )  # fmt: skip
        return page, 422 if errors else 200


def _answers() -> Answers:
    form = request.form
    return Answers(
        form, form.get("secret", ""), form.get("connection", ""), form.get("client_id", ""), bool(form.get("dial"))
    )


def _next(item: Item, added: list[Webhook]) -> ResponseReturnValue:
    """Where to go on: to the connection that must be connected first, to the set, or to the only event."""
    first = added[0]
    preset = find_preset(item.connection)
    oauth = preset.spec.oauth if preset else None
    if oauth and oauth.grant == "authorization_code" and not request.form.get("connection"):
        flash(_("Added. Press Connect here; then switch the events on, on the page Webhooks."))
        return redirect(url_for("connections.detail", project_id=first.project_id, connection_id=first.connection_id))
    if first.set_name:
        flash(_("%(name)s was added, switched off. Switch it on when you are ready.", name=first.set_name))
        return redirect(url_for("webhooks.index", project_id=first.project_id))
    flash(_("Added. Look at the preview, send a test, and switch it on."))
    return redirect(url_for("webhooks.edit", project_id=first.project_id, webhook_id=first.id))
