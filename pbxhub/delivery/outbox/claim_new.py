"""Claims new deliveries before they are inserted, so that one that may leave at once is written once, with its lease.

It is what claim.py would do with them right after the insert, by the same lock, limits and leases, but for less: their
requests need not be read again, and no row is written twice. Only the plain case is taken; the rest is left to a claim,
which knows what else waits:

* the webhook may send: it is enabled, not paused, has its token and no rate;
* nothing of it is due: what is older goes first, and a retry or a resend has a share of its places;
* it has a free place, and so has its project in this process.

tests/test_hand_over_new_deliveries.py
"""

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, bindparam, text
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.claim import may_choose
from pbxhub.delivery.outbox.claim_choice import Room
from pbxhub.delivery.outbox.claimed import Claimed, as_claimed, longest_attempt, request_of
from pbxhub.delivery.outbox.due import find_due
from pbxhub.delivery.outbox.lost_attempts import LEASE
from pbxhub.store.bulk import Query
from pbxhub.store.columns import AMONG, ListOf, UtcDateTime
from pbxhub.store.delivery_rows import FIRST_ATTEMPTS, PENDING, NewDelivery

_OPEN = {
    dialect: Query(
        text(f"""
    SELECT w.id FROM webhook w LEFT JOIN connection c ON c.id = w.connection_id
     WHERE w.id {among.format("webhook_ids")} AND w.enabled AND w.deleted_on IS NULL AND w.paused_on IS NULL
       AND (c.id IS NULL OR c.ready_until > :now)""")  # noqa: S608
        .bindparams(bindparam("now", type_=UtcDateTime()), bindparam("webhook_ids", type_=ListOf(BigInteger())))
    )
    for dialect, among in AMONG.items()
}  # fmt: skip
"""Those of the webhooks that may send."""


def claim_new(
    context: DeliveryContext, session: Session, new: Sequence[NewDelivery], limit: int, now: datetime,
    rooms: Mapping[int, int] | None = None, lease: timedelta = LEASE, without: Collection[int] = (),
) -> list[Claimed]:  # fmt: skip
    """Claims those of the new deliveries that may be sent at once, up to `limit`; each has its lease in it afterwards.

    Insert them, then their attempts (begin_attempts), and send them after the commit. For the rest see claim.
    """
    able = [one for one in new if _is_due(one, now) and one.webhook_id not in without]
    if not able or limit < 1 or not may_choose(session):
        return []
    session.flush()  # what this transaction has changed: the statements bypass the session
    free = _free(context, session, {one.webhook_id for one in able}, now)
    room = Room(session, context, now, rooms or {})
    room.learn(session, able)
    claimed = list[Claimed]()
    for one in able:
        webhook = room.webhooks.get(one.webhook_id)
        if webhook is None or webhook.id not in free or webhook.spec.limits.per_minute:
            continue
        if len(claimed) < limit and room.take(one):
            seconds = longest_attempt(webhook, bool(one.files))
            one.claim_token, one.due_at, one.attempts = room.token, now + timedelta(seconds=seconds) + lease, 1
            claimed.append(as_claimed(one, request_of(one), webhook, room.token, now, one.due_at))
    return claimed


def _is_due(one: NewDelivery, now: datetime) -> bool:
    return one.state == PENDING and not one.held and one.lane == FIRST_ATTEMPTS and one.due_at <= now


def _free(context: DeliveryContext, session: Session, webhook_ids: Collection[int], now: datetime) -> Collection[int]:
    """Those of the webhooks that may send, and of which nothing is due."""
    due = find_due(session, now, random.random, context.last_look)
    if due.partly:
        return ()
    busy = {queue.webhook_id for queue in due.queues}
    rows = _OPEN[session.get_bind().dialect.name].all(session, now=now, webhook_ids=webhook_ids)
    return {row.id for row in rows} - busy
