"""What a webhook has not got of a period: counted, shown with the reasons, and sent after all at a rate."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.omitted import Omitted, why_not
from pbxhub.account.refusals import ConflictError
from pbxhub.account.resending import FASTEST
from pbxhub.delivery.outbox import MOST_MISSING, Missing, count_missing, order_missing
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.resends import Resend
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import Sentence, say
from pbxhub.webhooks.catalogue import CHAIN, QUESTION

MOST_LISTED = 50
EVER = datetime(1970, 1, 2, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Lacking:
    """count: stages without a delivery of the webhook, MOST_MISSING + 1 for more. newest: the last MOST_LISTED of them
    that belong to a call, with what refuses each now. refused: why they cannot be sent; None if they can."""

    count: int
    newest: list[tuple[StageEvent, Call, Omitted]]
    refused: Sentence | None

    @property
    def accepted(self) -> int:
        """How many of the newest the conditions of the webhook accept now."""
        return sum(why.refused_by is None for _event, _call, why in self.newest)


def lacking(
    session: Session, access: Access, webhook: Webhook, since: datetime | None, until: datetime | None
) -> Lacking:
    """What the webhook has not got of the stages that happened from `since` to before `until`; None: ever, to now."""
    wanted = Missing(webhook.id, webhook.stage, since or EVER, until or access.now)
    query = select(StageEvent, Call).join(Call, Call.id == StageEvent.call_id)
    query = query.where(*wanted.conditions(access.project.id)).order_by(StageEvent.id.desc()).limit(MOST_LISTED)
    rows = [(event, call) for event, call in session.execute(query)]
    reasons = why_not(session, access, webhook, rows)
    newest = [(event, call, why) for (event, call), why in zip(rows, reasons, strict=True)]
    count = count_missing(session, access.project.id, wanted)
    return Lacking(count, newest, _refusal(webhook, count))


def send_lacking(
    session: Session, access: Access, webhook: Webhook, since: datetime, until: datetime, *, rate: int, refused: bool
) -> Resend:
    """Orders that all of it is sent, `rate` a second, 1 to FASTEST. refused: also what its conditions refuse now.
    Raises ConflictError with a sentence when it cannot be."""
    wanted = Missing(webhook.id, webhook.stage, since, min(until, access.now), refused)
    if sentence := _refusal(webhook, count_missing(session, access.project.id, wanted)):
        raise ConflictError(sentence)
    order = order_missing(
        session, access.project.id, wanted, access.now, rate=min(rate, FASTEST), author_id=access.user.id
    )
    note(session, access, "sent what was missing", f"{webhook.name}: {order.total}")
    session.flush()
    return order


def _refusal(webhook: Webhook, count: int) -> Sentence | None:
    if webhook.stage in (CHAIN, QUESTION):
        return say("This event has no stages of its own that could be sent later.")
    if not webhook.enabled:
        return say("The webhook is switched off. Switch it on first.")
    if count > MOST_MISSING:
        return say("There are more than %(most)s of them. Choose a shorter period.", most=MOST_MISSING)
    return None
