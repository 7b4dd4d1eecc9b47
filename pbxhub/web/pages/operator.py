"""The operators' page: users, projects, PBXs, and what operators changed."""

import re
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session
from wtforms import BooleanField, PasswordField, SelectMultipleField, StringField, TextAreaField
from wtforms.widgets import CheckboxInput, ListWidget

from pbxhub.account.networks import Grant, grant_networks
from pbxhub.account.operators import change_operator
from pbxhub.account.pbx_files import PbxFiles, cel_table_of, name_files
from pbxhub.store.accounts import Membership, Pbx, Project, User
from pbxhub.web.forms import Form
from pbxhub.web.language import _, lazy_gettext, said
from pbxhub.web.page_access import operating
from pbxhub.web.pages.audit import audit_page
from pbxhub.wsgi.current import hub, reading, writing

pages = Blueprint("operator", __name__, url_prefix="/operator")


class PbxFilesForm(Form):
    """The settings of a PBX that only operators change."""

    cel_path = StringField(
        lazy_gettext("CEL database on this host"),
        description=lazy_gettext(
            "Path of the cel_sqlite3_custom file, to fill gaps after a lost connection. Empty: none."
        ),
    )
    cel_url = PasswordField(
        lazy_gettext("Or CEL table on the network"),
        description=lazy_gettext(
            "postgresql://USER:PASSWORD@HOST/DATABASE?table=cel, where cel_pgsql or cel_odbc of this PBX "
            "writes. It is encrypted and not shown again; empty keeps what there is."
        ),
    )
    no_cel_url = BooleanField(lazy_gettext("Stop reading the CEL table"))
    recordings = StringField(
        lazy_gettext("Recordings folder on this host"),
        description=lazy_gettext(
            "The folder may contain only this PBX's recordings. PBXHUB_RECORDINGS means the folder of that "
            "setting. Empty: none."
        ),
    )
    any_network = BooleanField(lazy_gettext("May keep its address, whatever the project's networks"))

    @property
    def wanted_cel_url(self) -> str | None:
        """None: as it is."""
        return "" if self.no_cel_url.data else (self.cel_url.data or "").strip() or None


class NetworksForm(Form):
    """The networks that operators grant a project."""

    pbx_networks = TextAreaField(
        lazy_gettext("Networks of its PBXs"),
        description=lazy_gettext("In addition to public addresses; one per line, such as 192.168.10.0/24."),
    )
    all_webhook_networks = BooleanField(lazy_gettext("Its webhooks may reach all of PBXHUB_ALLOWED_NETWORKS"))
    webhook_networks = SelectMultipleField(
        lazy_gettext("Or only these"), option_widget=CheckboxInput(), widget=ListWidget(prefix_label=False)
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.webhook_networks.choices = [str(network) for network in hub().settings.allowed_networks]

    def grant(self) -> Grant:
        """What the form asks for."""
        pbxs = tuple(re.split(r"[\s,]+", str(self.pbx_networks.data or "").strip()))
        webhooks = None if self.all_webhook_networks.data else tuple(self.webhook_networks.data or ())
        return Grant(tuple(filter(None, pbxs)), webhooks)


@pages.get("")
def index() -> ResponseReturnValue:
    """Every user, every project with its owners, every PBX."""
    operating("hub.read")
    with reading() as session:
        return render_template(
            "operator/index.html",
            users=session.scalars(select(User).order_by(User.email)).all(),
            projects=session.scalars(select(Project).order_by(Project.name, Project.id)).all(),
            members=_members(session),
            pbxs=session.scalars(select(Pbx).order_by(Pbx.project_id, Pbx.id)).all(),
            allowed=[str(network) for network in hub().settings.allowed_networks],
            everyone=hub().settings.projects == "everyone",
        )


@pages.get("/log")
def log() -> ResponseReturnValue:
    """What operators changed, newest first."""
    operating("hub.read")
    with reading() as session:
        return audit_page(session, None, _("What operators changed"))


@pages.post("/users/<int:user_id>")
def user(user_id: int) -> ResponseReturnValue:
    """Makes a user an operator (operator=yes) or removes the right (no). The last operator stays."""
    me = operating("operators.change")
    wanted = request.form.get("operator") == "yes"
    with writing() as session:
        if refused := change_operator(session, me, user_id, wanted):
            flash(said(refused.text), "error")
            return redirect(url_for("operator.index"))
    flash(_("Saved."))
    return redirect(url_for("operator.index" if wanted or user_id != me.user.id else "home.projects"))


@pages.route("/pbxs/<int:pbx_id>", methods=["GET", "POST"])
def pbx(pbx_id: int) -> ResponseReturnValue:
    """The files of a PBX on this host, and whether it may be in any network."""
    me = operating("pbx_files.change")
    with reading() as session:
        row = session.get(Pbx, pbx_id) or abort(404)
        form = PbxFilesForm(obj=row)
    if not form.validate_on_submit():
        return _pbx_page(form, row)
    with writing() as session:
        row = session.get(Pbx, pbx_id) or abort(404)
        files = PbxFiles(form.cel_path.data or "", form.recordings.data or "", form.wanted_cel_url)
        if refused := name_files(session, me, row, files, form.any_network.data):
            form.take(refused)
            return _pbx_page(form, row)
    flash(_("Saved."))
    return redirect(url_for("operator.index"))


@pages.route("/projects/<int:project_id>", methods=["GET", "POST"])
def project(project_id: int) -> ResponseReturnValue:
    """The networks of a project."""
    me = operating("networks.change")
    with reading() as session:
        row = session.get(Project, project_id) or abort(404)
        form = NetworksForm(
            data={
                "pbx_networks": "\n".join(row.pbx_networks),
                "all_webhook_networks": row.webhook_networks is None,
                "webhook_networks": row.webhook_networks or [],
            }
        )
    if not form.validate_on_submit():
        return _project_page(form, row)
    with writing() as session:
        row = session.get(Project, project_id) or abort(404)
        if refused := grant_networks(session, me, row, form.grant()):
            form.take(refused)
            return _project_page(form, row)
    flash(_("Saved."))
    return redirect(url_for("operator.index"))


def _pbx_page(form: PbxFilesForm, row: Pbx) -> ResponseReturnValue:
    page = render_template("operator/pbx.html", form=form, pbx=row, common=hub().settings.recordings,
                           table=cel_table_of(row, hub().vault))  # fmt: skip
    return page, 422 if form.errors else 200


def _project_page(form: NetworksForm, row: Project) -> ResponseReturnValue:
    return render_template("operator/project.html", form=form, project=row), 422 if form.errors else 200


def _members(session: Session) -> dict[int, list[tuple[str, str]]]:
    """Per project: e-mail and role of its members."""
    rows = session.execute(
        select(Membership.project_id, User.email, Membership.role)
        .join(User, User.id == Membership.user_id)
        .order_by(User.email)
    )
    found: dict[int, list[tuple[str, str]]] = {}
    for project_id, email, role in rows:
        found.setdefault(project_id, []).append((email, role))
    return found
