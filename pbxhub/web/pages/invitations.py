"""Invitations: accept or decline, signed in or by the link of the invitation."""

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user
from flask_security import login_user
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length

from pbxhub.account import invitations
from pbxhub.account.invitations import OpenInvitation
from pbxhub.account.passwords import hashed
from pbxhub.store.accounts import User
from pbxhub.store.sign_in_rows import Invitation
from pbxhub.web.forms import Form, check_password
from pbxhub.web.language import _, lazy_gettext, said
from pbxhub.web.page_access import address, signed_in
from pbxhub.web.users import Account
from pbxhub.wsgi.current import hub, now, reading, writing

pages = Blueprint("invitations", __name__, url_prefix="/invitations")


class NewAccountForm(Form):
    """The new account of an invited person. address: the invited one."""

    address = ""
    your_name = StringField(lazy_gettext("Your name"), [Length(max=200)])
    password = PasswordField(
        lazy_gettext("Password"), [InputRequired()], description=lazy_gettext("At least 10 characters.")
    )

    def validate_password(self, field: PasswordField) -> None:
        check_password(str(field.data), self.address)


@pages.get("")
def index() -> ResponseReturnValue:
    """Every project that has invited the user. Whose address is not confirmed learns only that there is something."""
    user = signed_in()
    with reading() as session:
        waiting = invitations.of_address(session, user.email, now())
        confirmed = session.get_one(User, user.id).email_confirmed_on is not None
        return render_template("account/invitations.html", waiting=waiting, confirmed=confirmed)


@pages.post("/<int:invitation_id>/accept")
def accept(invitation_id: int) -> ResponseReturnValue:
    """Becomes a member."""
    return _answer(invitation_id, "accept")


@pages.post("/<int:invitation_id>/decline")
def decline(invitation_id: int) -> ResponseReturnValue:
    """Declines; the invitation is deleted."""
    return _answer(invitation_id, "decline")


@pages.route("/with/<token>", methods=["GET", "POST"])
def with_link(token: str) -> ResponseReturnValue:
    """The page of an invitation link: sign in and answer, or create an account."""
    with reading() as session:
        waiting = invitations.opened(session, token, now())
        if waiting is None:
            page = render_template("account/invitation.html", waiting=None)
            return page, 404
        known = invitations.account_of(session, waiting.invitation.email) is not None
        free = known or invitations.may_make_account(session, waiting.invitation, now())
    if not known:
        return _join(token, waiting) if free else (render_template("account/invitation.html", waiting=waiting), 409)
    if not current_user.is_authenticated:
        return redirect(url_for("security.login", next=request.script_root + request.path))
    if request.method == "POST" and current_user.email == waiting.invitation.email:
        return _answer(waiting.invitation.id, request.form.get("answer", ""), token)
    return render_template("account/invitation.html", waiting=waiting, answering=True)


def _join(token: str, waiting: OpenInvitation) -> ResponseReturnValue:
    """The form of a new account, and the account."""
    form = NewAccountForm()
    form.address = waiting.invitation.email
    if not form.validate_on_submit():
        page = render_template("account/invitation.html", waiting=waiting, form=form)
        return page, 422 if form.is_submitted() else 200
    stored = hashed(str(form.password.data), hub().vault)
    try:
        with writing() as session:
            invitation = _locked(session, waiting.invitation.id)
            again = invitations.opened(session, token, now())
            if again is None or not invitations.may_make_account(session, invitation, now()):
                return redirect(url_for("invitations.with_link", token=token))
            project_id = invitation.project_id
            user = invitations.make_account(session, invitation, form.your_name.data or "", stored, address(), now())
            account = Account.of(user)
    except IntegrityError:  # two links for one address at the same moment: the other one has created the account
        return redirect(url_for("invitations.with_link", token=token))
    if current_user.is_authenticated:
        flash(_("The account exists. Sign out here, and sign in with it."))
        return redirect(url_for("home.projects"))
    login_user(account, authn_via=["password"])
    return redirect(url_for("dashboard.index", project_id=project_id))


def _answer(invitation_id: int, answer: str, token: str = "") -> ResponseReturnValue:
    """token: of the link that was opened, if one was; it may have been replaced meanwhile."""
    user = signed_in()
    with writing() as session:
        invitation = _locked(session, invitation_id)
        by_link = bool(token) and invitations.opened(session, token, now()) is not None
        row = session.get_one(User, user.id)
        if invitation.email != row.email or invitation.expires_on <= now():
            abort(404)
        project_id = invitation.project_id
        answered = invitations.decline if answer == "decline" else invitations.accept
        if refused := answered(session, invitation, row, address(), now(), by_link=by_link):
            flash(said(refused.text), "error")
            return redirect(url_for("invitations.index"))
    if answer == "decline":
        flash(_("You declined; the project sees it in its audit log."))
        return redirect(url_for("home.projects"))
    return redirect(url_for("dashboard.index", project_id=project_id))


def _locked(session: Session, invitation_id: int) -> Invitation:
    found = session.scalar(select(Invitation).where(Invitation.id == invitation_id).with_for_update())
    return found or abort(404)
