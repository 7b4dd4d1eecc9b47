"""Webhook error check: what fails, why, what to do; Checked and Send for one, some or all."""

from collections.abc import Mapping
from uuid import UUID

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from pbxhub.account.access import Access, row_of
from pbxhub.account.deliveries import calls_of, webhook_names
from pbxhub.account.names import names_of
from pbxhub.account.refusals import BusyError, ConflictError
from pbxhub.account.resending import (
    MOST_SELECTED,
    USUAL_RATE,
    all_shown,
    mark_checked,
    send_again,
    send_one_again,
    stop_sending,
    unmark_checked,
)
from pbxhub.account.saved_filters import lost_values, saved_filters
from pbxhub.account.statistics import deliveries_of_day, paused, problems, waiting
from pbxhub.delivery.outbox import Selection, changed_since, count_by_webhook
from pbxhub.store.delivery_rows import Delivery
from pbxhub.web.delivery_filter import DeliveryFilter
from pbxhub.web.filter_fields import moment_of
from pbxhub.web.language import _, said
from pbxhub.web.page_access import enter, reading_project, writing_project
from pbxhub.web.paging import read_uuid
from pbxhub.wsgi.current import now, reading

pages = Blueprint("errors", __name__, url_prefix="/projects/<int:project_id>/errors")

RATES = (5, 20, 100)


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Problems first, then every unchecked failure."""
    with reading_project(project_id) as (session, access):
        wanted = DeliveryFilter.of_request(access, unchecked=True)
        page = wanted.page(session, project_id)
        resends, ended = all_shown(session, access)
        return render_template(
            "errors/index.html",
            page=page,
            wanted=wanted,
            names=names_of(session, project_id, calls_of(page.rows)),
            sending={},
            saved=saved_filters(session, access, "errors"),
            lost=lost_values(session, access, wanted.given),
            webhooks=webhook_names(session, access),
            problems=problems(session, project_id),
            resends=resends,
            ended=ended,
            choosing=access.may("deliveries.change"),
            seen=now().isoformat(),
        )


@pages.get("/strip")
def strip(project_id: int) -> ResponseReturnValue:
    """The figures and bars on top; loaded after the page and kept fresh."""
    with reading_project(project_id) as (session, _access):
        return render_template(
            "errors/_strip.html",
            day=deliveries_of_day(session, project_id, now()),
            waiting=waiting(session, project_id),
            paused=paused(session, project_id),
        )


@pages.post("/check")
def checked(project_id: int) -> ResponseReturnValue:
    """Removes deliveries from this page; they stay in the history."""
    with writing_project(project_id, "deliveries.change") as (session, access):
        count = mark_checked(session, access, _selection(access))
        undo = url_for("errors.unchecked", project_id=project_id, moment=access.now.isoformat())
    flash(_("%(n)s taken off the list.", n=count), f"undo {undo}" if count else "message")
    return _back(project_id)


@pages.post("/uncheck")
def unchecked(project_id: int) -> ResponseReturnValue:
    """Undoes Checked: puts back what one press of the button took off the list."""
    with writing_project(project_id, "deliveries.change") as (session, access):
        count = unmark_checked(session, access, moment_of(request.args.get("moment", ""), _("Time")))
    flash(_("%(n)s are on the list again.", n=count))
    return _back(project_id)


@pages.post("/send/preview")
def preview_send(project_id: int) -> ResponseReturnValue:
    """How many would be sent again, of which webhooks; nothing is sent yet."""
    with reading_project(project_id, "deliveries.change") as (session, access):
        selection = _selection(access)
        counts = count_by_webhook(session, project_id, selection)
        names = dict(webhook_names(session, access))
        rows = [(names[webhook_id], count) for webhook_id, count in counts.items()]
        changed = [names[webhook_id] for webhook_id in changed_since(session, project_id, selection)]
        return render_template(
            "errors/send.html", rows=rows, total=sum(counts.values()), rates=RATES, given=request.form, changed=changed
        )


@pages.post("/send")
def send(project_id: int) -> ResponseReturnValue:
    """Resends everything chosen at the given rate."""
    with reading() as session:  # nobody waits while it is counted
        access = enter(session, project_id, "deliveries.change")
        selection = _selection(access)
        total = sum(count_by_webhook(session, project_id, selection).values())
    try:
        with writing_project(project_id, "deliveries.change") as (session, access):
            order = send_again(
                session, access, selection, total, rate_of(request.form), request.form.get("current") == "1"
            )
    except BusyError as error:
        flash(said(error.sentence), "error")
    else:
        flash(_("%(n)s are being sent again.", n=order.total))
    return redirect(url_for("errors.index", project_id=project_id))


@pages.post("/send/<uuid:delivery_id>")
def send_one(project_id: int, delivery_id: UUID) -> ResponseReturnValue:
    """Sends one delivery again at once, as it was or with the current settings. The drawer of a list says itself what
    its page would say."""
    in_drawer = "HX-Request" in request.headers
    with writing_project(project_id, "deliveries.change") as (session, access):
        row_of(session, access, Delivery, delivery_id)
        try:
            send_one_again(session, access, delivery_id, request.form.get("current") == "1")
        except ConflictError as error:
            if in_drawer:
                return Response(said(error.sentence), 409, mimetype="text/plain")
            flash(said(error.sentence), "error")
        else:
            if not in_drawer:
                flash(_("It is being sent again."))
    drawer = "1" if in_drawer else None
    return redirect(url_for("deliveries.detail", project_id=project_id, delivery_id=delivery_id, drawer=drawer))


@pages.get("/resends")
def resends(project_id: int) -> ResponseReturnValue:
    """The progress of what is being sent again, and what became of it."""
    with reading_project(project_id) as (session, access):
        resends, ended = all_shown(session, access)
        return render_template("errors/_resends.html", resends=resends, ended=ended)


@pages.post("/resends/<uuid:resend_id>/stop")
def stop(project_id: int, resend_id: UUID) -> ResponseReturnValue:
    """Stops an order; unsent deliveries get their previous state again, or are gone if it has added them."""
    with writing_project(project_id, "deliveries.change") as (session, access):
        order = stop_sending(session, access, resend_id)
    if order.adds:
        flash(_("Stopped. What had not left is not sent: it is missing again."))
    else:
        flash(_("Stopped. Deliveries not sent yet have their previous state again."))
    return redirect(url_for("errors.index", project_id=project_id))


def rate_of(form: Mapping[str, str]) -> int:
    """The rate that a form asks for, one of RATES."""
    wanted = form.get("rate", "")
    return int(wanted) if wanted in map(str, RATES) else USUAL_RATE


def _selection(access: Access) -> Selection:
    """The selection of a form: the ticked rows, or everything that matches its filters and was shown on its page."""
    form = request.form
    ids = [read_uuid(text) for text in form.getlist("id")]
    if ids:
        if None in ids or len(ids) > MOST_SELECTED:
            abort(400, _("Choose up to %(n)s deliveries of the list, or all that match.", n=MOST_SELECTED))
        return Selection(ids=tuple(filter(None, ids)))
    if form.get("all") != "1":
        abort(400, _("Choose at least one delivery."))
    shown = moment_of(form.get("seen", ""), _("Time of this page"))
    return DeliveryFilter.of(form, access, unchecked=True).shown_by(min(shown, now()))


def _back(project_id: int) -> ResponseReturnValue:
    return redirect(url_for("errors.index", project_id=project_id))
