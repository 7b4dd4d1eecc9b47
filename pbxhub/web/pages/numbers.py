"""Numbers: labels of the DIDs, and which project their calls belong to."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session
from wtforms import SelectField, StringField
from wtforms.fields import SelectChoice

from pbxhub.account.access import row_of
from pbxhub.account.numbers import delete_number, save_number
from pbxhub.store.accounts import Number, Pbx
from pbxhub.web.forms import Form, Hint
from pbxhub.web.language import _, lazy_gettext
from pbxhub.web.page_access import reading_project, writing_project

pages = Blueprint("numbers", __name__, url_prefix="/projects/<int:project_id>/numbers")


class NumberForm(Form):
    """A number of ours."""

    pbx_id = SelectField("PBX", coerce=int)
    did = StringField(
        lazy_gettext("Number (DID)"),
        [Hint(required=True, maxlength=80)],
        description=lazy_gettext("Exactly as the PBX receives it."),
    )
    label = StringField(lazy_gettext("Label"), [Hint(maxlength=200)], description=lazy_gettext("Sent as <<n_alias>>."))


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Every labelled number."""
    with reading_project(project_id) as (session, _access):
        rows = session.execute(
            select(Number, Pbx.name).join(Pbx).where(Number.project_id == project_id).order_by(Number.did).limit(2000)
        ).all()
        return render_template("account/numbers.html", rows=rows, pbxs=_pbxs(session, project_id))


@pages.route("/new", methods=["GET", "POST"], defaults={"number_id": None})
@pages.route("/<int:number_id>", methods=["GET", "POST"])
def number(project_id: int, number_id: int | None) -> ResponseReturnValue:
    """One number: new, or changed."""
    with reading_project(project_id, "numbers.change") as (session, access):
        row = row_of(session, access, Number, number_id) if number_id else None
        form = NumberForm(obj=row)
        form.pbx_id.choices = _pbxs(session, project_id)
    if form.validate_on_submit() and _save(project_id, number_id, form):
        flash(_("Saved."))
        return redirect(url_for("numbers.index", project_id=project_id))
    return render_template(
        "account/form.html",
        form=form,
        title=row.did if row else _("New number"),
        submit=_("Save"),
        back=url_for("numbers.index", project_id=project_id),
        delete=url_for("numbers.remove", project_id=project_id, number_id=row.id) if row else "",
    )


@pages.post("/<int:number_id>/delete")
def remove(project_id: int, number_id: int) -> ResponseReturnValue:
    """Deletes a number's entry."""
    with writing_project(project_id, "numbers.change") as (session, access):
        row = row_of(session, access, Number, number_id)
        delete_number(session, access, row)
    flash(_("Deleted."))
    return redirect(url_for("numbers.index", project_id=project_id))


def _save(project_id: int, number_id: int | None, form: NumberForm) -> bool:
    with writing_project(project_id, "numbers.change") as (session, access):
        row = row_of(session, access, Number, number_id) if number_id else None
        saved = save_number(session, access, row, form.data)
        return form.take(saved if isinstance(saved, list) else [])


def _pbxs(session: Session, project_id: int) -> list[SelectChoice]:
    rows = session.execute(select(Pbx.id, Pbx.name).where(Pbx.project_id == project_id).order_by(Pbx.id))
    return [SelectChoice(row.id, row.name) for row in rows]
