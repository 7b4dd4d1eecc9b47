"""Why nothing was sent: the stages of a period that no webhook took, each with the reason of each of its webhooks,
and the button that sends one or several of them after all."""

from typing import Any, NoReturn
from uuid import UUID

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from pbxhub.account.names import names_of
from pbxhub.account.unsent import MOST_CHOSEN, MOST_EXAMINED, Untaken, UntakenFilter, send_chosen, untaken
from pbxhub.web.filter_fields import times_of
from pbxhub.web.language import _, said
from pbxhub.web.page_access import reading_project, writing_project
from pbxhub.web.paging import Page, page_size, read_uuid, uuid_key
from pbxhub.wsgi.current import hub

pages = Blueprint("unsent", __name__, url_prefix="/projects/<int:project_id>/unsent")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """The stages, newest first: of the last 24 hours unless another period is chosen."""
    given = _given()
    with reading_project(project_id) as (session, access):
        since, until = times_of(given, access.zone)
        wanted = UntakenFilter(since, until, given.get("all") == "1", uuid_key())
        found = untaken(session, access, wanted, page_size())
        page: Page[Untaken] = Page(found.rows, str(found.next or ""))
        names = names_of(session, project_id, [row.call for row in page.rows])
        return render_template(
            "calls/unsent.html", page=page, given=given, names=names, examined=MOST_EXAMINED, found=found,
            days=hub().context.kept.days,
        )  # fmt: skip


@pages.post("")
def send(project_id: int) -> ResponseReturnValue:
    """Sends the chosen ones."""
    with writing_project(project_id, "webhooks.change") as (session, access):
        chosen = [_pair(text) for text in request.form.getlist("which")]
        if not 0 < len(chosen) <= MOST_CHOSEN:
            _choose()
        sent, refusal = send_chosen(session, access, chosen)
    if sent:
        flash(_("%(n)s are being sent.", n=sent))
    if refusal:
        flash(said(refusal), "error")
    kept: dict[str, Any] = _given()
    return redirect(url_for("unsent.index", project_id=project_id, **kept))


def _given() -> dict[str, str]:
    """The period, and whether stages that no webhook waits for are shown."""
    given = {name: request.args[name] for name in ("from", "to", "all") if request.args.get(name)}
    always = "" if {"from", "to"} & given.keys() else "24h"
    return {"last": request.args.get("last", always), **given}


def _pair(text: str) -> tuple[UUID, int]:
    """A stage and a webhook, as a form names them."""
    event, _colon, webhook = text.partition(":")
    event_id = read_uuid(event)
    if event_id is None or not webhook.isascii() or not webhook.isdigit() or len(webhook) > 9:
        _choose()
    return event_id, int(webhook)


def _choose() -> NoReturn:
    abort(400, _("Choose 1 to %(n)s in the list.", n=MOST_CHOSEN))
