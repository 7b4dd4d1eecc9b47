"""Calls: the history, and calls that programs order; members of queues, paused and unpaused by programs."""

from typing import Any
from uuid import UUID

from flask import request
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, row_of
from pbxhub.account.call_events import events_of
from pbxhub.account.call_history import all_calls, find_call, orders_of, read_place, stages_of, write_place
from pbxhub.account.call_orders import CallOrder, add_to_call, cancel_call, order_call
from pbxhub.account.queue_pauses import MemberPause, pause_member
from pbxhub.account.secret_visibility import visible_url, visible_values
from pbxhub.api.answers import page
from pbxhub.api.authentication import changes, reads
from pbxhub.api.blueprint import Blueprint
from pbxhub.api.problems import accepted, wrong_field
from pbxhub.api.resources.call_reports import call_filter
from pbxhub.api.resources.history import NO_PLACE
from pbxhub.api.schemas import calls as schemas
from pbxhub.api.schemas.base import page_of
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.queue_pauses import QueuePause

_ORDERED = ("id", "status", "reason", "name", "mobile_number", "from_number", "agent_id", "created_on", "answered_on",
            "ended_on")  # fmt: skip
calls = Blueprint("calls", __name__, description="Calls, and calls ordered by programs")
_PLAIN = (
    "linkedid", "direction", "caller", "caller_name", "dst", "extension", "started_on", "answered_on", "ended_on",
    "disposition", "talk", "wait", "recorded",
)  # fmt: skip


@calls.get("/calls")
@calls.arguments(schemas.CallList, location="query")
@calls.response(200, page_of(schemas.Call))
@reads("account.read")
def index(session: Session, access: Access, wanted: dict[str, Any]) -> Any:
    """The calls of the project, those that began last first."""
    before = read_place(wanted["after"])
    if wanted["after"] and before is None:
        wrong_field("after", NO_PLACE)
    rows = all_calls(session, access, call_filter(session, access, wanted), before, wanted["limit"] + 1)
    ordered = orders_of(session, rows)
    found = page(rows, wanted["limit"], write_place)
    return {**found, "items": [_shown(access, row, ordered.get(row.id)) for row in found["items"]]}


@calls.post("/calls")
@calls.arguments(schemas.CallOrder)
@calls.response(201, schemas.Call)
@changes("calls.order")
def order(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Orders a call: the agent's phone rings, then the number is dialled. Every status is sent to its callback."""
    row = accepted(order_call(session, access, _wanted(data)))
    return _shown(access, None, row), {"Location": f"{request.script_root}/calls/{row.id}"}


@calls.get("/calls/<uuid:call_id>")
@calls.response(200, schemas.Call)
@reads("account.read")
def one(session: Session, access: Access, call_id: UUID) -> Any:
    """A call, by its own id or by the id of its order."""
    call, ordered = find_call(session, access, call_id)
    return _shown(access, call, ordered, call_id)


@calls.delete("/calls/<uuid:call_id>")
@calls.response(202, schemas.Call)
@changes("calls.order")
def cancel(session: Session, access: Access, call_id: UUID) -> Any:
    """Cancels an ordered call: before it rings, or by hanging up."""
    return _shown(access, *cancel_call(session, access, call_id), call_id)


@calls.get("/calls/<uuid:call_id>/stages")
@calls.response(200, page_of(schemas.Stage))
@reads("account.read")
def stages(session: Session, access: Access, call_id: UUID) -> Any:
    """The stages of a call, in their order."""
    call, _ = find_call(session, access, call_id)
    rows = stages_of(session, call) if call else ()
    return {"items": [_stage(access, row) for row in rows], "next": None}


@calls.get("/calls/<uuid:call_id>/ami-events")
@calls.response(200, page_of(schemas.CallEvent))
@reads("account.read")
def ami_events(session: Session, access: Access, call_id: UUID) -> Any:
    """What Asterisk reported about a call, in the order of arrival, with the stages that each event led to; kept for a
    week as a rule."""
    call, _ = find_call(session, access, call_id)
    return {"items": events_of(session, access, call) if call else [], "next": None}


@calls.put("/calls/<uuid:call_id>/transcript")
@calls.arguments(schemas.Transcript)
@calls.response(200, schemas.Call)
@changes("calls.order")
def transcript(session: Session, access: Access, data: dict[str, Any], call_id: UUID) -> Any:
    """Adds a transcript. Every later callback contains it, and it becomes a parameter."""
    added = add_to_call(session, access, call_id, "transcript", data["transcript"])
    return _shown(access, *added, call_id)


@calls.put("/calls/<uuid:call_id>/analysis")
@calls.arguments(schemas.Analysis)
@calls.response(200, schemas.Call)
@changes("calls.order")
def analysis(session: Session, access: Access, data: dict[str, Any], call_id: UUID) -> Any:
    """Adds an analysis: sends webhooks of the stage call.analysis, and a callback with `data.analysis`."""
    added = add_to_call(session, access, call_id, "analysis", data["analysis"])
    return _shown(access, *added, call_id)


@calls.post("/queue-pauses")
@calls.arguments(schemas.MemberPause)
@calls.response(201, schemas.QueuePause)
@changes("calls.order")
def pause_queue_member(session: Session, access: Access, data: dict[str, Any]) -> Any:
    """Pauses a member of a queue, or ends the pause. The PBX is asked at once; GET says what became of it."""
    order = accepted(pause_member(session, access, MemberPause(**data)))
    return order, {"Location": f"{request.script_root}/queue-pauses/{order.id}"}


@calls.get("/queue-pauses/<uuid:pause_id>")
@calls.response(200, schemas.QueuePause)
@reads("account.read")
def queue_pause(session: Session, access: Access, pause_id: UUID) -> Any:
    """An order to pause a member, and its result."""
    return row_of(session, access, QueuePause, pause_id)


def _wanted(data: dict[str, Any]) -> CallOrder:
    own = ("mobile_number", "agent_id", "name", "from_number", "pbx_id", "callback_url")
    callback = data["callback_args"]
    return CallOrder(
        **{name: data[name] for name in own}, callback_headers=callback["headers"], callback_params=callback["params"],
        custom=data["custom_args_values"],
    )  # fmt: skip


def _stage(access: Access, row: StageEvent) -> dict[str, Any]:
    known = {name: getattr(row, name) for name in ("id", "stage", "ordinal", "created_on")}
    return {**known, "data": visible_values(access, row.data)}


def _order(access: Access, row: OrderedCall) -> dict[str, Any]:
    """custom, transcript and analysis hold what other programs have sent."""
    known = {name: getattr(row, name) for name in _ORDERED}
    free = visible_values(access, {name: getattr(row, name) for name in ("custom", "transcript", "analysis")})
    return {**known, **free, "callback_url": visible_url(access, row.callback_url)}


def _shown(access: Access, call: Call | None, ordered: OrderedCall | None, asked: UUID | None = None) -> dict[str, Any]:
    known = {name: getattr(call, name, None) for name in _PLAIN}
    own = asked or (call.id if call else ordered.id if ordered else None)
    return {
        "id": own,
        "call_id": call.id if call else None,
        **known,
        "values": visible_values(access, call.data if call else {}),
        "ordered": _order(access, ordered) if ordered else None,
    }
