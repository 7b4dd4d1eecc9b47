"""Who is subscribed to what happens: Zapier, n8n, programs."""

from flask import Blueprint, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from pbxhub.account.resthook_subscribers import remove_subscriber, subscriptions
from pbxhub.account.secret_visibility import visible_spec
from pbxhub.web.language import _
from pbxhub.web.page_access import enter
from pbxhub.webhooks.whole_event import SUBSCRIBABLE
from pbxhub.wsgi.current import reading, writing

pages = Blueprint("resthooks", __name__, url_prefix="/projects/<int:project_id>/resthooks")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Every subscriber of the project, by hook."""
    with reading() as session:
        access = enter(session, project_id)
        rows = [
            (row, visible_spec(access, row.webhook.spec).get("filters", [])) for row in subscriptions(session, access)
        ]
        return render_template("webhooks/subscribers.html", rows=rows, stages=SUBSCRIBABLE)


@pages.post("/<name>/<int:subscriber_id>/delete")
def remove(project_id: int, name: str, subscriber_id: int) -> ResponseReturnValue:
    """Nothing more is sent there."""
    with writing() as session:
        access = enter(session, project_id, "webhooks.change")
        remove_subscriber(session, access, name, subscriber_id)
    flash(_("Deleted."))
    return redirect(url_for("resthooks.index", project_id=project_id))
