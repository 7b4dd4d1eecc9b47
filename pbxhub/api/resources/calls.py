"""Calls: the history, and calls that programs order."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.call_events import events_of
from pbxhub.account.dial_plans import refuse_number
from pbxhub.account.visible import visible_url, visible_values
from pbxhub.api import schemas
from pbxhub.api.answers import page
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.keys import enter, needs
from pbxhub.api.problems import refuse, wrong_field
from pbxhub.api.resources.history import uuid_after
from pbxhub.delivery.outbox import add_later, ask_cancel, open_orders, publish_later, register
from pbxhub.steering.dialplan_text import EXTENSION
from pbxhub.steering.number_rules import NUMBER
from pbxhub.store.accounts import Pbx, Project, lock_project
from pbxhub.store.columns import one_of
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.ordered_calls import CHANNEL_PREFIX, FINAL, DialPlan, OrderedCall, dial_plan_of
from pbxhub.webhooks.headers import header_name_error, header_value_error
from pbxhub.webhooks.phones import person_of
from pbxhub.wsgi.current import hub, now, reading, writing

_ORDERED = ("id", "status", "reason", "name", "mobile_number", "from_number", "agent_id", "created_on", "answered_on",
            "ended_on")  # fmt: skip
calls = Blueprint("calls", __name__, description="Calls, and calls ordered by programs")
_PLAIN = (
    "linkedid", "direction", "caller", "caller_name", "dst", "extension", "started_on", "answered_on", "ended_on",
    "disposition",
)  # fmt: skip


@calls.get("/calls")
@calls.arguments(schemas.CallFilter, location="query")
@calls.response(200, schemas.page_of(schemas.Call))
@needs("account.read")
def index(wanted: dict[str, Any]) -> Any:
    """The calls of the project, newest first."""
    before = uuid_after(wanted)
    with reading() as session:
        access = enter(session)
        query = select(Call).where(Call.project_id == access.project.id)
        if wanted["direction"]:
            query = query.where(Call.direction == wanted["direction"])
        if wanted["number"]:
            number = wanted["number"]
            of_person = Call.person == person_of(number, access.project.country)
            query = query.where(or_(Call.caller == number, of_person, Call.dst == number))
        if before:
            query = query.where(Call.id < before)
        rows = session.scalars(query.order_by(Call.id.desc()).limit(wanted["limit"] + 1)).all()
        ordered = _ordered(session, rows)
        return page([_shown(access, row, ordered.get(row.id)) for row in rows], wanted["limit"], lambda row: row["id"])


@calls.post("/calls")
@calls.arguments(schemas.CallOrder)
@calls.response(201, schemas.Call)
@needs("calls.order")
def order(data: dict[str, Any]) -> Any:
    """Orders a call: the agent's phone rings, then the number is dialled. Its callback hears of every status."""
    with writing() as session:
        access = enter(session)
        pbx = _pbx(session, access, data["pbx_id"])
        plan = dial_plan_of(session, pbx.id)
        _check(data, plan, access.project)
        _check_limits(session, access, plan.at_once, plan.per_minute)
        args = data["callback_args"]
        row = OrderedCall(
            id=new_id(), project_id=access.project.id, pbx_id=pbx.id, name=data["name"],
            mobile_number=data["mobile_number"], from_number=data["from_number"], agent_id=data["agent_id"],
            callback_url=data["callback_url"], callback_headers=args["headers"], callback_params=args["params"],
            custom=data["custom_args_values"], status="registered", reason="", created_on=now(),
        )  # fmt: skip
        register(hub().context, session, row, now())
        note(session, access, "call ordered", data["mobile_number"])
        return _shown(access, None, row), {"Location": f"/api/v1/calls/{row.id}"}


@calls.get("/calls/<uuid:call_id>")
@calls.response(200, schemas.Call)
@needs("account.read")
def one(call_id: UUID) -> Any:
    """A call, by its own id or by the id it was ordered under."""
    with reading() as session:
        access = enter(session)
        call, ordered = _find(session, access, call_id)
        return _shown(access, call, ordered, call_id)


@calls.delete("/calls/<uuid:call_id>")
@calls.response(202, schemas.Call)
@needs("calls.order")
def cancel(call_id: UUID) -> Any:
    """Calls an ordered call off: before it rings, or by hanging up."""
    with writing() as session:
        access = enter(session)
        call, ordered = _find(session, access, call_id)
        if ordered is None:
            refuse(409, "Only ordered calls can be called off.")
        row = session.get_one(OrderedCall, ordered.id, with_for_update=True, populate_existing=True)
        if not ask_cancel(hub().context, session, row, now()):
            refuse(409, f"It is over already: {row.status}.")
        note(session, access, "call called off", row.mobile_number)
        return _shown(access, call, row, call_id)


@calls.get("/calls/<uuid:call_id>/stages")
@calls.response(200, schemas.page_of(schemas.Stage))
@needs("account.read")
def stages(call_id: UUID) -> Any:
    """The stages of a call, in their order."""
    with reading() as session:
        access = enter(session)
        call, _ = _find(session, access, call_id)
        rows = session.scalars(select(StageEvent).where(StageEvent.call_id == call.id).order_by(StageEvent.id)).all() \
            if call else []  # fmt: skip
        return {"items": [_stage(access, row) for row in rows], "next": None}


