"""PBXs of a project: their live state, how to connect one, and the check of the connection."""

import secrets

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from pbxhub.account.access import row_of
from pbxhub.account.copied_text import section_of, value_of
from pbxhub.account.dial_plans import change_dial_plan, dial_plan_to_change
from pbxhub.account.pbxs import add_incoming_context, add_pbx, change_pbx, check_pbx, delete_pbx, live, pbxs_of
from pbxhub.account.strange_contexts import strange_contexts
from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS
from pbxhub.paths import ASTERISK_CONF
from pbxhub.store.accounts import Pbx
from pbxhub.store.history import open_calls
from pbxhub.store.ordered_calls import dial_plan_of
from pbxhub.web.language import _, said
from pbxhub.web.page_access import enter, reading_project, writing_project
from pbxhub.web.pbx_form import DialPlanForm, PbxForm
from pbxhub.web.session_secrets import hand_over, take
from pbxhub.wsgi.current import now, reading, writing

pages = Blueprint("pbxs", __name__, url_prefix="/projects/<int:project_id>/pbxs")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Every PBX with its state."""
    with reading_project(project_id) as (session, access):
        rows = pbxs_of(session, access)
        calls = open_calls(session, [row.id for row in rows])
        return render_template("pbxs/index.html", rows=rows, calls=calls)


@pages.route("/new", methods=["GET", "POST"])
def create(project_id: int) -> ResponseReturnValue:
    """A new PBX. Without a secret of the user's own the hub makes one; its page shows it once, and never again."""
    with reading() as session:
        enter(session, project_id, "pbxs.change")
    contexts = ", ".join(DEFAULT_INCOMING_CONTEXTS)
    form = PbxForm(data={"contexts": contexts, "enabled": True, "port": 5038})
    if not form.validate_on_submit():
        return _form_page(form, None)
    secret = form.secret.data or secrets.token_urlsafe(24)
    with writing_project(project_id, "pbxs.change") as (session, access):
        pbx = add_pbx(session, access, form.wanted(secret))
        if isinstance(pbx, list):
            form.take(pbx)
            return _form_page(form, None)
        pbx_id = pbx.id
    hand_over(f"PBX {pbx_id}", secret)
    return redirect(url_for("pbxs.detail", project_id=project_id, pbx_id=pbx_id))


@pages.get("/<int:pbx_id>")
def detail(project_id: int, pbx_id: int) -> ResponseReturnValue:
    """State, reason, and what to put into Asterisk's configuration."""
    with reading_project(project_id) as (session, access):
        pbx = row_of(session, access, Pbx, pbx_id)
        secret = "".join(take(f"PBX {pbx_id}"))
        return render_template(
            "pbxs/detail.html", pbx=pbx, secret=value_of(secret), unsafe_secret=secret != value_of(secret),
            section=section_of(pbx.username), live=live(session, pbx, now()),
            needed=_files(needed=True), more=_files(needed=False), strange=strange_contexts(session, pbx, now()),
        )  # fmt: skip


@pages.get("/<int:pbx_id>/state")
def state(project_id: int, pbx_id: int) -> ResponseReturnValue:
    """The live part of the page, and the line of manager.conf that depends on it."""
    with reading_project(project_id) as (session, access):
        pbx = row_of(session, access, Pbx, pbx_id)
        return render_template("pbxs/_state.html", pbx=pbx, live=live(session, pbx, now()), polled=True)


@pages.route("/<int:pbx_id>/edit", methods=["GET", "POST"])
def edit(project_id: int, pbx_id: int) -> ResponseReturnValue:
    """Changes a PBX; an empty secret keeps the old one."""
    with reading_project(project_id, "pbxs.change") as (session, access):
        pbx = row_of(session, access, Pbx, pbx_id)
        form = PbxForm(data=_values(pbx))
    if not form.validate_on_submit():
        return _form_page(form, pbx)
    with writing_project(project_id, "pbxs.change") as (session, access):
        pbx = row_of(session, access, Pbx, pbx_id)
        if refused := change_pbx(session, access, pbx, form.wanted(form.secret.data or "")):
            form.take(refused)
            return _form_page(form, pbx)
    flash(_("Saved. The hub connects anew within seconds."))
    return redirect(url_for("pbxs.detail", project_id=project_id, pbx_id=pbx_id))


