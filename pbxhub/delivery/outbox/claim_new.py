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
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice

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
    session.flush()  # what this transaction has changed: the statements bypass the session
    able = _able(context, session, [one for one in new if one.webhook_id not in without], now)
    if not able or limit < 1 or not may_choose(session):
        return []
    due = find_due(session, now, random.random, context.last_look)
    busy = {queue.webhook_id for queue in due.queues}
    able = [] if due.partly else [one for one in able if one.webhook_id not in busy]
    if not able:
        return []
    room = Room(session, context, now, rooms or {})
    room.learn(session, able)
    return [_leased(one, room, now, lease) for one in islice(filter(room.take, able), limit)]


def _able(context: DeliveryContext, session: Session, new: Iterable[NewDelivery], now: datetime) -> list[NewDelivery]:
    """Those that are due, and whose webhooks may send and have no rate."""
    due = [
        one for one in new if one.state == PENDING and not one.held and one.lane == FIRST_ATTEMPTS and one.due_at <= now
    ]
    if not due:
        return []
    projects = context.webhook_cache.fetch(session, {one.project_id for one in due})
    webhooks = [projects[one.project_id].by_id.get(one.webhook_id) for one in due]
    asked = {webhook.id for webhook in webhooks if webhook and not webhook.spec.limits.per_minute}
    rows = _OPEN[session.get_bind().dialect.name].all(session, now=now, webhook_ids=asked) if asked else ()
    open_ids = {row.id for row in rows}
    return [one for one in due if one.webhook_id in open_ids]


def _leased(one: NewDelivery, room: Room, now: datetime, lease: timedelta) -> Claimed:
    webhook = room.webhooks[one.webhook_id]
    until = now + timedelta(seconds=longest_attempt(webhook, bool(one.files))) + lease
    one.claim_token, one.due_at, one.attempts = room.token, until, 1
    return as_claimed(one, request_of(one), webhook, room.token, now, until)
