"""Removing for good what deliveries and calls contain: the question with its figures, and the removal."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from pbxhub.account.access import row_of
from pbxhub.account.content_removal import ToRemove, content_of, refuse_one, remove_content
from pbxhub.account.refusals import ConflictError
from pbxhub.account.resending import MOST_SELECTED
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.web.language import _, said
from pbxhub.web.page_access import enter, reading_project
from pbxhub.web.paging import read_uuid
from pbxhub.wsgi.current import hub, reading

pages = Blueprint("content", __name__, url_prefix="/projects/<int:project_id>/content")


@pages.post("/preview")
def preview(project_id: int) -> ResponseReturnValue:
    """Asks before anything is removed: how much it is, and that there is no way back."""
    with reading_project(project_id, "content.remove") as (session, access):
        which = _which()
        call = row_of(session, access, Call, which.call_id) if which.call_id else None
        try:
            if len(which.ids) == 1:
                row_of(session, access, Delivery, which.ids[0])
                refuse_one(session, access, which.ids[0])
        except ConflictError as error:
            flash(said(error.sentence), "error")
            return redirect(_back(project_id, which))
        found = content_of(session, access, which)
        back = _back(project_id, which)
        return render_template("deliveries/remove.html", which=which, found=found, call=call, back=back)


@pages.post("/remove")
def remove(project_id: int) -> ResponseReturnValue:
    """Removes it. What is still to be sent stays, and is named."""
    with reading() as session:
        access = enter(session, project_id, "content.remove")
    which = _which()
    removed = remove_content(hub().database, access, which)
    done = _("The content is gone. Deliveries: %(n)s, calls: %(calls)s.", n=removed.deliveries, calls=removed.calls)
    flash(done)
    if removed.orders or removed.attributes:
        flash(
            _("Ordered calls that never began: %(n)s, attributes: %(sets)s.", n=removed.orders, sets=removed.attributes)
        )
    if removed.left or removed.calls_left:
        still = _("Still to be sent, or of a call that is going on, and so left as they are: %(n)s.", n=removed.left)
        calls = _("Calls that are left as they are: %(n)s.", n=removed.calls_left)
        flash(f"{still} {calls}", "error")
    return redirect(_back(project_id, which))


def _which() -> ToRemove:
    form = request.form
    ids = [read_uuid(text) for text in form.getlist("id")]
    call_id, number = read_uuid(form.get("call", "")), form.get("number", "").strip()[:80]
    which = ToRemove(tuple(one for one in ids if one), call_id, number, form.get("calls") == "1")
    refusal = which.refusal()
    if None in ids or len(ids) > MOST_SELECTED or refusal:
        abort(400, said(refusal.text) if refusal else _("Choose up to %(n)s deliveries of the list.", n=MOST_SELECTED))
    return which


def _back(project_id: int, which: ToRemove) -> str:
    if which.call_id:
        return url_for("calls.card", project_id=project_id, call_id=which.call_id)
    if len(which.ids) == 1:
        return url_for("deliveries.detail", project_id=project_id, delivery_id=which.ids[0])
    given: Mapping[str, Any] = {"number": which.number} if which.number else {}
    return url_for("deliveries.index", project_id=project_id, **given)
