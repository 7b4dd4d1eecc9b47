"""Calls of a project: those going on now, the history with search, and the card of one call."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from flask import Blueprint, Response, abort, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.call_events import events_of, recording_of
from pbxhub.account.employees import employee_names
from pbxhub.store.accounts import Pbx
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.questions import Question
from pbxhub.store.webhooks import Webhook
from pbxhub.web.access import enter
from pbxhub.web.pages.recordings import recording_link
from pbxhub.web.paging import PAGE, Page, moment_key, read_uuid, write_moment_key
from pbxhub.wsgi.current import hub, reading

pages = Blueprint("calls", __name__, url_prefix="/projects/<int:project_id>/calls")

DISPOSITIONS = ("ANSWERED", "NO ANSWER", "BUSY", "DECLINE", "FAILED", "NO-FORWARD", "PROPER", "REPEATED", "VOICEMAIL")
_LIVE = 30


@dataclass(frozen=True, slots=True)
class CallFilter:
    """What the list shows; every field is a part of the link."""

    number: str
    direction: str
    disposition: str

    @classmethod
    def of_request(cls) -> "CallFilter":
        read = request.args.get
        return cls(read("number", "").strip()[:80], read("direction", ""), read("disposition", ""))

    def apply(self, query: Select[Call]) -> Select[Call]:
        if self.direction:
            query = query.where(Call.direction == self.direction)
        if self.disposition:
            query = query.where(Call.disposition == self.disposition)
        if self.number:
            query = query.where(_has_number(self.number))
        return query

    @property
    def active(self) -> bool:
        return bool(self.number or self.direction or self.disposition)


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Live calls on top, then the history, newest first."""
    with reading() as session:
        access = enter(session, project_id)
        wanted = CallFilter.of_request()
        page = _history(session, access, wanted)
        template = "calls/_rows.html" if "HX-Request" in request.headers else "calls/index.html"
        live = _live(session, access)
        names = employee_names(session, project_id, {call.extension for call in page.rows})
        return render_template(template, page=page, live=live, wanted=wanted, dispositions=DISPOSITIONS, names=names)


@pages.get("/live")
def live(project_id: int) -> ResponseReturnValue:
    """The calls going on now, and whether the history has grown since the page was loaded."""
    with reading() as session:
        access = enter(session, project_id)
        newer = _newer(session, access, request.args.get("since", ""))
        return render_template("calls/_live.html", live=_live(session, access), newer=newer)


@pages.get("/<uuid:call_id>")
def card(project_id: int, call_id: UUID) -> ResponseReturnValue:
    """Everything about one call: stages, legs, deliveries, parameters."""
    with reading() as session:
        access = enter(session, project_id)
        call = _call(session, access, call_id)
        stages = session.scalars(
            select(StageEvent).where(StageEvent.call_id == call.id).order_by(StageEvent.created_on, StageEvent.id)
        ).all()
        deliveries = session.execute(
            select(Delivery, Webhook.name)
            .join(Webhook, Webhook.id == Delivery.webhook_id)
            .where(Delivery.call_id == call.id)
            .order_by(Delivery.id)
            .limit(500)
        ).all()
        pbx = session.get(Pbx, call.pbx_id) if call.pbx_id else None
        template = "calls/_card.html" if "HX-Request" in request.headers else "calls/card.html"
        recording = recording_link(call) if call.data.get("recording_file") else ""
        return render_template(
            template, call=call, stages=stages, deliveries=deliveries, pbx=pbx, recording=recording,
            questions=questions_of(session, call.id), endpoint=_endpoint(call),
            employee=employee_names(session, project_id, {call.extension}).get(call.extension, ""),
        )  # fmt: skip


@pages.get("/<uuid:call_id>/events")
def events(project_id: int, call_id: UUID) -> ResponseReturnValue:
    """How the call was told: what AMI sent of it, and which stage was told after which event."""
    with reading() as session:
        access = enter(session, project_id)
        call = _call(session, access, call_id)
        found = events_of(session, access, call)
        return render_template("calls/events.html", call=call, events=found, days=hub().settings.keep_call_events)


