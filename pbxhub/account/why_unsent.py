"""Why a webhook has sent nothing for a stage of a call, and sending it after all."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal
from uuid import UUID

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.refusals import ConflictError, NotFoundError
from pbxhub.account.sample_calls import values_of
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.account.webhooks import webhook_of
from pbxhub.calls.stages import Value
from pbxhub.delivery.outbox import CannotResendError, first_known, send_missing
from pbxhub.delivery.stage_values import Lookups
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.matching import Matcher, Values, compile_filters, value_met
from pbxhub.webhooks.spec import Filter

MOST_SHOWN = 20  # of one stage
Reason = Literal["off", "condition", "later"]
REASONS: dict[Reason, str] = {
    "off": "the webhook is switched off now",
    "condition": "a condition of the webhook does not hold",
    "later": "its conditions hold now: it was added, changed or switched on after the stage",
}


@dataclass(frozen=True, slots=True)
class Omitted:
    """A webhook without a delivery of a stage. refused_by: the first of its conditions that does not hold, and the
    value that it met; None: they hold now, so the webhook was switched on, added or changed later."""

    webhook: Webhook
    refused_by: Filter | None
    met: Value

    @property
    def reason(self) -> Reason:
        """In one word, a key of REASONS."""
        if not self.webhook.enabled:
            return "off"
        return "condition" if self.refused_by else "later"


@dataclass(frozen=True, slots=True)
class AllOmitted:
    """Those of one stage: the first MOST_SHOWN, and how many more there are."""

    first: list[Omitted]
    more: int

    def __len__(self) -> int:
        return len(self.first) + self.more


@dataclass(frozen=True, slots=True)
class _Listener:
    """A webhook with its conditions, each compiled by itself."""

    webhook: Webhook
    conditions: list[tuple[Filter, Matcher]]


def omitted(
    session: Session, access: Access, call: Call, stages: Sequence[StageEvent], deliveries: Iterable[Delivery]
) -> dict[UUID, AllOmitted]:
    """The webhooks that are switched on and have sent nothing, by the id of the stage. Of many webhooks and many stages
    each condition is compiled once, and each value is looked up once. Stages before first_known are left out."""
    first_told = first_known(access.hub.context, access.now)
    stages = [event for event in stages if event.created_on >= first_told and not event.content_removed_on]
    sent = {(row.stage_event_id, row.webhook_id) for row in deliveries}
    of_stages = {event.stage for event in stages}
    rows = [row for row in live_webhooks(session, access) if row.enabled and row.stage in of_stages]
    listeners = [_Listener(row, _conditions(row, access)) for row in rows]
    lookups, found = Lookups(session), dict[UUID, AllOmitted]()
    for event in stages:
        mine = [one for one in listeners if one.webhook.stage == event.stage and (event.id, one.webhook.id) not in sent]
        values = values_of(session, access, event, call, lookups=lookups)
        first = [_reason(one, values) for one in mine[:MOST_SHOWN]]
        found[event.id] = AllOmitted(first, len(mine) - len(first))
    return found


def omitted_by_all(
    session: Session, access: Access, webhooks: Sequence[Webhook], stages: Sequence[tuple[StageEvent, Call]]
) -> list[AllOmitted]:
    """The same of stages that no webhook took, for each of these webhooks, those that are switched off too."""
    lookups = Lookups(session)
    listeners = {stage: _listeners(access, webhooks, stage) for stage in {event.stage for event, _call in stages}}
    counts = Counter(webhook.stage for webhook in webhooks)
    found = []
    for event, call in stages:
        mine = listeners[event.stage]
        values = values_of(session, access, event, call, lookups=lookups) if mine else {}
        found.append(AllOmitted([_reason(one, values) for one in mine], counts[event.stage] - len(mine)))
    return found


def why_not(
    session: Session, access: Access, webhook: Webhook, stages: Sequence[tuple[StageEvent, Call]]
) -> list[Omitted]:
    """What refuses each of these stages now, by the conditions of one webhook."""
    listener, lookups = _Listener(webhook, _conditions(webhook, access)), Lookups(session)
    return [_reason(listener, values_of(session, access, event, call, lookups=lookups)) for event, call in stages]


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


def _listeners(access: Access, webhooks: Iterable[Webhook], stage: str) -> list[_Listener]:
    """The first MOST_SHOWN of that stage."""
    mine = islice((row for row in webhooks if row.stage == stage), MOST_SHOWN)
    return [_Listener(row, _conditions(row, access)) for row in mine]


def _conditions(webhook: Webhook, access: Access) -> list[tuple[Filter, Matcher]]:
    spec = webhook.spec
    return [(each, compile_filters(replace(spec, filters=(each,)), access.calendar)) for each in spec.filters]


def _reason(listener: _Listener, values: Values) -> Omitted:
    for each, matcher in listener.conditions:
        if not matcher.matches(values):
            return Omitted(listener.webhook, each, value_met(each, values))
    return Omitted(listener.webhook, None, None)
