"""What one webhook has not got of a period, with the reasons, and the button that sends it after all."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from pbxhub.account.names import names_of
from pbxhub.account.refusals import BusyError, ConflictError
from pbxhub.account.replays import count_lacking, lacking, send_lacking
from pbxhub.account.webhooks import webhook_of
from pbxhub.web.filter_fields import moment_of, times_of
from pbxhub.web.language import _, said
from pbxhub.web.page_access import enter, reading_project, writing_project
from pbxhub.web.pages.errors import RATES, rate_of
from pbxhub.wsgi.current import hub, reading

pages = Blueprint("replays", __name__, url_prefix="/projects/<int:project_id>/webhooks/<int:webhook_id>/missing")


@pages.get("")
def index(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """The stages without a request of this webhook: how many, and the newest of them, each with the reason."""
    given = {name: request.args[name] for name in ("last", "from", "to") if request.args.get(name)} or {"last": "24h"}
    with reading_project(project_id, "webhooks.change") as (session, access):
        webhook = webhook_of(session, access, webhook_id)
        since, until = times_of(given, access.zone)
        found = lacking(session, access, webhook, since, until)
        names = names_of(session, project_id, [call for _event, call, _why in found.newest])
        return render_template(
            "webhooks/missing.html", webhook=webhook, found=found, given=given, rates=RATES, names=names,
            days=hub().context.kept.days,
        )  # fmt: skip


@pages.post("")
def send(project_id: int, webhook_id: int) -> ResponseReturnValue:
    """Sends all of it at the given rate."""
    form = request.form
    try:
        with reading() as session:  # nobody waits while it is counted
            access = enter(session, project_id, "webhooks.change")
            webhook = webhook_of(session, access, webhook_id)
            since, until = moment_of(form.get("since", ""), _("From")), moment_of(form.get("until", ""), _("To"))
            counted = count_lacking(session, access, webhook, since, until, refused=form.get("refused") == "1")
        if isinstance(counted, list):
            return _refused(project_id, webhook_id, counted[0].text)
        with writing_project(project_id, "webhooks.change") as (session, access):
            webhook = webhook_of(session, access, webhook_id)
            order = send_lacking(session, access, webhook, counted, rate=rate_of(form))
    except (BusyError, ConflictError) as error:
        return _refused(project_id, webhook_id, error.sentence)
    flash(_("%(n)s are being sent.", n=order.total))
    return redirect(url_for("errors.index", project_id=project_id))


def _refused(project_id: int, webhook_id: int, sentence: str) -> ResponseReturnValue:
    flash(said(sentence), "error")
    return redirect(url_for("replays.index", project_id=project_id, webhook_id=webhook_id))