@pages.get("/<uuid:call_id>/events.ami")
def recording(project_id: int, call_id: UUID) -> ResponseReturnValue:
    """The same as a file that `pbxhub replay` reads."""
    with reading() as session:
        access = enter(session, project_id)
        call = _call(session, access, call_id)
        pbx = session.get(Pbx, call.pbx_id) if call.pbx_id else None
        text = recording_of(
            events_of(session, access, call), f"call {call.linkedid}", pbx.incoming_contexts if pbx else ()
        )
    name = f'attachment; filename="call-{call.id}.ami"'
    return Response(text, mimetype="text/plain", headers={"Content-Disposition": name})


def _call(session: Session, access: Access, call_id: UUID) -> Call:
    call = session.get(Call, call_id)
    if call is None or call.project_id != access.project.id:
        abort(404)
    return call


def _endpoint(call: Call) -> str:
    """The phone of the employee, as the PBX calls it: PJSIP/anna2; empty where nobody was called."""
    channel = call.data.get("dst_channel" if call.direction == "incoming" else "channel")
    return str(channel or "").rpartition("-")[0]


def questions_of(session: Session, call_id: UUID) -> list[tuple[Delivery, Question, str]]:
    """What the call asked, what it was told and what was done, in order."""
    rows = session.execute(
        select(Delivery, Question, Webhook.name)
        .join(Question, Question.delivery_id == Delivery.id)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .where(Delivery.call_id == call_id)
        .order_by(Delivery.id)
    )
    return [(row[0], row[1], row[2]) for row in rows]


def _live(session: Session, access: Access) -> list[tuple[Call, str]]:
    """Calls going on now with their last stage, oldest first so that rows keep their place."""
    last = (
        select(StageEvent.stage)
        .where(StageEvent.call_id == Call.id)
        .order_by(StageEvent.created_on.desc(), StageEvent.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = session.execute(
        select(Call, func.coalesce(last, ""))
        .where(Call.pbx_id.in_(select(Pbx.id)), Call.ended_on.is_(None), Call.project_id == access.project.id)
        .order_by(Call.started_on, Call.id)
        .limit(_LIVE)
    )
    return [(call, stage) for call, stage in rows]


def _history(session: Session, access: Access, wanted: CallFilter) -> Page[Call]:
    query = select(Call).where(Call.project_id == access.project.id, Call.ended_on.is_not(None))
    query = wanted.apply(query).order_by(Call.started_on.desc(), Call.id.desc()).limit(PAGE + 1)
    if key := moment_key():
        query = query.where(_before(*key))
    rows = session.scalars(query).all()
    more = rows[PAGE - 1] if len(rows) > PAGE else None
    return Page(rows[:PAGE], write_moment_key(more.started_on, more.id) if more else "")


def _before(moment: datetime, call_id: UUID) -> ColumnElement[bool]:
    return and_(Call.started_on <= moment, or_(Call.started_on < moment, Call.id < call_id))


def _newer(session: Session, access: Access, since: str) -> int:
    """How many calls ended since the one with this id; 0 when the id says nothing."""
    newest = read_uuid(since)
    if newest is None:
        return 0
    return (
        session.scalar(
            select(func.count()).select_from(
                select(Call.id)
                .where(Call.project_id == access.project.id, Call.id > newest, Call.ended_on.is_not(None))
                .limit(100)
                .subquery()
            )
        )
        or 0
    )


def _has_number(text: str) -> ColumnElement[bool]:
    """Calls whose outside number, DID or extension begins with the text, or whose linkedid it is. With or without +."""
    starts = {text, text.lstrip("+"), f"+{text.lstrip('+')}"}
    numbers = (Call.caller, Call.person, Call.dst)
    ranges = [and_(column >= start, column < start + "\U0010ffff") for column in numbers for start in starts]
    return or_(*ranges, Call.extension == text, Call.linkedid == text)
