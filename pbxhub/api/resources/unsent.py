"""Stages that no webhook took, or that one webhook has not got: listed, counted, and sent after all."""

from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.refusals import ConflictError
from pbxhub.account.replays import count_lacking, lacking, send_lacking
from pbxhub.account.unsent import Untaken, UntakenFilter, send_chosen, untaken
from pbxhub.account.webhooks import webhook_of
from pbxhub.api.authentication import enter, needs, reads, writing_project
from pbxhub.api.problems import accepted
from pbxhub.api.resources.calls import calls
from pbxhub.api.resources.history import uuid_after
from pbxhub.api.resources.webhooks import webhooks
from pbxhub.api.schemas import calls as schemas
from pbxhub.api.schemas import deliveries as delivery_schemas
from pbxhub.wsgi.current import reading


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
@calls.response(202, delivery_schemas.Count)
@needs("webhooks.change")
def send(data: dict[str, Any], event_id: UUID) -> Any:
    """Sends a stage to a webhook that has not got it, whatever its conditions say."""
    with writing_project() as (session, access):
        sent, refusal = send_chosen(session, access, [(event_id, data["webhook_id"])])
    if refusal:
        raise ConflictError(refusal)
    return {"count": sent}


@webhooks.get("/webhooks/<int:webhook_id>/missing")
@webhooks.arguments(delivery_schemas.StagesPeriod, location="query")
@webhooks.response(200, delivery_schemas.Lacking)
@reads("account.read")
def missing(session: Session, access: Access, wanted: dict[str, Any], webhook_id: int) -> Any:
    """How many stages of a period have no delivery of this webhook: it is new, was switched off, or refused them."""
    return lacking(session, access, webhook_of(session, access, webhook_id), wanted["since"], wanted["until"])


@webhooks.post("/webhooks/<int:webhook_id>/replay")
@webhooks.arguments(delivery_schemas.Replay)
@webhooks.response(202, delivery_schemas.Resend)
@needs("webhooks.change")
def replay(data: dict[str, Any], webhook_id: int) -> Any:
    """Sends them at a rate, behind live calls. Its progress is under /resends, and it is stopped there."""
    with reading() as session:  # nobody waits while it is counted
        access = enter(session)
        webhook = webhook_of(session, access, webhook_id)
        found = count_lacking(session, access, webhook, data["since"], data["until"], refused=data["refused"])
        counted = accepted(found)
    with writing_project() as (session, access):
        return send_lacking(session, access, webhook_of(session, access, webhook_id), counted, rate=data["rate"])


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
