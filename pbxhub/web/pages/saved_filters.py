"""Saved filters: save the current one of a list, go to one by its short link, delete one."""

from typing import Any

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from pbxhub.account.refusals import NotAllowedError
from pbxhub.account.saved_filters import FIELDS, delete_filter, filter_of, readable, save_filter
from pbxhub.web.language import _, said
from pbxhub.web.page_access import reading_project, writing_project

pages = Blueprint("saved_filters", __name__, url_prefix="/projects/<int:project_id>/filters")


@pages.post("")
def save(project_id: int) -> ResponseReturnValue:
    """Saves the filter of a list under a name."""
    form, page = request.form, request.form.get("page", "")
    given = {name: form[name] for name in FIELDS.get(page, ()) if form.get(name)}
    with writing_project(project_id) as (session, access):
        try:
            saved = save_filter(session, access, page, form.get("name", ""), given, shared=form.get("shared") == "1")
        except NotAllowedError as error:
            flash(said(error.sentence), "error")
        else:
            if isinstance(saved, list):
                flash(said(saved[0].text), "error")
            else:
                flash(_("Saved."))
    return redirect(_list(project_id, page, given))


@pages.get("/<int:filter_id>")
def go(project_id: int, filter_id: int) -> ResponseReturnValue:
    """The short link: to the list with this filter, without values that the list no longer knows."""
    with reading_project(project_id) as (session, access):
        row = filter_of(session, access, filter_id)
        name, page, given = row.name, row.page, row.fields
    known = readable(page, given)
    lost = [value for field, value in given.items() if field not in known]
    if lost:
        values = ", ".join(lost)[:80]
        flash(_("“%(name)s” is shown without %(values)s, which no longer exists. Save it anew.", name=name,
                values=values), "error")  # fmt: skip
    return redirect(_list(project_id, page, known))


@pages.post("/<int:filter_id>/delete")
def remove(project_id: int, filter_id: int) -> ResponseReturnValue:
    """Deletes one."""
    with writing_project(project_id) as (session, access):
        row = filter_of(session, access, filter_id)
        page = row.page
        try:
            delete_filter(session, access, row)
        except NotAllowedError as error:
            flash(said(error.sentence), "error")
        else:
            flash(_("Deleted."))
    return redirect(_list(project_id, page, {}))


def _list(project_id: int, page: str, given: dict[str, str]) -> str:
    """The address of a list with its filter."""
    query: dict[str, Any] = {name: given[name] for name in FIELDS.get(page, ()) if name in given}
    return url_for(f"{page if page in FIELDS else 'calls'}.index", project_id=project_id, **query)
