"""The only place that pauses and resumes webhooks: after many failures in a row, after a 410, and by hand."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session, load_only

from pbxhub.delivery.context import DeliveryContext, PauseRule
from pbxhub.delivery.links import Links
from pbxhub.delivery.outbox.attempt_result import AttemptResult
from pbxhub.delivery.outbox.own_webhooks import RESTHOOK
from pbxhub.sending.outcomes import OUTCOMES
from pbxhub.store.bulk import Query
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import DELIVERED, FAILED
from pbxhub.store.ids import new_id
from pbxhub.store.notices import FIRST_FAILURE, PAUSED, RECOVERED, UNSUBSCRIBED, Notice
from pbxhub.store.postgresql import hurry
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.catalogue import QUESTION

HEALTHY_DAY = timedelta(hours=24)
_QUIETLY = {"synchronize_session": False}


def note_health(
    session: Session, results: Sequence[AttemptResult], rule: PauseRule, links: Links, now: datetime
) -> None:
    """Counts final failures, resets the count after a success, pauses, and writes a notice of each change.

    links: where a notice leads, to the page of the outcome.

    Callbacks are left out: one webhook carries those to many addresses, and one failing address must not stop the
    others. Subscribers of REST hooks are never paused, because nobody could resume them; after a 410 they are removed
    (resthooks.drop_gone).
    """
    results = [result for result in results if result.finished.claimed.kind != "callback"]
    delivered = {result.finished.claimed.webhook.id for result in results if result.state == DELIVERED}
    failed = Counter(result.finished.claimed.webhook.id for result in results if result.state == FAILED)
    codes = {result.finished.claimed.webhook.id: result.reading.code for result in results if result.state == FAILED}
    advice = {webhook_id: _advice(code, links) for webhook_id, code in codes.items()}
    gone = {result.finished.claimed.webhook.id for result in results if result.is_gone}
    if delivered:
        _recover(session, delivered, now)
    if failed:
        _count(session, failed, gone, advice, rule, now)


def pause(session: Session, webhook_id: int, reason: str, now: datetime) -> None:
    """Stops sending; deliveries are held. reason: a sentence for the page."""
    _pause(session, _lock(session, webhook_id), reason, now)


def resume(context: DeliveryContext, session: Session, webhook_id: int) -> None:
    """Sends again, including the deliveries that have waited, and counts failures from zero."""
    session.execute(
        update(Webhook)
        .where(Webhook.id == webhook_id)
        .values(paused_on=None, paused_reason="", failures=0, failing_since=None),
        execution_options=_QUIETLY,
    )
    context.wakeups.send(session)


_SICK = Query(select(Webhook.id).where(one_of(Webhook.id, "ids"), Webhook.failures > 0).order_by(Webhook.id))


def _recover(session: Session, webhook_ids: Iterable[int], now: datetime) -> None:
    sick = _SICK.all(session, ids=list(webhook_ids))
    if sick:
        hurry(session)
    for (webhook_id,) in sick:
        webhook = _lock(session, webhook_id)
        is_working = webhook.paused_on is None and webhook.deleted_on is None
        if webhook.failures and is_working and _is_news(session, webhook_id, now):
            _tell(session, webhook, RECOVERED, f"{webhook.name} works again after {webhook.failures} failures.", now)
        webhook.failures, webhook.failing_since = 0, None


def _is_news(session: Session, webhook_id: int, now: datetime) -> bool:
    """Only people who got a notice of the failure get one of the recovery, and at most one a day."""
    of_webhook = select(Notice.kind).where(Notice.webhook_id == webhook_id)
    last = session.scalar(of_webhook.order_by(Notice.id.desc()).limit(1))
    lately = of_webhook.where(Notice.kind == RECOVERED, Notice.created_on > now - HEALTHY_DAY).limit(1)
    return last in (FIRST_FAILURE, PAUSED) and session.scalar(lately) is None


def _advice(code: str, links: Links) -> str:
    """What went wrong, and the page that says what to do about it; below the sentence of a notice."""
    return f"\n\n{OUTCOMES[code].sentence}\nWhat to do: {links.outcome(OUTCOMES[code].number)}"


def _count(
    session: Session, failed: Counter[int], gone: set[int], advice: Mapping[int, str], rule: PauseRule, now: datetime
) -> None:
    hurry(session)
    for webhook_id, number in sorted(failed.items()):
        webhook = _lock(session, webhook_id)
        if webhook.deleted_on:  # its last requests were in flight
            continue
        if not webhook.failures and (webhook.failed_on is None or now - webhook.failed_on >= HEALTHY_DAY):
            first = f"{webhook.name} failed for the first time in a day.{advice[webhook_id]}"
            _tell(session, webhook, FIRST_FAILURE, first, now)
        webhook.failures += number
        webhook.failing_since = webhook.failing_since or now
        webhook.failed_on = now
        if webhook.paused_on or not webhook.enabled or webhook.kind == RESTHOOK:
            continue
        if webhook_id in gone:
            reason = "the receiver answered 410: this address no longer exists"
            _pause(session, webhook, reason, now, advice[webhook_id])
        elif rule.failures and webhook.failures >= rule.failures and now - webhook.failing_since >= rule.over:
            reason = (
                f"{webhook.failures} deliveries in a row have failed since {webhook.failing_since:%Y-%m-%d %H:%M} UTC"
            )
            _pause(session, webhook, reason, now, advice[webhook_id])


def _lock(session: Session, webhook_id: int) -> Webhook:
    """Locks a webhook, and reads only what is needed here: a damaged spec must not stop the recording."""
    only = load_only(
        Webhook.project_id,
        Webhook.name,
        Webhook.stage,
        Webhook.kind,
        Webhook.enabled,
        Webhook.deleted_on,
        Webhook.failures,
        Webhook.failing_since,
        Webhook.failed_on,
        Webhook.paused_on,
    )
    return session.get_one(
        Webhook, webhook_id, options=[only], with_for_update={"key_share": True}, populate_existing=True
    )


def _pause(session: Session, webhook: Webhook, reason: str, now: datetime, advice: str = "") -> None:
    webhook.paused_on, webhook.paused_reason = now, reason
    then = "Calls do not ask it" if webhook.stage == QUESTION else "Its deliveries are held"
    _tell(session, webhook, PAUSED, f"{webhook.name} is paused: {reason}. {then} until it is resumed.{advice}", now)


def tell_of_subscriber(session: Session, webhook: Webhook, host: str, cancelled: int, now: datetime) -> None:
    """Writes a notice that a subscriber was removed after a 410."""
    sentence = f"{webhook.name}: the subscriber at {host} answered 410: its address no longer exists. It was removed"
    waited = f", and its {cancelled} pending deliveries were cancelled" if cancelled else ""
    _tell(session, webhook, UNSUBSCRIBED, f"{sentence}{waited}.", now)


def _tell(session: Session, webhook: Webhook, kind: str, sentence: str, now: datetime) -> None:
    session.add(
        Notice(
            id=new_id(), project_id=webhook.project_id, webhook_id=webhook.id, kind=kind, text=sentence,
            created_on=now, due_on=now,
        )
    )  # fmt: skip
