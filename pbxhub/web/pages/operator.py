"""The page of those who run the hub: users, projects, PBXs, and what operators changed."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.operators import change_operator
from pbxhub.store.accounts import AuditEntry, Membership, Pbx, Project, User
from pbxhub.web.access import operating
from pbxhub.web.audit import note_of_hub
from pbxhub.web.hub import hub, reading, writing
from pbxhub.web.language import _, said
from pbxhub.web.paging import PAGE, Page

pages = Blueprint("operator", __name__, url_prefix="/operator")


@pages.get("")
def index() -> ResponseReturnValue:
    """Everybody who signs in, every project with its owners, every PBX."""
    operating("hub.read")
    with reading() as session:
        return render_template(
            "operator/index.html",
            users=session.scalars(select(User).order_by(User.email)).all(),
            projects=session.scalars(select(Project).order_by(Project.name, Project.id)).all(),
            members=_members(session),
            pbxs=session.scalars(select(Pbx).order_by(Pbx.project_id, Pbx.id)).all(),
            everyone=hub().settings.projects == "everyone",
        )


@pages.get("/log")
def log() -> ResponseReturnValue:
    """What operators changed, newest first."""
    operating("hub.read")
    before = request.args.get("before", "")
    with reading() as session:
        query = select(AuditEntry).where(AuditEntry.project_id.is_(None))
        if before.isascii() and before.isdigit() and len(before) < 18:
            query = query.where(AuditEntry.id < int(before))
        rows = session.scalars(query.order_by(AuditEntry.id.desc()).limit(PAGE + 1)).all()
        page = Page(rows[:PAGE], str(rows[PAGE - 1].id) if len(rows) > PAGE else "")
        return render_template("account/audit.html", page=page, title=_("What operators changed"))


@pages.post("/users/<int:user_id>")
def user(user_id: int) -> ResponseReturnValue:
    """Makes a user an operator (operator=yes), or takes the right back (no). One operator always stays."""
    me = operating("operators.change")
    wanted = request.form.get("operator") == "yes"
    with writing() as session:
        row = session.get(User, user_id) or abort(404)
        if refused := change_operator(session, user_id, wanted, me.id):
            flash(said(refused.text), "error")
            return redirect(url_for("operator.index"))
        note_of_hub(session, me, "operator added" if wanted else "operator removed", row.email)
    flash(_("Saved."))
    return redirect(url_for("operator.index" if wanted or user_id != me.id else "home.projects"))


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
