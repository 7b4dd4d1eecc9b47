"""Stages that no webhook took: listed, and sent after all."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.refusals import ConflictError
from pbxhub.account.unsent import Untaken, UntakenFilter, send_chosen, untaken
from pbxhub.api.authentication import needs, reads, writing_project
from pbxhub.api.resources.calls import calls
from pbxhub.api.resources.history import uuid_after
from pbxhub.api.schemas import calls as schemas
from pbxhub.api.schemas.deliveries import Count


@calls.get("/stages/unsent")
@calls.arguments(schemas.UnsentFilter, location="query")
@calls.response(200, schemas.UnsentPage)
@reads("account.read")
def unsent(session: Session, access: Access, wanted: dict[str, Any]) -> Any:
    """Stages of ended calls for which no webhook has a delivery, newest first. A page may be empty and have a next one:
    each looks through 3,000 stages."""
    asked = UntakenFilter(wanted["since"], wanted["until"], wanted["all"], uuid_after(wanted))
    found = untaken(session, access, asked, wanted["limit"])
    items, following = [_shown(row) for row in found.rows], str(found.next) if found.next else None
    return {"items": items, "next": following, "since": found.since}


@calls.post("/stages/<uuid:event_id>/send")
@calls.arguments(schemas.SentAfterAll)
@calls.response(202, Count)
@needs("webhooks.change")
def send(data: dict[str, Any], event_id: UUID) -> Any:
    """Sends a stage to a webhook that has not got it, whatever its conditions say."""
    with writing_project() as (session, access):
        sent, refusal = send_chosen(session, access, [(event_id, data["webhook_id"])])
    if refusal:
        raise ConflictError(refusal)
    return {"count": sent}


def _shown(row: Untaken) -> dict[str, Any]:
    event = row.event
    known = {"event_id": event.id, "call_id": event.call_id, "stage": event.stage, "created_on": event.created_on}
    webhooks = [
        {
            "webhook_id": one.webhook.id,
            "reason": one.reason,
            "parameter": one.refused_by.parameter if one.refused_by else "",
        }
        for one in row.webhooks.first
    ]
    return known | {"webhooks": webhooks}
