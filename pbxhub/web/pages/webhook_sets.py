"""Sets on the page of webhooks: switched, renamed and deleted together."""

from flask import Blueprint, flash, redirect, request, url_for
from flask.typing import ResponseReturnValue

from pbxhub.account.crm_calls import is_without_address
from pbxhub.account.webhook_sets import bring_set_back, remove_set, rename_set, set_named, switch_set
from pbxhub.web.language import _, said
from pbxhub.web.page_access import writing_project
from pbxhub.web.pages.webhooks import not_brought_back, say_address_is_gone
from pbxhub.webhooks.spec import SpecError

pages = Blueprint("webhook_sets", __name__, url_prefix="/projects/<int:project_id>/webhooks/sets")


@pages.post("/enabled")
def enable_set(project_id: int) -> ResponseReturnValue:
    """Switches all events of a set on or off, or says what they lack."""
    try:
        with writing_project(project_id, "webhooks.change") as (session, access):
            found = set_named(session, access, request.form.get("set", ""))
            switch_set(session, access, found, request.form.get("enabled") == "1")
    except SpecError as error:
        return _refused(project_id, error)
    return redirect(url_for("webhooks.index", project_id=project_id))


@pages.post("/rename")
def name_set(project_id: int) -> ResponseReturnValue:
    """Renames a set."""
    try:
        with writing_project(project_id, "webhooks.change") as (session, access):
            found = set_named(session, access, request.form.get("set", ""))
            rename_set(session, access, found, request.form.get("name", ""))
    except SpecError as error:
        return _refused(project_id, error)
    return redirect(url_for("webhooks.index", project_id=project_id))


@pages.post("/delete")
def delete_set(project_id: int) -> ResponseReturnValue:
    """Deletes all events of a set: pending deliveries are cancelled, sent ones stay in the history."""
    with writing_project(project_id, "webhooks.change") as (session, access):
        found = set_named(session, access, request.form.get("set", ""))
        remove_set(session, access, found)
    undo = url_for("webhook_sets.bring_back", project_id=project_id, set=found.name)
    flash(_("%(name)s was deleted.", name=found.name), f"undo {undo}")
    return redirect(url_for("webhooks.index", project_id=project_id))


@pages.post("/bring-back")
def bring_back(project_id: int) -> ResponseReturnValue:
    """Undoes the deletion of a set."""
    name = request.args.get("set", "")
    try:
        with writing_project(project_id, "webhooks.change") as (session, access):
            found = bring_set_back(session, access, name)
            lost = is_without_address(session, access, name)
    except SpecError as error:
        return not_brought_back(project_id, error)
    if found.enabled:
        flash(_("%(name)s is there again, switched on.", name=found.name))
    else:
        flash(_("%(name)s is there again, switched off. If it had secrets, enter them again.", name=found.name))
    if lost:
        say_address_is_gone()
    return redirect(url_for("webhooks.index", project_id=project_id))


def _refused(project_id: int, error: SpecError) -> ResponseReturnValue:
    first = error.errors[0]
    flash(f"{first.path}: {said(first.message)}", "error")
    return redirect(url_for("webhooks.index", project_id=project_id))
