"""Sends a stage to a webhook that has no delivery of it: a condition refused it, or the webhook came later."""

from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pbxhub.delivery.call_rows import read_call
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.enqueue import enqueue
from pbxhub.delivery.outbox.missing import first_known
from pbxhub.delivery.outbox.resend import CannotResendError
from pbxhub.delivery.outbox.wait_for_answer import StatesOfCalls, make_deliveries
from pbxhub.delivery.stage_values import Lookups, StageValues
from pbxhub.store.history import StageEvent
from pbxhub.translatable import say
from pbxhub.webhooks.params import from_json


def send_missing(context: DeliveryContext, session: Session, event: StageEvent, webhook_id: int, now: datetime) -> None:
    """Queues the delivery that this webhook would have got of the stage, whatever its conditions say; with the values
    that are known now. Raises CannotResendError with a sentence for the user."""
    project = context.webhook_cache.fetch(session, {event.project_id})[event.project_id]
    webhook = project.by_id.get(webhook_id)
    call = read_call(session, event.call_id) if event.call_id else None
    if event.created_on < first_known(context, now):
        days = context.kept.days
        raise CannotResendError(say("Requests are kept for %(days)s days: this one may have been sent.", days=days))
    if event.content_removed_on:
        raise CannotResendError(say("The content of this call was removed: there is nothing that could be sent."))
    if webhook is None or call is None:
        raise CannotResendError(say("Its webhook is disabled or deleted; enable it first."))
    known = from_json(event.data)
    values = StageValues(known, project, call, event.stage, event.id, Lookups(session), context.links, now)
    made = make_deliveries(webhook, values, event.call_id, event.id, "stage", now, StatesOfCalls(session), [])
    if not made:
        raise CannotResendError(say("It waits for the answer of another webhook of this call, which refuses it."))
    try:
        with session.begin_nested():
            session.connection()  # sets the savepoint: enqueue inserts past the session, which would set it later
            enqueue(context, session, made, now)
    except IntegrityError:  # stage_event_id, webhook_id, kind: somebody else was first
        raise CannotResendError(say("This webhook has got this stage already.")) from None
