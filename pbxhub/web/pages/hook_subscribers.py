"""Who is subscribed to what happens: Zapier, n8n, programs."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from pbxhub.account.resthook_subscribers import remove_subscriber, subscriptions
from pbxhub.account.secret_visibility import visible_spec
from pbxhub.web.language import _
from pbxhub.web.page_access import reading_project, writing_project
from pbxhub.webhooks.whole_event import SUBSCRIBABLE

pages = Blueprint("resthooks", __name__, url_prefix="/projects/<int:project_id>/resthooks")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Every subscriber of the project, by hook."""
    with reading_project(project_id) as (session, access):
        rows = [
            (row, visible_spec(access, row.webhook.spec).get("filters", [])) for row in subscriptions(session, access)
        ]
        return render_template("webhooks/subscribers.html", rows=rows, stages=SUBSCRIBABLE)


@pages.post("/<name>/<int:subscriber_id>/delete")
def remove(project_id: int, name: str, subscriber_id: int) -> ResponseReturnValue:
    """Nothing more is sent there."""
    with writing_project(project_id, "webhooks.change") as (session, access):
        remove_subscriber(session, access, name, subscriber_id)
    flash(_("Deleted."))
    return redirect(url_for("resthooks.index", project_id=project_id))
