"""A user's own page: name, language, password, two-factor, sessions."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import delete, select

from pbxhub.store.accounts import SignIn, User
from pbxhub.web.access import signed_in
from pbxhub.web.forms import ProfileForm
from pbxhub.web.language import _
from pbxhub.web.sessions import current_token_hash, end_all
from pbxhub.wsgi.current import reading, writing

pages = Blueprint("profile", __name__, url_prefix="/profile")


@pages.route("", methods=["GET", "POST"])
def index() -> ResponseReturnValue:
    """Name and language; links to password and two-factor; the browsers signed in."""
    user = signed_in()
    form = ProfileForm(obj=user)
    if form.validate_on_submit():
        with writing() as session:
            row = session.get_one(User, user.id)
            row.name, row.language = form.name.data or "", form.language.data
        flash(_("Saved."))
        return redirect(url_for("profile.index"))
    with reading() as session:
        rows = session.scalars(select(SignIn).where(SignIn.user_id == user.id).order_by(SignIn.seen_on.desc())).all()
        return render_template("account/profile.html", form=form, sign_ins=rows, current=current_token_hash())


@pages.post("/sessions/<int:sign_in_id>/end")
def end_session(sign_in_id: int) -> ResponseReturnValue:
    """Signs another browser of the user out."""
    user = signed_in()
    with writing() as session:
        session.execute(delete(SignIn).where(SignIn.id == sign_in_id, SignIn.user_id == user.id))
    flash(_("That browser is signed out."))
    return redirect(url_for("profile.index"))


@pages.post("/sessions/end")
def end_others() -> ResponseReturnValue:
    """Signs every other browser of the user out."""
    user = signed_in()
    with writing() as session:
        end_all(session, user.id, but=current_token_hash())
    flash(_("All other browsers are signed out."))
    return redirect(url_for("profile.index"))
