"""Calls of a project: those in progress, the history with search, and the page of one call."""

from collections.abc import Sequence
from uuid import UUID

from flask import Blueprint, Response, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, row_of
from pbxhub.account.call_events import events_of, recording_of
from pbxhub.account.call_filter import CallFilter
from pbxhub.account.call_history import (
    count_ended_since,
    deliveries_of,
    ended_calls,
    live_calls,
    questions_of,
    read_place,
    stages_of,
    write_place,
)
from pbxhub.account.call_report import By, report_calls
from pbxhub.account.call_timeline import Timeline, timeline_of
from pbxhub.account.deliveries import sent_since
from pbxhub.account.filter_values import DIRECTIONS
from pbxhub.account.names import choices, names_of
from pbxhub.account.refusals import ConflictError
from pbxhub.account.saved_filters import lost_values, saved_filters
from pbxhub.account.why_unsent import omitted, send_after_all
from pbxhub.store.accounts import Pbx
from pbxhub.store.history import Call, StageEvent
from pbxhub.web.call_list_filter import DISPOSITIONS, calls_of_request
from pbxhub.web.filter_fields import FieldReader
from pbxhub.web.language import _, said
from pbxhub.web.page_access import reading_project, writing_project
from pbxhub.web.pages.recordings import recording_link
from pbxhub.web.paging import Page, page_size, read_uuid
from pbxhub.wsgi.current import hub, now

pages = Blueprint("calls", __name__, url_prefix="/projects/<int:project_id>/calls")

_DAYS_REPORTED = "7d"


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Live calls on top, then the history, newest first."""
    with reading_project(project_id) as (session, access):
        wanted = calls_of_request(session, access)
        page = _history(session, access, wanted.selection)
        if "HX-Request" in request.headers:
            names = names_of(session, project_id, page.rows)
            return render_template("calls/_rows.html", page=page, wanted=wanted, names=names)
        live = live_calls(session, access)
        names = names_of(session, project_id, (*page.rows, *(one for one, _ in live)))
        return render_template(
            "calls/index.html", page=page, live=live, wanted=wanted, dispositions=DISPOSITIONS, names=names,
            choices=choices(session, access), saved=saved_filters(session, access, "calls"),
            lost=lost_values(session, access, wanted.given),
        )  # fmt: skip


@pages.get("/report")
def report(project_id: int) -> ResponseReturnValue:
    """What employees, or numbers, did in a period: the last seven days unless another one is chosen. Numbers have
    incoming calls only, so their report takes no direction along."""
    with reading_project(project_id) as (session, access):
        given = {"last": _DAYS_REPORTED, **request.args} if not _says_when() else dict(request.args)
        read = FieldReader({name: text for name, text in given.items() if text})
        since, until = read.time_range(access.zone)
        by: By = "number" if read.choice("by", _("Report"), ("employee", "number")) == "number" else "employee"
        direction = read.choice("direction", _("Direction"), DIRECTIONS) if by == "employee" else ""
        given["direction"] = direction
        found = report_calls(session, access, CallFilter(direction=direction, since=since, until=until), by)
        return render_template("calls/report.html", found=found, by=by, given=given)


@pages.get("/live")
def live(project_id: int) -> ResponseReturnValue:
    """The calls in progress, and whether the history has grown since the page was loaded."""
    with reading_project(project_id) as (session, access):
        newer = count_ended_since(session, access, read_uuid(request.args.get("since", "")))
        live = live_calls(session, access)
        names = names_of(session, project_id, [call for call, _ in live])
        return render_template("calls/_live.html", live=live, newer=newer, names=names)


@pages.get("/<uuid:call_id>")
def card(project_id: int, call_id: UUID) -> ResponseReturnValue:
    """Everything about one call: stages, legs, deliveries, parameters."""
    with reading_project(project_id) as (session, access):
        call = row_of(session, access, Call, call_id)
        pbx = session.get(Pbx, call.pbx_id) if call.pbx_id else None
        template = "calls/_card.html" if "HX-Request" in request.headers else "calls/card.html"
        recording = recording_link(call, access.project) if call.data.get("recording_file") else ""
        stages, deliveries = stages_of(session, call), deliveries_of(session, call)
        sending = sent_since(session, [row for row, _name in deliveries], access.now)
        timeline = timeline_of(call, stages, deliveries, now())
        shows_why = call.ended_on and access.may("webhooks.change")  # conditions may hold secrets
        left_out = omitted(session, access, call, stages, [row for row, _name in deliveries]) if shows_why else {}
        names = names_of(session, project_id, [call], _parties(stages, timeline))
        return render_template(
            template, call=call, stages=stages, deliveries=deliveries, pbx=pbx, recording=recording,
            questions=questions_of(session, call), endpoint=_endpoint(call), timeline=timeline, names=names,
            omitted=left_out, sending=sending,
        )  # fmt: skip


@pages.post("/<uuid:call_id>/stages/<uuid:event_id>/send/<int:webhook_id>")
def send_missing(project_id: int, call_id: UUID, event_id: UUID, webhook_id: int) -> ResponseReturnValue:
    """Sends a stage to a webhook that has sent nothing for it."""
    with writing_project(project_id, "webhooks.change") as (session, access):
        try:
            send_after_all(session, access, row_of(session, access, Call, call_id), event_id, webhook_id)
        except ConflictError as error:
            flash(said(error.sentence), "error")
        else:
            flash(_("It is being sent."))
    return redirect(url_for("calls.card", project_id=project_id, call_id=call_id))


@pages.get("/<uuid:call_id>/events")
def events(project_id: int, call_id: UUID) -> ResponseReturnValue:
    """The AMI events of the call, each with the stages that it led to."""
    with reading_project(project_id) as (session, access):
        call = row_of(session, access, Call, call_id)
        found = events_of(session, access, call)
        return render_template("calls/events.html", call=call, events=found, days=hub().settings.keep_call_events)


@pages.get("/<uuid:call_id>/events.ami")
def recording(project_id: int, call_id: UUID) -> ResponseReturnValue:
    """The same as a file that `pbxhub replay` reads."""
    with reading_project(project_id) as (session, access):
        call = row_of(session, access, Call, call_id)
        text = recording_of(session, access, call)
    name = f'attachment; filename="call-{call.id}.ami"'
    return Response(text, mimetype="text/plain", headers={"Content-Disposition": name})


def _parties(stages: Sequence[StageEvent], timeline: Timeline) -> set[str]:
    """The extensions that the page of a call names."""
    told = {str(event.data.get(name) or "") for event in stages for name in ("extension", "forward_to")}
    return told | {lane.who for lane in timeline.lanes}


def _endpoint(call: Call) -> str:
    """The employee's phone as Asterisk names it, such as PJSIP/anna2; "" when nobody was called."""
    channel = call.data.get("dst_channel" if call.direction == "incoming" else "channel")
    return str(channel or "").rpartition("-")[0]


def _says_when() -> bool:
    return any(request.args.get(name) for name in ("last", "from", "to"))


def _history(session: Session, access: Access, wanted: CallFilter) -> Page[Call]:
    size = page_size()
    rows = ended_calls(session, access, wanted, read_place(request.args.get("before", "")), size + 1)
    return Page(rows[:size], write_place(rows[size - 1]) if len(rows) > size else "")
