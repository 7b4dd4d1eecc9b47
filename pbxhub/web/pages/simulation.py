"""Simulate a call: what one's own webhooks send for it, shown or really sent."""

from uuid import UUID

from flask import Blueprint, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, row_of
from pbxhub.account.played_calls import PlayedStage, kinds, recorded_stages, stages_of_history
from pbxhub.account.simulation import plan_requests, send_played
from pbxhub.account.webhooks import webhook_of
from pbxhub.store.history import Call
from pbxhub.web.page_access import reading_project
from pbxhub.web.paging import read_uuid
from pbxhub.wsgi.request_checks import is_id

pages = Blueprint("simulation", __name__, url_prefix="/projects/<int:project_id>/simulate")


@pages.get("")
def index(project_id: int) -> ResponseReturnValue:
    """Which call, and, once it is chosen, what happens at each of its stages."""
    with reading_project(project_id, "webhooks.change") as (session, access):
        call = _call(session, access, read_uuid(request.args.get("call", "")))
        stages = _stages(session, access, call)
        plan = plan_requests(session, access, stages)
        sendable = sum(planned.is_sendable for stage in plan for planned in stage.requests)
        return render_template(
            "simulation/index.html", kinds=kinds(), call=call, played=bool(stages), plan=plan, sendable=sendable
        )


@pages.post("/send")
def send(project_id: int) -> ResponseReturnValue:
    """Sends one request of the played call and shows the answer."""
    wanted = request.form.get("webhook", "")
    with reading_project(project_id, "webhooks.change") as (session, access):
        webhook = webhook_of(session, access, int(wanted) if is_id(wanted) else 0)
        tried = send_played(session, access, webhook, request.form.get("sample", ""))
        return render_template("webhooks/_tried.html", tried=tried)


def _call(session: Session, access: Access, call_id: UUID | None) -> Call | None:
    return row_of(session, access, Call, call_id) if call_id else None


def _stages(session: Session, access: Access, call: Call | None) -> list[PlayedStage]:
    if call is not None:
        return stages_of_history(session, call)
    kind, caller = request.args.get("kind", ""), request.args.get("caller", "").strip()
    return recorded_stages(kind, caller, access.now) if kind in kinds() else []
