"""API keys of a project. A key is shown once; only its hash is kept."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session
from wtforms import SelectMultipleField, StringField
from wtforms.fields import SelectChoice
from wtforms.widgets import CheckboxInput, ListWidget

from pbxhub.account.access import Access, row_of
from pbxhub.account.api_keys import keys_of, make_key, revoke_key
from pbxhub.store.accounts import ApiKey
from pbxhub.web.forms import Form, Hint
from pbxhub.web.language import _, lazy_gettext
from pbxhub.web.page_access import reading_project, writing_project
from pbxhub.web.session_secrets import hand_over, take
from pbxhub.wsgi.current import hub

pages = Blueprint("keys", __name__, url_prefix="/projects/<int:project_id>/keys")


class KeyForm(Form):
    """An API key and its scopes."""

    name = StringField(lazy_gettext("What is it for?"), [Hint(required=True, maxlength=200)])
    scopes = SelectMultipleField(
        lazy_gettext("May"),
        choices=[
            SelectChoice(
                "read", lazy_gettext("read calls, deliveries, webhooks, PBXs, employees and numbers; no secrets")
            ),
            SelectChoice(
                "write",
                lazy_gettext("what an editor may: change webhooks, employees and numbers, send again; reads, too"),
            ),
            SelectChoice("call", lazy_gettext("order calls, send events and attributes of calls")),
            SelectChoice(
                "admin",
                lazy_gettext("everything that an owner may: also PBXs, the dial plan and the settings of the project"),
            ),
        ],
        option_widget=CheckboxInput(),
        widget=ListWidget(prefix_label=False),
    )


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """The keys there are, without the keys themselves."""
    with reading_project(project_id, "keys.change") as (session, access):
        return _page(session, access, KeyForm(), "".join(take(f"keys {project_id}")))


@pages.post("")
def create(project_id: int) -> ResponseReturnValue:
    """A new key, shown on the next page and never again."""
    form = KeyForm()
    with writing_project(project_id, "keys.change") as (session, access):
        made = make_key(session, access, form.name.data or "", form.scopes.data) if form.validate_on_submit() else []
        if isinstance(made, list):
            form.take(made)
            return _page(session, access, form), 422
    hand_over(f"keys {project_id}", made.key)
    return redirect(url_for("keys.index", project_id=project_id))


@pages.post("/<int:key_id>/delete")
def remove(project_id: int, key_id: int) -> ResponseReturnValue:
    """Programs with this key are refused from now on."""
    with writing_project(project_id, "keys.change") as (session, access):
        revoke_key(session, access, row_of(session, access, ApiKey, key_id))
    flash(_("The key has been revoked."))
    return redirect(url_for("keys.index", project_id=project_id))


def _page(session: Session, access: Access, form: KeyForm, key: str = "") -> str:
    api = f"{hub().settings.public_url}/api/v1"
    return render_template("account/keys.html", keys=keys_of(session, access), form=form, key=key, api=api)
