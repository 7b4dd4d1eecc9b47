"""A user's own page: name, language, password, two-factor, sessions."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from wtforms import SelectField, StringField
from wtforms.fields import SelectChoice
from wtforms.validators import Length

from pbxhub.account import sign_ins
from pbxhub.account.tokens import hash_of
from pbxhub.store.accounts import User
from pbxhub.web.forms import Form
from pbxhub.web.language import _, languages, lazy_gettext
from pbxhub.web.page_access import signed_in
from pbxhub.web.session_token import current_token
from pbxhub.wsgi.current import reading, writing

pages = Blueprint("profile", __name__, url_prefix="/profile")


class ProfileForm(Form):
    """A user's name and language."""

    name = StringField(lazy_gettext("Your name"), [Length(max=200)])
    language = SelectField(
        lazy_gettext("Language"),
        choices=lambda: [
            SelectChoice("", lazy_gettext("as the browser")),
            *(SelectChoice(*language) for language in languages().items()),
        ],
    )


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
        rows = sign_ins.sign_ins_of(session, user.id)
        return render_template("account/profile.html", form=form, sign_ins=rows, current=hash_of(current_token()))


@pages.post("/sessions/<int:sign_in_id>/end")
def end_session(sign_in_id: int) -> ResponseReturnValue:
    """Signs another browser of the user out."""
    user = signed_in()
    with writing() as session:
        sign_ins.end_one(session, user.id, sign_in_id)
    flash(_("That browser is signed out."))
    return redirect(url_for("profile.index"))


@pages.post("/sessions/end")
def end_others() -> ResponseReturnValue:
    """Signs every other browser of the user out."""
    user = signed_in()
    with writing() as session:
        sign_ins.end_others(session, user.id, current_token())
    flash(_("All other browsers are signed out."))
    return redirect(url_for("profile.index"))