@pages.route("/<int:pbx_id>/dial-plan", methods=["GET", "POST"])
def dial_plan(project_id: int, pbx_id: int) -> ResponseReturnValue:
    """How the PBX places calls that programs order. Every member sees it, owners change it."""
    with writing() if request.method == "POST" else reading() as session:
        access = enter(session, project_id, "dial_plan.change" if request.method == "POST" else "account.read")
        pbx = row_of(session, access, Pbx, pbx_id)
        plan = dial_plan_to_change(session, access, pbx) if request.method == "POST" else dial_plan_of(session, pbx_id)
        form = DialPlanForm(obj=plan)
        if form.validate_on_submit() and form.take(change_dial_plan(session, access, pbx, plan, form.data)):
            flash(_("Saved."))
            return redirect(url_for("pbxs.dial_plan", project_id=project_id, pbx_id=pbx_id))
        return render_template("pbxs/dial_plan.html", form=form, pbx=pbx), 422 if form.errors else 200


@pages.post("/<int:pbx_id>/check")
def check(project_id: int, pbx_id: int) -> ResponseReturnValue:
    """Logs in to the PBX as the listener does, and says what works and how to fix what does not."""
    with reading_project(project_id, "pbxs.change") as (session, access):
        pbx = row_of(session, access, Pbx, pbx_id)
    return render_template("pbxs/_check.html", pbx=pbx, findings=check_pbx(access, pbx))


@pages.post("/<int:pbx_id>/contexts")
def take_context(project_id: int, pbx_id: int) -> ResponseReturnValue:
    """Makes a context (context=...) one more incoming one."""
    context = request.form.get("context", "")
    with writing_project(project_id, "pbxs.change") as (session, access):
        pbx = row_of(session, access, Pbx, pbx_id)
        refused = add_incoming_context(session, access, pbx, context)
    for refusal in refused:
        flash(said(refusal.text), "error")
    if not refused:
        flash(_("Calls that begin in %(context)s are incoming from now on.", context=context))
    return redirect(url_for("pbxs.detail", project_id=project_id, pbx_id=pbx_id))


@pages.post("/<int:pbx_id>/delete")
def remove(project_id: int, pbx_id: int) -> ResponseReturnValue:
    """Stops listening and deletes the PBX; its calls are kept."""
    with writing_project(project_id, "pbxs.change") as (session, access):
        pbx = row_of(session, access, Pbx, pbx_id)
        delete_pbx(session, access, pbx)
    flash(_("The hub no longer listens to this PBX."))
    return redirect(url_for("pbxs.index", project_id=project_id))


def _values(pbx: Pbx) -> dict[str, object]:
    """What the form shows of a PBX."""
    names = ("name", "host", "port", "username", "tls", "tls_ca", "plain_login", "charset", "enabled")
    return {**{name: getattr(pbx, name) for name in names}, "contexts": ", ".join(pbx.incoming_contexts)}


def _form_page(form: PbxForm, pbx: Pbx | None) -> ResponseReturnValue:
    page = render_template("pbxs/form.html", form=form, title=pbx.name if pbx else _("Connect a PBX"), pbx=pbx)
    return page, 422 if form.errors else 200


def _files(needed: bool) -> list[tuple[str, str]]:
    """The ready files to put beside Asterisk's own, name and text. needed: those of which every PBX needs one."""
    paths = sorted(ASTERISK_CONF.glob("*.conf"), key=lambda path: path.stem)
    return [(path.name, path.read_text()) for path in paths if path.stem.startswith("manager") == needed]
