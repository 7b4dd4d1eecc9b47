"""Adding, editing and copying an event, with preview and test send. The form talks JSON; every answer is JSON."""

from collections.abc import Mapping
from typing import Any

from flask import abort, flash, jsonify, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session
from wtforms import PasswordField, StringField

from pbxhub.account.access import Access
from pbxhub.account.audit_log import differences
from pbxhub.account.preview import preview, test_send
from pbxhub.account.ready_made import GoogleAnalytics, set_up_google_analytics
from pbxhub.account.refusals import NotFoundError
from pbxhub.account.webhook_drafts import read_draft
from pbxhub.account.webhook_fields import all_fields, flatten
from pbxhub.account.webhook_secrets import make_signing_key, remove_signing_key
from pbxhub.account.webhooks import change, create, editable, webhook_of
from pbxhub.calls.stages import JSON
from pbxhub.store.accounts import User
from pbxhub.store.webhooks import Webhook, WebhookVersion
from pbxhub.web.editor_data import editor_data, used_names
from pbxhub.web.forms import Form, Hint
from pbxhub.web.labels import all_stages
from pbxhub.web.language import _, lazy_gettext, said
from pbxhub.web.page_access import enter, reading_project, writing_project
from pbxhub.web.pages.webhooks import pages
from pbxhub.web.stage_groups import stage_groups
from pbxhub.webhooks.gallery import default_event
from pbxhub.webhooks.params import exists_at
from pbxhub.webhooks.spec import FieldError, SpecError, WebhookSpec, dump_spec, load_spec
from pbxhub.wsgi.current import reading, writing
from pbxhub.wsgi.request_checks import LARGEST_ID

__all__ = ["pages"]


class GoogleAnalyticsForm(Form):
    """The values that the locked event needs."""

    measurement_id = StringField(
        lazy_gettext("Measurement id"),
        [Hint(required=True)],
        description=lazy_gettext("Admin → Data streams → your stream."),
    )
    api_secret = PasswordField(
        lazy_gettext("API secret"),
        [Hint(required=True, maxlength=200)],
        description=lazy_gettext("Admin → Data streams → your stream → Measurement Protocol API secrets."),
    )


@pages.get("/new")
def new(project_id: int) -> ResponseReturnValue:
    """The empty editor."""
    with reading_project(project_id, "webhooks.change") as (session, access):
        blank = Webhook(project_id=project_id, name="", stage="incoming.after", enabled=True, spec=WebhookSpec())
        return _editor(session, access, blank, title=_("New event"))