@calls.get("/calls/<uuid:call_id>/ami-events")
@calls.response(200, schemas.page_of(schemas.CallEvent))
@needs("account.read")
def ami_events(call_id: UUID) -> Any:
    """What Asterisk reported about a call, in the order of arrival, with the stages that each event led to; kept for a
    week as a rule."""
    with reading() as session:
        access = enter(session)
        call, _ = _find(session, access, call_id)
        return {"items": events_of(session, access, call) if call else [], "next": None}


@calls.put("/calls/<uuid:call_id>/transcript")
@calls.arguments(schemas.Transcript)
@calls.response(200, schemas.Call)
@needs("calls.order")
def transcript(data: dict[str, Any], call_id: UUID) -> Any:
    """Adds what was said. It goes with every later callback and is a parameter from then on."""
    return _add(call_id, "transcript", data["transcript"])


@calls.put("/calls/<uuid:call_id>/analysis")
@calls.arguments(schemas.Analysis)
@calls.response(200, schemas.Call)
@needs("calls.order")
def analysis(data: dict[str, Any], call_id: UUID) -> Any:
    """Adds an analysis: webhooks of the stage call.analysis go, and the callback gets `data.analysis`."""
    return _add(call_id, "analysis", data["analysis"])


def _add(call_id: UUID, name: str, value: Any) -> Any:
    with writing() as session:
        access = enter(session)
        call, ordered = _find(session, access, call_id)
        if ordered is not None:
            if ordered.status not in FINAL:
                refuse(409, f"The call is not over yet: {ordered.status}.")
            setattr(ordered, name, value)
            session.flush()
            if name == "analysis":
                add_later(hub().context, session, ordered, now())
        if call is not None:
            publish_later(hub().context, session, call.id, name, value, now())
            session.refresh(call)
        return _shown(access, call, ordered, call_id)


def _pbx(session: Session, access: Access, pbx_id: int | None) -> Pbx:
    query = select(Pbx).where(Pbx.project_id == access.project.id, Pbx.enabled).order_by(Pbx.id)
    found = session.scalars(query.where(Pbx.id == pbx_id) if pbx_id else query).first()
    if found is None:
        wrong_field("pbx_id", "there is no such PBX in this project, or none that is switched on")
    return found


def _check(data: dict[str, Any], plan: DialPlan, project: Project) -> None:
    shown, agent = data["from_number"], data["agent_id"]
    wrong = {
        "mobile_number": refuse_number(plan, data["mobile_number"], project.country),
        "from_number": "is not a phone number" if shown and not NUMBER.fullmatch(shown) else "",
        "agent_id": "" if EXTENSION.fullmatch(agent) else "give an extension: digits, Latin letters, - and _",
    }
    if data["callback_url"] and (refused := hub().guard_of(project).check_url(data["callback_url"])):
        wrong["callback_url"] = refused.sentence
    for name, value in data["callback_args"]["headers"].items():
        wrong[f"callback_args.headers.{name}"] = header_name_error(name) or header_value_error(value)
    for path, message in wrong.items():
        if message:
            wrong_field(path, message)


def _check_limits(session: Session, access: Access, at_once: int, per_minute: int) -> None:
    # counting and writing are one: two orders at the same moment must not both be the last that may
    lock_project(session, access.project.id)
    going, recent = open_orders(session, access.project.id, now() - timedelta(minutes=1))
    if going >= at_once:
        refuse(429, f"{going} ordered calls of this project are going on, and {at_once} may.", Retry_After="5")
    if recent >= per_minute:
        refuse(429, f"{recent} calls were ordered in the last minute, and {per_minute} may be.", Retry_After="60")


def _find(session: Session, access: Access, call_id: UUID) -> tuple[Call | None, OrderedCall | None]:
    ordered = session.get(OrderedCall, call_id)
    call = session.get(Call, ordered.call_id if ordered and ordered.call_id else call_id)
    if call is not None and ordered is None and call.linkedid.startswith(CHANNEL_PREFIX):
        ordered = session.scalar(select(OrderedCall).where(OrderedCall.call_id == call.id))
    for row in (call, ordered):
        if row is not None and row.project_id != access.project.id:
            refuse(404, "There is no such call in this project.")
    if call is None and ordered is None:
        refuse(404, "There is no such call in this project.")
    return call, ordered


def _ordered(session: Session, rows: Any) -> dict[UUID, OrderedCall]:
    ids = [row.id for row in rows if row.linkedid.startswith(CHANNEL_PREFIX)]
    if not ids:
        return {}
    found = session.scalars(select(OrderedCall).where(one_of(OrderedCall.call_id, ids)))
    return {row.call_id: row for row in found if row.call_id}


def _stage(access: Access, row: StageEvent) -> dict[str, Any]:
    known = {name: getattr(row, name) for name in ("id", "stage", "ordinal", "created_on")}
    return {**known, "data": visible_values(access, row.data)}


def _order(access: Access, row: OrderedCall) -> dict[str, Any]:
    """custom, transcript and analysis hold what other programs have sent."""
    known = {name: getattr(row, name) for name in _ORDERED}
    free = visible_values(access, {name: getattr(row, name) for name in ("custom", "transcript", "analysis")})
    return {**known, **free, "callback_url": visible_url(access, row.callback_url)}


def _shown(access: Access, call: Call | None, ordered: OrderedCall | None, asked: UUID | None = None) -> dict[str, Any]:
    known = {name: getattr(call, name) if call else None for name in _PLAIN}
    own = asked or (call.id if call else ordered.id if ordered else None)
    return {
        "id": own,
        "call_id": call.id if call else None,
        **known,
        "values": visible_values(access, call.data if call else {}),
        "ordered": _order(access, ordered) if ordered else None,
    }
