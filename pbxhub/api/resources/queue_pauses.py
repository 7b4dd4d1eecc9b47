"""Members of queues, paused and unpaused by programs."""

from typing import Any
from uuid import UUID

from flask import request
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, row_of
from pbxhub.account.queue_pauses import MemberPause, pause_member
from pbxhub.api.authentication import changes, reads
from pbxhub.api.problems import accepted
from pbxhub.api.resources.calls import calls
from pbxhub.api.schemas import queue_pauses as schemas
from pbxhub.store.queue_pauses import QueuePause


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
