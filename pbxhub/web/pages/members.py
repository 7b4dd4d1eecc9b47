"""Members of a project, their roles, and who is invited."""

from typing import cast

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session
from wtforms import SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import InputRequired

from pbxhub.account import invitations
from pbxhub.account.access import ROLES, Role, row_of
from pbxhub.account.members import change_role, lock_members, members_of
from pbxhub.account.refusals import Refusal
from pbxhub.store.sign_in_rows import Invitation
from pbxhub.web.forms import Form, account_address
from pbxhub.web.invitation_links import SendingLink
from pbxhub.web.language import _, lazy_gettext, said
from pbxhub.web.page_access import enter, reading_project, writing_project
from pbxhub.web.session_secrets import take
from pbxhub.wsgi.current import hub, now, writing

pages = Blueprint("members", __name__, url_prefix="/projects/<int:project_id>/members")


class InviteForm(Form):
    """An invitation: e-mail address and role."""

    email = StringField(lazy_gettext("E-mail"), [InputRequired(), account_address])
    role = SelectField(
        lazy_gettext("Role"),
        choices=[
            SelectChoice("viewer", lazy_gettext("viewer")),
            SelectChoice("editor", lazy_gettext("editor")),
            SelectChoice("owner", lazy_gettext("owner")),
        ],
    )


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Everybody in the project, and everybody invited."""
    with reading_project(project_id) as (session, _access):
        return _page(session, project_id, InviteForm())


@pages.post("")
def invite(project_id: int) -> ResponseReturnValue:
    """Invites somebody by e-mail. The link goes by mail; without a mail server the next page shows it, where whoever
    has it can take nothing that belongs to others."""
    form = InviteForm()
    with writing_project(project_id, "members.change") as (session, access):
        if not form.validate_on_submit():
            return _page(session, project_id, form), 422
        made = invitations.invite(session, access, form.email.data, form.role.data)
        if isinstance(made, Refusal):
            flash(said(made.text), "error")
            return redirect(url_for("members.index", project_id=project_id))
        send = SendingLink(session, access, made)
    send.leave()
    return redirect(url_for("members.index", project_id=project_id))


@pages.post("/invitations/<int:invitation_id>/again")
def send_again(project_id: int, invitation_id: int) -> ResponseReturnValue:
    """Sends a new link to an invited person; the previous one no longer works."""
    with writing_project(project_id, "members.change") as (session, access):
        send = SendingLink(session, access, row_of(session, access, Invitation, invitation_id))
    send.leave()
    return redirect(url_for("members.index", project_id=project_id))


@pages.post("/invitations/<int:invitation_id>/withdraw")
def withdraw(project_id: int, invitation_id: int) -> ResponseReturnValue:
    """Withdraws an invitation."""
    with writing_project(project_id, "members.change") as (session, access):
        invitations.withdraw(session, access, row_of(session, access, Invitation, invitation_id))
    flash(_("The invitation was withdrawn; its link no longer works."))
    return redirect(url_for("members.index", project_id=project_id))


@pages.post("/<int:user_id>")
def change(project_id: int, user_id: int) -> ResponseReturnValue:
    """Another role for a member, or (role "none") out of the project. One owner always stays."""
    role = request.form.get("role", "")
    with writing() as session:
        lock_members(session, project_id)
        access = enter(session, project_id, "members.change")
        if role not in (*ROLES, "none"):
            abort(400, _("Choose one of the roles."))
        if refused := change_role(session, access, user_id, None if role == "none" else cast(Role, role)):
            flash(said(refused.text), "error")
            return redirect(url_for("members.index", project_id=project_id))
    flash(_("Saved."))
    return redirect(url_for("home.projects" if user_id == access.user.id else "members.index", project_id=project_id))


def _page(session: Session, project_id: int, form: InviteForm) -> str:
    return render_template(
        "account/members.html",
        members=members_of(session, project_id),
        form=form,
        roles=ROLES,
        invited=invitations.of_project(session, project_id),
        shown=take(f"members {project_id}"),
        mails=hub().mail is not None,
        now=now(),
    )
