"""Stages that a webhook has not got: counted, and sent after all."""

from typing import Any

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.replays import count_lacking, lacking, send_lacking
from pbxhub.account.webhooks import webhook_of
from pbxhub.api.authentication import enter, needs, reads, writing_project
from pbxhub.api.problems import accepted
from pbxhub.api.resources.webhooks import webhooks
from pbxhub.api.schemas import deliveries as schemas
from pbxhub.wsgi.current import reading


@webhooks.get("/webhooks/<int:webhook_id>/missing")
@webhooks.arguments(schemas.StagesPeriod, location="query")
@webhooks.response(200, schemas.Lacking)
@reads("account.read")
def missing(session: Session, access: Access, wanted: dict[str, Any], webhook_id: int) -> Any:
    """How many stages of a period have no delivery of this webhook: it is new, was switched off, or refused them."""
    return lacking(session, access, webhook_of(session, access, webhook_id), wanted["since"], wanted["until"])


@webhooks.post("/webhooks/<int:webhook_id>/replay")
@webhooks.arguments(schemas.Replay)
@webhooks.response(202, schemas.Resend)
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
