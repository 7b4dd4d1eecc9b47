"""Webhook error check: what fails, why, what to do; Checked and Send for one, some or all."""

from uuid import UUID

from flask import Blueprint, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.delivery.outbox import (
    CannotResendError,
    Selection,
    check,
    count_by_webhook,
    order_resend,
    resend_one,
    stop_resend,
)
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.resends import Resend
from pbxhub.web.access import enter
from pbxhub.web.deliveries import delivery_rows
from pbxhub.web.delivery_filter import DeliveryFilter, moment_of
from pbxhub.web.language import _
from pbxhub.web.pages.deliveries import webhook_names
from pbxhub.web.paging import read_uuid
from pbxhub.web.stats import deliveries_of_day, paused, problems, waiting
from pbxhub.wsgi.current import hub, now, reading, writing

pages = Blueprint("errors", __name__, url_prefix="/projects/<int:project_id>/errors")

RATES = (5, 20, 100)
MOST_SELECTED = 1000


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Problems first, then every unchecked failure."""
    with reading() as session:
        access = enter(session, project_id)
        wanted = DeliveryFilter.of_request(access.zone, unchecked=True)
        return render_template(
            "errors/index.html",
            page=delivery_rows(session, access.project.id, wanted),
            wanted=wanted,
            webhooks=webhook_names(session, access),
            problems=problems(session, project_id),
            resends=_resends(session, project_id),
            choosing=access.may("deliveries.change"),
            seen=now().isoformat(),
        )


@pages.get("/strip")
def strip(project_id: int) -> ResponseReturnValue:
    """The figures and bars on top; loaded after the page and kept fresh."""
    with reading() as session:
        enter(session, project_id)
        return render_template(
            "errors/_strip.html",
            day=deliveries_of_day(session, project_id, now()),
            waiting=waiting(session, project_id),
            paused=paused(session, project_id),
        )


@pages.post("/check")
def checked(project_id: int) -> ResponseReturnValue:
    """Takes deliveries off this page; they stay in the history."""
    with writing() as session:
        access = enter(session, project_id, "deliveries.change")
        selection = _selection(access)
        count = check(session, project_id, selection, now())
        note(session, access, "failures checked", str(count))
    flash(_("%(n)s taken off the list.", n=count))
    return _back(project_id)


@pages.post("/send/preview")
def preview_send(project_id: int) -> ResponseReturnValue:
    """How many would be sent again, of which webhooks; nothing is sent yet."""
    with reading() as session:
        access = enter(session, project_id, "deliveries.change")
        selection = _selection(access)
        counts = count_by_webhook(session, project_id, selection)
        names = dict(webhook_names(session, access))
        rows = [(names[webhook_id], count) for webhook_id, count in counts.items()]
        return render_template(
            "errors/send.html", rows=rows, total=sum(counts.values()), rates=RATES, given=request.form
        )


@pages.post("/send")
def send(project_id: int) -> ResponseReturnValue:
    """Orders the sending again of everything chosen, at the given rate."""
    rate = request.form.get("rate", "20")
    with writing() as session:
        access = enter(session, project_id, "deliveries.change")
        selection = _selection(access)
        order = order_resend(
            session,
            project_id,
            selection,
            now(),
            rate=int(rate) if rate in map(str, RATES) else 20,
            current_settings=request.form.get("current") == "1",
            author_id=access.user.id,
        )
        note(session, access, "sent again", str(order.total))
    flash(_("%(n)s are being sent again.", n=order.total))
    return redirect(url_for("errors.index", project_id=project_id))


@pages.post("/send/<uuid:delivery_id>")
def send_one(project_id: int, delivery_id: UUID) -> ResponseReturnValue:
    """Sends one delivery again at once, as it was or with the current settings."""
    with writing() as session:
        access = enter(session, project_id, "deliveries.change")
        delivery = session.get(Delivery, delivery_id)
        if delivery is None or delivery.project_id != project_id:
            abort(404)
        current = request.form.get("current") == "1"
        try:
            resend_one(hub().context, session, project_id, delivery_id, now(), current)
        except CannotResendError as error:
            flash(str(error), "error")
        else:
            note(session, access, "sent again", str(delivery_id))
            flash(_("It is being sent again."))
    return redirect(url_for("deliveries.detail", project_id=project_id, delivery_id=delivery_id))


@pages.get("/resends")
def resends(project_id: int) -> ResponseReturnValue:
    """The progress of what is being sent again."""
    with reading() as session:
        enter(session, project_id)
        return render_template("errors/_resends.html", resends=_resends(session, project_id))


@pages.post("/resends/<uuid:resend_id>/stop")
def stop(project_id: int, resend_id: UUID) -> ResponseReturnValue:
    """Stops an order; what was not sent yet is as it was before."""
    with writing() as session:
        access = enter(session, project_id, "deliveries.change")
        if not stop_resend(session, project_id, resend_id, now()):
            abort(404)
        note(session, access, "sending again stopped", str(resend_id))
    flash(_("Stopped. What was not sent yet is what it was before."))
    return redirect(url_for("errors.index", project_id=project_id))


def _selection(access: Access) -> Selection:
    """What a form is about: ticked rows, or everything that its filters match and that its page has shown."""
    form = request.form
    ids = [read_uuid(text) for text in form.getlist("id")]
    if ids:
        if None in ids or len(ids) > MOST_SELECTED:
            abort(400, _("Choose up to %(n)s deliveries of the list, or all that match.", n=MOST_SELECTED))
        return Selection(ids=tuple(filter(None, ids)))
    if form.get("all") != "1":
        abort(400, _("Choose at least one delivery."))
    shown = moment_of(form.get("seen", ""), _("When the page was made"))
    return DeliveryFilter.of(form, access.zone, unchecked=True).shown_by(min(shown, now()))


def _resends(session: Session, project_id: int) -> list[Resend]:
    return list(
        session.scalars(select(Resend).where(Resend.project_id == project_id).order_by(Resend.id.desc()).limit(3))
    )


def _back(project_id: int) -> ResponseReturnValue:
    return redirect(url_for("errors.index", project_id=project_id))