@pages.get("/<int:webhook_id>/edit")
def edit(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """The editor of a webhook."""
    with reading_project(project_id, "webhooks.change") as (session, access):
        webhook = editable(session, access, webhook_id)
        return _editor(session, access, webhook, title=webhook.name)


@pages.get("/<int:webhook_id>/copy")
def copy(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Copying: first for which stage (the parameters that would not exist there are named), then the editor."""
    with reading_project(project_id, "webhooks.change") as (session, access):
        source = webhook_of(session, access, webhook_id)
        stage = request.args.get("stage", "")
        if stage not in all_stages():
            return render_template("webhooks/copy.html", source=source, missing=_missing(source), groups=stage_groups())
        twin = source.copy()
        twin.stage, twin.name = stage, _("%(name)s (copy)", name=source.name)[:200]
        return _editor(session, access, twin, title=_("Copy of %(name)s", name=source.name), source=source)


@pages.post("/save")
def save(project_id: int) -> ResponseReturnValue:
    """Saves a new webhook, possibly a copy. 422 with the wrong fields."""
    with writing_project(project_id, "webhooks.change") as (session, access):
        data = _payload()
        source = _copied(session, access, data)
        try:
            draft = read_draft(session, access, data, None, source)
        except SpecError as error:
            return _refuse(error)
        webhook = create(session, access, draft, source)
        return _saved(webhook)


@pages.post("/<int:webhook_id>/save")
def update(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Saves a new revision. 409 when somebody else has saved since the form was opened; nothing is overwritten."""
    with writing_project(project_id, "webhooks.change") as (session, access):
        webhook = editable(session, access, webhook_id)
        data = _payload()
        if data.get("revision") != webhook.revision:
            return _conflict(session, webhook, data)
        try:
            draft = read_draft(session, access, data, webhook)
        except SpecError as error:
            return _refuse(error)
        change(session, access, webhook, draft)
        return _saved(webhook)


@pages.post("/preview")
def show(project_id: int) -> ResponseReturnValue:
    """The exact request for the chosen call, what is wrong, and how many of the last calls would match."""
    with reading_project(project_id, "webhooks.change") as (session, access):
        data = _payload()
        found = preview(session, access, data, _kept(session, access, data))
        source = _copied(session, access, data)
        changes = differences(all_fields(source), _as_shown(data)) if source else {}
        html = render_template("webhooks/_preview.html", preview=found, source=source, changes=changes)
        return jsonify(html=html, errors=_errors((*found.errors, *found.unsavable)), notes=_errors(found.notes))


@pages.post("/test")
def test(project_id: int) -> ResponseReturnValue:
    """Sends the previewed request once and shows the answer."""
    with reading_project(project_id, "webhooks.change") as (session, access):
        data = _payload()
        tried = test_send(session, access, data, _kept(session, access, data))
        return jsonify(html=render_template("webhooks/_tried.html", tried=tried), errors=_errors(tried.preview.errors))


@pages.post("/<int:webhook_id>/signing")
def signing(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Creates, rotates or removes the signing key; a new key is shown in this answer only."""
    wanted = request.form.get("do", "")
    with writing_project(project_id, "webhooks.change") as (session, access):
        webhook = editable(session, access, webhook_id)
        key = ""
        if wanted == "remove":
            remove_signing_key(session, access, webhook)
        else:
            key = make_signing_key(session, access, webhook, rotating=wanted == "rotate")
        return render_template("webhooks/_signing.html", webhook=webhook, key=key)


@pages.route("/<int:webhook_id>/setup", methods=["GET", "POST"])
def setup_default(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Saves the two values that Google Analytics needs, so that the locked event can be switched on."""
    form = GoogleAnalyticsForm()
    with writing() if request.method == "POST" else reading() as session:
        access = enter(session, project_id, "webhooks.change")
        webhook = webhook_of(session, access, webhook_id)
        if not webhook.locked:
            raise NotFoundError
        given = GoogleAnalytics(form.measurement_id.data or "", form.api_secret.data or "")
        if not form.validate_on_submit() or not form.take(set_up_google_analytics(session, access, webhook, given)):
            return render_template("webhooks/setup.html", form=form, webhook=webhook, item=default_event())
    flash(_("Calls go to Google Analytics from now on."))
    return redirect(url_for("webhooks.index", project_id=project_id))


def _editor(session: Session, access: Access, webhook: Webhook, title: str, source: Webhook | None = None) -> str:
    data = editor_data(session, access, webhook, source, request.args.get("sample", ""))
    return render_template("webhooks/edit.html", webhook=webhook, source=source, title=title, data=data)


def _payload() -> Mapping[str, Any]:
    data = request.get_json(silent=True)
    if not isinstance(data, dict):
        abort(400, _("The form sent something that cannot be read; reload the page."))
    return data


def _number(value: Any) -> int:
    """An id as JSON should have it; 404 for anything else."""
    is_id = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_ID
    return int(value) if is_id else abort(404)


def _errors(errors: tuple[FieldError, ...] | list[FieldError]) -> list[dict[str, str]]:
    return [{"path": error.path, "message": said(error.message)} for error in errors]


def _saved(webhook: Webhook) -> ResponseReturnValue:
    """Where the browser goes on: url when it leaves the editor, edit when it stays."""
    project_id = webhook.project_id
    return jsonify(
        url=url_for("webhooks.index", project_id=project_id),
        edit=url_for("webhooks.edit", project_id=project_id, webhook_id=webhook.id),
        id=webhook.id, revision=webhook.revision,
    )  # fmt: skip


def _refuse(error: SpecError) -> ResponseReturnValue:
    return jsonify(errors=_errors(error.errors)), 422


def _conflict(session: Session, webhook: Webhook, data: Mapping[str, Any]) -> ResponseReturnValue:
    """Who saved meanwhile, and how their version differs from ours."""
    version = session.get(WebhookVersion, (webhook.id, webhook.revision))
    author = session.get(User, version.author_id) if version and version.author_id else None
    mine = _as_shown(data)
    who = author.name or author.email if author else _("Somebody")
    html = render_template(
        "webhooks/_conflict.html", who=who, version=version, changes=differences(all_fields(webhook), mine)
    )
    return jsonify(html=html, revision=webhook.revision), 409


def _as_shown(data: Mapping[str, Any]) -> dict[str, JSON]:
    """What the form holds, as all_fields() gives a webhook: without what it fills in because it is the default."""
    try:
        spec = dump_spec(load_spec(data.get("spec") or {}))
    except SpecError:  # shown as it was typed
        spec = data.get("spec")
    return {**{name: data.get(name) for name in ("name", "stage", "enabled")}, **flatten(spec)}


def _copied(session: Session, access: Access, data: Mapping[str, Any]) -> Webhook | None:
    """The webhook that the one in the form is a copy of."""
    return webhook_of(session, access, _number(data["copy_of"])) if data.get("copy_of") else None


def _kept(session: Session, access: Access, data: Mapping[str, Any]) -> Webhook | None:
    """The webhook whose secrets the one in the form goes on using: the one that is changed, or copied."""
    return webhook_of(session, access, _number(data["id"])) if data.get("id") else _copied(session, access, data)


def _missing(source: Webhook) -> dict[str, list[str]]:
    """Stage -> names the source uses that have no value there."""
    names = used_names(source.spec)
    return {stage: [name for name in names if not exists_at(name, stage)] for stage in all_stages()}
