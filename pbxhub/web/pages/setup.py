"""The first start: the person with the link from the server's terminal becomes the owner. There is no default
password."""

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import login_user
from sqlalchemy import select
from wtforms import PasswordField, StringField
from wtforms.validators import InputRequired, Length

from pbxhub.account import first_owner
from pbxhub.account.passwords import hashed
from pbxhub.store.accounts import Project
from pbxhub.web.forms import account_address, check_password
from pbxhub.web.language import lazy_gettext as _
from pbxhub.web.project_form import ProjectForm
from pbxhub.web.users import Account
from pbxhub.wsgi.current import hub, now, reading, writing

pages = Blueprint("setup", __name__)


class SetupForm(ProjectForm):
    """The first owner and the first project."""

    your_name = StringField(_("Your name"), [Length(max=200)])
    email = StringField(_("E-mail"), [InputRequired(), account_address])
    password = PasswordField(_("Password"), [InputRequired()], description=_("At least 10 characters."))

    def validate_password(self, field: PasswordField) -> None:
        check_password(str(field.data), str(self.email.data))


@pages.route("/setup", methods=["GET", "POST"])
def setup() -> ResponseReturnValue:
    """The form of the first owner. Gone (404) without the token and once there is a user."""
    token, data_dir = request.args.get("token", ""), hub().settings.data_dir
    with reading() as session:
        if not first_owner.is_open(session, data_dir, token):
            abort(404)
        existing = session.scalar(select(Project).order_by(Project.id))
        form = SetupForm(obj=existing, meta={"csrf": True})
    if not form.validate_on_submit():
        return render_template("setup.html", form=form), 422 if form.is_submitted() else 200
    stored = hashed(str(form.password.data), hub().vault)
    with writing() as session:
        if not first_owner.is_open(session, data_dir, token) or not first_owner.use(session, token):
            abort(404)
        user = first_owner.make_owner(
            session, form.email.data, form.your_name.data or "", stored, form.settings(), now()
        )
        account = Account.of(user)
    first_owner.remember_owner(data_dir)
    login_user(account, authn_via=["password"])
    return redirect(url_for("home.start"))
