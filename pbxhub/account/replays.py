"""What a webhook has not got of a period: counted, shown with the reasons, and sent after all at a rate."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.refusals import ConflictError, Refusal
from pbxhub.account.resending import FASTEST, refuse_many
from pbxhub.account.why_unsent import Omitted, why_not
from pbxhub.delivery.outbox import MOST_MISSING, Missing, count_missing, first_known, order_missing
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.resends import Resend
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import Sentence, say
from pbxhub.webhooks.catalogue import CHAIN, QUESTION

MOST_LISTED = 50


@dataclass(frozen=True, slots=True)
class Lacking:
    """count: stages without a delivery of the webhook, MOST_MISSING + 1 for more. newest: the last MOST_LISTED of them
    that belong to a call, with what refuses each now. refused: why they cannot be sent; None if they can. since, until:
    of which time they are, until not included. too_old: an earlier time was asked for, of which nobody knows."""

    count: int
    newest: list[tuple[StageEvent, Call, Omitted]]
    refused: Sentence | None
    since: datetime
    until: datetime
    too_old: bool

    @property
    def accepted(self) -> int:
        """How many of the newest the conditions of the webhook accept now."""
        return sum(why.refused_by is None for _event, _call, why in self.newest)


@dataclass(frozen=True, slots=True)
class ToSend:
    """What can be ordered, and how many there are."""

    which: Missing
    total: int


def lacking(
    session: Session, access: Access, webhook: Webhook, since: datetime | None, until: datetime | None
) -> Lacking:
    """What the webhook has not got of the stages that happened from `since` to before `until`; None: ever, to now."""
    wanted = _wanted(access, webhook, since, until)
    query = select(StageEvent, Call).join(Call, Call.id == StageEvent.call_id)
    query = query.where(*wanted.conditions(access.project.id)).order_by(StageEvent.id.desc()).limit(MOST_LISTED)
    rows = [(event, call) for event, call in session.execute(query)]
    reasons = why_not(session, access, webhook, rows)
    newest = [(event, call, why) for (event, call), why in zip(rows, reasons, strict=True)]
    count = count_missing(session, access.project.id, wanted)
    too_old = since is None or since < wanted.since
    return Lacking(count, newest, _refusal(webhook, count), wanted.since, wanted.until, too_old)


def count_lacking(
    session: Session, access: Access, webhook: Webhook, since: datetime, until: datetime, *, refused: bool
) -> ToSend | list[Refusal]:
    """What send_lacking is to send. refused: also what its conditions refuse now. Counting reads the history, so it is
    done in a reading transaction. Raises ConflictError with a sentence when nothing of the webhook can be sent."""
    wanted = _wanted(access, webhook, since, until, refused)
    total = count_missing(session, access.project.id, wanted)
    if sentence := _refusal(webhook, total):
        raise ConflictError(sentence)
    if not total:
        return [Refusal("since", say("Nothing is missing in this time."), say("Choose another period."))]
    return ToSend(wanted, total)


def send_lacking(session: Session, access: Access, webhook: Webhook, counted: ToSend, *, rate: int) -> Resend:
    """Orders that all of it is sent, `rate` a second, 1 to FASTEST. Raises BusyError when too many orders run."""
    refuse_many(session, access)
    order = order_missing(
        session, access.project.id, counted.which, counted.total, access.now, rate=min(rate, FASTEST),
        author_id=access.user.id,
    )  # fmt: skip
    note(session, access, "sent what was missing", f"{webhook.name}: {order.total}")
    session.flush()
    return order


def _wanted(
    access: Access, webhook: Webhook, since: datetime | None, until: datetime | None, refused: bool = False
) -> Missing:
    first = first_known(access.hub.context, access.now)
    since, until = max(since or first, first), min(until or access.now, access.now)
    return Missing(webhook.id, webhook.stage, since, until, refused)


def _refusal(webhook: Webhook, count: int) -> Sentence | None:
    if webhook.stage in (CHAIN, QUESTION):
        return say("This event has no stages of its own that could be sent later.")
    if not webhook.enabled:
        return say("The webhook is switched off. Switch it on first.")
    if count > MOST_MISSING:
        return say("There are more than %(most)s of them. Choose a shorter period.", most=MOST_MISSING)
    return None
