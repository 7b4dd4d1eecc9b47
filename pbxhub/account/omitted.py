"""Why a webhook has sent nothing for a stage of a call, and sending it after all."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.refusals import ConflictError, NotFoundError
from pbxhub.account.sample_calls import values_of
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.account.webhooks import webhook_of
from pbxhub.delivery.outbox import CannotResendError, send_missing
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.matching import compile_filters
from pbxhub.webhooks.spec import Filter


@dataclass(frozen=True, slots=True)
class Omitted:
    """A webhook without a delivery of a stage. refused_by: the first of its conditions that does not hold, and the
    value that it met; None: they hold now, so the webhook was switched on, added or changed later."""

    webhook: Webhook
    refused_by: Filter | None
    met: object


def omitted(
    session: Session, access: Access, call: Call, stages: Sequence[StageEvent], deliveries: Iterable[Delivery]
) -> dict[UUID, list[Omitted]]:
    """The webhooks that are switched on and have sent nothing, by the id of the stage."""
    sent = {(row.stage_event_id, row.webhook_id) for row in deliveries}
    switched_on = [row for row in live_webhooks(session, access) if row.enabled]
    return {
        event.id: [
            _reason(session, access, call, event, row)
            for row in switched_on
            if row.stage == event.stage and (event.id, row.id) not in sent
        ]
        for event in stages
    }


def send_after_all(session: Session, access: Access, call: Call, event_id: UUID, webhook_id: int) -> None:
    """Sends a stage of the call to a webhook of that stage. Raises NotFoundError, or ConflictError if it cannot be."""
    webhook = webhook_of(session, access, webhook_id)
    event = session.get(StageEvent, event_id)
    if event is None or event.call_id != call.id or event.stage != webhook.stage:
        raise NotFoundError
    try:
        send_missing(access.hub.context, session, event, webhook.id, access.now)
    except CannotResendError as error:
        raise ConflictError(error.args[0]) from None
    note(session, access, "sent after all", webhook.name)


def _reason(session: Session, access: Access, call: Call, event: StageEvent, webhook: Webhook) -> Omitted:
    values = values_of(session, access, event, call)
    for each in webhook.spec.filters:
        if not compile_filters(replace(webhook.spec, filters=(each,)), access.calendar).matches(values):
            return Omitted(webhook, each, values.get(each.parameter))
    return Omitted(webhook, None, None)
