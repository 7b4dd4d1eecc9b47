"""Connections: credentials that the project keeps once for many webhooks."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, row_of
from pbxhub.account.connection_tests import Tested, try_connection
from pbxhub.account.connections import connection_to_change, delete_connection, save_connection
from pbxhub.account.consents import begin_consent, finish_consent
from pbxhub.account.first_steps import left_to_do
from pbxhub.account.refusals import BusyError, ConflictError
from pbxhub.delivery.links import CALLBACK
from pbxhub.store.connections import Connection, connections_of, used_by
from pbxhub.web.connection_form import DETAILS, KINDS, ConnectionForm, form_data, kind_of
from pbxhub.web.language import _, said
from pbxhub.web.page_access import enter, reading_project, signed_in, writing_project
from pbxhub.web.session_secrets import keep_consent, take_consent
from pbxhub.webhooks.connection_presets import Preset, filled_in, find_preset, presets
from pbxhub.webhooks.spec import SpecError
from pbxhub.wsgi.current import hub, now, reading

pages = Blueprint("connections", __name__, url_prefix="/projects/<int:project_id>/connections")
returning = Blueprint("consents", __name__)


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """The connections with their states, and what uses them."""
    with reading_project(project_id) as (session, _access):
        rows = connections_of(session, project_id)
        users = used_by(session, [row.id for row in rows])
        return render_template(
            "connections/index.html", rows=rows, users=users, kinds=KINDS, kind_of=kind_of, now=now()
        )


@pages.get("/new")
def choose(project_id: int) -> ResponseReturnValue:
    """Which kind of connection to add."""
    with reading_project(project_id, "connections.change") as (_session, _access):
        return render_template("connections/choose.html", kinds=KINDS, presets=presets())


@pages.route("/new/<kind_name>", methods=["GET", "POST"])
def create(project_id: int, kind_name: str) -> ResponseReturnValue:
    """A new connection of a kind, or to a system whose preset has this id."""
    preset = find_preset(kind_name)
    with writing_project(project_id, "connections.change") as (session, access):
        if preset:
            form = ConnectionForm(kind_of(preset.spec), data=form_data(preset.name, preset.spec))
        else:
            form = ConnectionForm(kind_name) if kind_name in KINDS else abort(404)
        saved = _save(session, access, None, form, preset) if form.validate_on_submit() else None
        if saved is None:
            title = preset.name if preset else _("New connection")
            return _page(form, None, title, preset), 422 if request.method == "POST" else 200
        back = url_for("connections.detail", project_id=project_id, connection_id=saved.id)
    flash(_("Saved."))
    return redirect(back)


@pages.get("/<int:connection_id>")
def detail(project_id: int, connection_id: int) -> ResponseReturnValue:
    """One connection: its state, and what can be done about it."""
    with reading_project(project_id) as (session, access):
        return _detail(session, access, connection_id)


@pages.route("/<int:connection_id>/edit", methods=["GET", "POST"])
def edit(project_id: int, connection_id: int) -> ResponseReturnValue:
    """Changes a connection."""
    with writing_project(project_id, "connections.change") as (session, access):
        row = connection_to_change(session, access, connection_id)
        form = ConnectionForm(kind_of(row.spec), data=form_data(row.name, row.spec))
        if not form.validate_on_submit() or _save(session, access, row, form) is None:
            return _page(form, row, row.name), 422 if request.method == "POST" else 200
    flash(_("Saved."))
    return redirect(url_for("connections.detail", project_id=project_id, connection_id=connection_id))


@pages.post("/<int:connection_id>/connect")
def connect(project_id: int, connection_id: int) -> ResponseReturnValue:
    """Leads the browser to the provider, by a page: a form's answer must not lead to another site (form-action)."""
    with reading_project(project_id, "connections.change") as (session, access):
        row = row_of(session, access, Connection, connection_id)
        consent = begin_consent(access, row) or abort(404)
    keep_consent(project_id, consent)
    return render_template("connections/leave.html", row=row, url=consent.url)


@returning.get(CALLBACK)
def callback() -> ResponseReturnValue:
    """Where the provider sends the browser back, with a code or with the reason why there is none."""
    project_id, consent = take_consent(request.args.get("state", "")) or (0, None)
    if consent is None:
        signed_in()
        flash(_("This answer does not belong to a Connect of this browser. Open the hub at %(url)s and press Connect.",
                url=hub().settings.public_url), "error")  # fmt: skip
        return redirect(url_for("home.start"))
    with reading() as session:
        access = enter(session, project_id, "connections.change")
    back = redirect(url_for("connections.detail", project_id=project_id, connection_id=consent.connection_id))
    if refused := request.args.get("error"):
        words = f"{refused}: {request.args.get('error_description', '')}".removesuffix(": ")
        flash(_("The provider refused: %(words)s", words=words[:500]), "error")
        return back
    try:
        refusal = finish_consent(access, consent, request.args.get("code", ""))
    except BusyError as error:
        refusal = error.sentence
    flash(said(refusal) if refusal else _("Connected."), "error" if refusal else "message")
    return back


@pages.post("/<int:connection_id>/test")
def check(project_id: int, connection_id: int) -> ResponseReturnValue:
    """Fetches a token if there is none, and asks the address for a test; shows what came back."""
    with reading() as session:
        access = enter(session, project_id, "connections.change")
    try:
        tested = try_connection(access, connection_id)
    except BusyError as error:
        flash(said(error.sentence), "error")
        return redirect(url_for("connections.detail", project_id=project_id, connection_id=connection_id))
    with reading_project(project_id) as (session, access):
        return _detail(session, access, connection_id, tested)


@pages.post("/<int:connection_id>/delete")
def remove(project_id: int, connection_id: int) -> ResponseReturnValue:
    """Deletes a connection that nothing uses."""
    with writing_project(project_id, "connections.change") as (session, access):
        row = connection_to_change(session, access, connection_id)
        try:
            delete_connection(session, access, row)
        except ConflictError as error:
            flash(said(error.sentence), "error")
            return redirect(url_for("connections.detail", project_id=project_id, connection_id=connection_id))
    flash(_("Deleted."))
    return redirect(url_for("connections.index", project_id=project_id))


def _detail(session: Session, access: Access, connection_id: int, tested: Tested | None = None) -> str:
    row = row_of(session, access, Connection, connection_id)
    users = used_by(session, [row.id])[row.id]
    kind = kind_of(row.spec)
    return render_template(
        "connections/detail.html", row=row, users=users, kind=kind, kinds=KINDS, now=now(), tested=tested,
        callback=hub().links.consent_callback, left=left_to_do(session, access, users),
    )  # fmt: skip


def _save(
    session: Session, access: Access, row: Connection | None, form: ConnectionForm, preset: Preset | None = None
) -> Connection | None:
    """None: refused, and the form says why. Nothing of it is written."""
    try:
        given = form.given()
        return save_connection(session, access, row, filled_in(preset, given, request.form) if preset else given)
    except SpecError as error:
        for sentence in form.show(error.errors):
            flash(sentence, "error")
        return None


def _page(form: ConnectionForm, row: Connection | None, title: str, preset: Preset | None = None) -> str:
    kind = KINDS[form.kind]
    details = (*DETAILS, "hosts", "test_url") if preset else DETAILS
    return render_template(
        "connections/form.html", form=form, row=row, title=title, kind=kind, details=details, preset=preset,
        given=request.form, callback=hub().links.consent_callback,
    )  # fmt: skip
