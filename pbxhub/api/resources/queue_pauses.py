"""Members of queues, paused and unpaused by programs."""

from typing import Any
from uuid import UUID

from flask import request

from pbxhub.account.queue_pauses import MemberPause, find_pause, pause_member
from pbxhub.api.authentication import needs, reading_project, writing_project
from pbxhub.api.problems import accepted
from pbxhub.api.resources.calls import calls
from pbxhub.api.schemas import queue_pauses as schemas


@calls.post("/queue-pauses")
@calls.arguments(schemas.MemberPause)
@calls.response(201, schemas.QueuePause)
@needs("calls.order")
def pause_queue_member(data: dict[str, Any]) -> Any:
    """Pauses a member of a queue, or ends the pause. The PBX is asked at once; GET says what became of it."""
    with writing_project() as (session, access):
        order = accepted(pause_member(session, access, MemberPause(**data)))
        return order, {"Location": f"{request.script_root}/queue-pauses/{order.id}"}


@calls.get("/queue-pauses/<uuid:pause_id>")
@calls.response(200, schemas.QueuePause)
@needs("account.read")
def queue_pause(pause_id: UUID) -> Any:
    """An order to pause a member, and its result."""
    with reading_project() as (session, access):
        return find_pause(session, access, pause_id)
