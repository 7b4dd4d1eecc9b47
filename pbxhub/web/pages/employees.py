"""Employees: the cards behind extensions."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from wtforms import StringField

from pbxhub.account.access import row_of
from pbxhub.account.employees import delete_employee, save_employee
from pbxhub.store.accounts import Employee
from pbxhub.web.forms import Form, Hint
from pbxhub.web.language import _, lazy_gettext
from pbxhub.web.page_access import reading_project, writing_project

pages = Blueprint("people", __name__, url_prefix="/projects/<int:project_id>/employees")


class NamesField(StringField):  # type: ignore[misc]
    """Several names in one line, separated by commas."""

    def _value(self) -> str:
        return ", ".join(self.data or ())

    def process_formdata(self, valuelist: list[str]) -> None:
        self.data = [name.strip() for text in valuelist for name in text.split(",") if name.strip()]


class EmployeeForm(Form):
    """The card of an extension."""

    extension = StringField(lazy_gettext("Extension"), [Hint(required=True, maxlength=80)])
    endpoints = NamesField(
        lazy_gettext("Endpoints"),
        description=lazy_gettext(
            "Names of the phones in Asterisk, separated by commas, such as PJSIP/anna2. Required if they "
            "differ from the extension."
        ),
    )
    name = StringField(lazy_gettext("Name"), [Hint(maxlength=200)])
    email = StringField(lazy_gettext("E-mail"), [Hint(maxlength=255)])
    department = StringField(lazy_gettext("Department"), [Hint(maxlength=200)])
    crm_id = StringField(
        lazy_gettext("Id in your CRM"), [Hint(maxlength=200)], description=lazy_gettext("Sent as <<manager_id>>.")
    )


@pages.get("")
def employees(project_id: int) -> ResponseReturnValue:
    """Everybody with an extension."""
    with reading_project(project_id) as (session, _access):
        rows = session.scalars(
            select(Employee).where(Employee.project_id == project_id).order_by(Employee.extension).limit(2000)
        ).all()
        return render_template("account/employees.html", rows=rows)


@pages.route("/new", methods=["GET", "POST"], defaults={"employee_id": None})
@pages.route("/<int:employee_id>", methods=["GET", "POST"])
def employee(project_id: int, employee_id: int | None) -> ResponseReturnValue:
    """One card: new, or changed."""
    with reading_project(project_id, "employees.change") as (session, access):
        row = row_of(session, access, Employee, employee_id) if employee_id else None
        form = EmployeeForm(obj=row)
    if form.validate_on_submit() and _save(project_id, employee_id, form):
        flash(_("Saved."))
        return redirect(url_for("people.employees", project_id=project_id))
    title = row.name or row.extension if row else _("New employee")
    return render_template(
        "account/form.html",
        form=form,
        title=title,
        submit=_("Save"),
        back=url_for("people.employees", project_id=project_id),
        delete=url_for("people.remove", project_id=project_id, employee_id=row.id) if row else "",
    )


@pages.post("/<int:employee_id>/delete")
def remove(project_id: int, employee_id: int) -> ResponseReturnValue:
    """Deletes a card; calls keep their extension."""
    with writing_project(project_id, "employees.change") as (session, access):
        row = row_of(session, access, Employee, employee_id)
        delete_employee(session, access, row)
    flash(_("Deleted."))
    return redirect(url_for("people.employees", project_id=project_id))


def _save(project_id: int, employee_id: int | None, form: EmployeeForm) -> bool:
    with writing_project(project_id, "employees.change") as (session, access):
        row = row_of(session, access, Employee, employee_id) if employee_id else None
        saved = save_employee(session, access, row, form.data)
        return form.take(saved if isinstance(saved, list) else [])
