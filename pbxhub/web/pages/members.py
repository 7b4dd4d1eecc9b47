"""Members of a project and their roles."""

import uuid
from typing import cast

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security.recoverable import generate_reset_link
from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import ROLES, Role
from pbxhub.account.members import give_role, lock_members, membership_of
from pbxhub.store.accounts import Membership, User
from pbxhub.web.access import enter
from pbxhub.web.audit import Action, note
from pbxhub.web.forms import InviteForm
from pbxhub.web.hub import now, reading, writing
from pbxhub.web.language import _, said
from pbxhub.web.users import Account

pages = Blueprint("members", __name__, url_prefix="/projects/<int:project_id>/members")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Everybody in the project."""
    with reading() as session:
        enter(session, project_id)
        return _page(session, project_id, InviteForm())


@pages.post("")
def invite(project_id: int) -> ResponseReturnValue:
    """Adds somebody by e-mail. Who is new to the hub gets a link to choose a password; the page shows it once."""
    form = InviteForm()
    with writing() as session:
        access = enter(session, project_id, "members.change")
        if not form.validate_on_submit():
            return _page(session, project_id, form), 422
        user = _user(session, form.email.data)
        member = membership_of(session, project_id, user.id)
        if member:
            flash(_("%(who)s is a member already.", who=user.email), "error")
            return redirect(url_for("members.index", project_id=project_id))
        session.add(Membership(project_id=project_id, user_id=user.id, role=form.role.data, created_on=now()))
        note(session, access, "member added", user.email, {}, {"role": form.role.data})
        session.flush()
        link = "" if user.password else generate_reset_link(Account.of(user))[0]  # type: ignore[no-untyped-call]
        return _page(session, project_id, InviteForm(formdata=None), link, user.email)


@pages.post("/<int:user_id>")
def change(project_id: int, user_id: int) -> ResponseReturnValue:
    """Another role for a member, or (role "none") out of the project. One owner always stays."""
    role = request.form.get("role", "")
    with writing() as session:
        lock_members(session, project_id)
        access = enter(session, project_id, "members.change")
        if role not in (*ROLES, "none"):
            abort(400, _("Choose one of the roles."))
        member = membership_of(session, project_id, user_id) or abort(404)
        before, email = member.role, session.get_one(User, user_id).email
        if refused := give_role(session, member, None if role == "none" else cast(Role, role)):
            flash(said(refused), "error")
            return redirect(url_for("members.index", project_id=project_id))
        done: Action = "member removed" if role == "none" else "member changed"
        note(session, access, done, email, {"role": before}, {"role": role})
    flash(_("Saved."))
    return redirect(url_for("home.projects" if user_id == access.user.id else "members.index", project_id=project_id))


def _page(session: Session, project_id: int, form: InviteForm, link: str = "", invited: str = "") -> str:
    members = session.execute(
        select(User, Membership.role)
        .join(Membership, Membership.user_id == User.id)
        .where(Membership.project_id == project_id)
        .order_by(User.email)
    ).all()
    return render_template("account/members.html", members=members, form=form, roles=ROLES, link=link, invited=invited)


def _user(session: Session, email: str) -> User:
    user = session.scalar(select(User).where(User.email == email))
    if user is None:
        user = User(email=email, password="", fs_uniquifier=uuid.uuid4().hex, recovery_codes=[], created_on=now())
        session.add(user)
        session.flush()
    return user
