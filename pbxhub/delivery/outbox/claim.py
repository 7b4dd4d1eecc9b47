"""Hands due deliveries to a worker: chosen fairly, leased by a token, each with its attempt written before it is sent.

No row is read that is not due: find_due says which webhooks have a due delivery, claim_choice reads a few rows of each,
however many wait there, and ix_delivery_claimed holds only the deliveries in flight.

The order of events, for one delivery:

1. The claim writes claim_token, due_at (the end of the lease) and the attempt, and commits.
2. The worker sends the request. Killed from here on, it leaves an attempt without an end.
3. record finds the token unchanged, completes the attempt and moves the delivery on.
4. Or the lease ends first: the next claim marks the attempt worker_lost and leases the delivery again with a new
   token. If the first worker records after all, its token no longer fits, and only its own attempt is completed.

So a request may be sent twice, but never without an attempt in the history, and a delivery is never lost.
tests/test_claim_and_record.py, tests/test_kill_anything.py
"""

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Uuid, bindparam, text
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.cancel import cancel_pending
from pbxhub.delivery.outbox.claim_choice import Room, choose
from pbxhub.delivery.outbox.claimed import Batch, Claimed, as_claimed, longest_attempt, request_of
from pbxhub.delivery.outbox.due import Due, find_due
from pbxhub.delivery.outbox.lost_attempts import LEASE, leave_lost
from pbxhub.delivery.outbox.sequence import hold_on
from pbxhub.delivery.outbox.webhook_rate import take_turns
from pbxhub.delivery.outbox.write_attempts import begin_attempts
from pbxhub.delivery.webhook_cache import LiveWebhook
from pbxhub.store.bulk import Query
from pbxhub.store.columns import AMONG, RAW_IDS, JsonColumn, UtcDateTime
from pbxhub.store.delivery_rows import IS_PENDING
from pbxhub.store.postgresql import HURRIED
from pbxhub.webhooks.request import Request

LOOK_ELSEWHERE = timedelta(milliseconds=50)  # until the next claim, when all webhooks seen were at their limits
TRY_AGAIN = timedelta(milliseconds=5)  # until the next claim, when another process was choosing: that takes some ms
# One process chooses at a time. Without the lock: 1. A and B both count 7 of 8 requests of a webhook in flight; 2. each
# claims one more: 9. Who does not get the lock returns at once and asks again after TRY_AGAIN. PostgreSQL ends the
# transaction of a process that was frozen while it chose, or of a lost host, after 3 s, and a lock of rows is waited
# for 1 s at most. tests/test_work_beside_a_frozen_worker.py
_MAY_CHOOSE = Query(
    text(
        f"SELECT pg_try_advisory_xact_lock({0x70627868}) AS may, set_config('lock_timeout', '1s', true) AS waits, "
        f"{HURRIED} AS hurried"
    )
)


def claim(
    context: DeliveryContext, session: Session, limit: int, now: datetime, rooms: Mapping[int, int] | None = None,
    lease: timedelta = LEASE, chance: Callable[[], float] = random.random, without: Collection[int] = (),
) -> Batch:  # fmt: skip
    """Claims up to `limit` due deliveries and writes their attempts, in the caller's transaction.

    Send the requests after its commit.
    Over all processes, a webhook never has more than spec.limits.in_flight claimed at once, and never more than
    spec.limits.per_minute attempts begun within a minute; this claim takes at most
    rooms[project_id] of a project, where that is given, and nothing of the webhooks `without`. Those of paused
    webhooks wait, those of disabled or deleted webhooks are cancelled here. Attempts that a worker left unfinished are
    marked worker_lost, and their deliveries are claimed again.
    """
    session.flush()  # changes that record made in this transaction: the statements below bypass the session
    if not may_choose(session):
        return Batch((), now + TRY_AGAIN, False)
    due = find_due(session, now, chance, context.last_look)
    for webhook_id in {queue.webhook_id for queue in due.queues if not queue.live}:
        cancel_pending(session, webhook_id, now)
    ready = [queue for queue in due.queues if queue.live and queue.webhook_id not in without]
    if not ready or limit < 1:
        return Batch((), _ask_again(due, now), bool(ready))
    room = Room(session, context, now, rooms or {})
    chosen, more = choose(session, room, ready, limit, now, chance)
    chosen, hopeless = leave_lost(session, chosen, now)
    claimed = _lease(session, hold_on(session, chosen, now), room, now, lease)
    context.last_look.claimed(session, {one.id for one in claimed})
    take_turns(session, claimed)
    given_up = _own(session, hopeless, room, now, lease)
    next_due = due.next_due if claimed or given_up else _ask_again(due, now)
    return Batch(tuple(claimed), next_due, more or due.partly, tuple(given_up))


def _ask_again(due: Due, now: datetime) -> datetime | None:
    """Soon, if nothing could be claimed of the queues that were looked at, and there are others."""
    return now + LOOK_ELSEWHERE if due.partly else due.next_due


def may_choose(session: Session) -> bool:
    """On SQLite always: the write lock of the transaction keeps everybody else out."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(_MAY_CHOOSE.first(session).may)


_FREE = {  # a row that is locked at this moment is left for the next claim
    "sqlite": "{due}",
    "postgresql": "id IN (SELECT id FROM delivery WHERE {due} FOR UPDATE SKIP LOCKED)",
}
_TAKE = {
    dialect: Query(
        text(f"""
    UPDATE delivery SET claim_token = :token, due_at = :until, attempts = attempts + 1,
           out_of_order = out_of_order OR held, held = false
     WHERE {free.format(due=f"id {AMONG[dialect].format('ids')} AND {IS_PENDING} AND due_at <= :now")}
    RETURNING id, project_id, webhook_id, stage_event_id, call_id, sequence_id, kind, lane, attempts, tries, outcome,
           created_on, due_at, method, url, headers, body, files""")  # noqa: S608
        .bindparams(
            bindparam("token", type_=Uuid()), bindparam("until", type_=UtcDateTime()),
            bindparam("now", type_=UtcDateTime()), bindparam("ids", type_=RAW_IDS[dialect]),
        )
        .columns(
            id=Uuid(), stage_event_id=Uuid(), call_id=Uuid(), sequence_id=Uuid(), created_on=UtcDateTime(),
            due_at=UtcDateTime(), headers=JsonColumn, files=JsonColumn,
        )
    )
    for dialect, free in _FREE.items()
}  # fmt: skip


def _lease(
    session: Session, rows: Sequence[Row[Any]], room: Room, now: datetime, lease: timedelta,
) -> list[Claimed]:  # fmt: skip
    """Writes token, attempt and lease of the chosen rows. Each lease is as long as the deadline of its own webhook
    requires: after a worker is killed, a delivery to a quick receiver must not wait for the deadline of a slow one."""
    leased = list[Any]()
    take = _TAKE[session.get_bind().dialect.name]
    for deadline, ids in _by_deadline(rows, room.webhooks).items():
        leased += take.all(session, token=room.token, until=now + timedelta(seconds=deadline) + lease, now=now, ids=ids)
    claimed = [
        as_claimed(row, request_of(row), room.webhooks[row.webhook_id], room.token, now, row.due_at)
        for row in sorted(leased, key=lambda row: (row.lane, row.created_on))
    ]
    begin_attempts(session, claimed)
    return claimed


def _by_deadline(rows: Iterable[Row[Any]], webhooks: Mapping[int, LiveWebhook]) -> dict[float, list[Any]]:
    """The ids by longest_attempt. Whether there are files says the stored request, because the settings of the webhook
    may have changed since it was rendered."""
    found: dict[float, list[Any]] = {}
    for row in rows:
        found.setdefault(longest_attempt(webhooks[row.webhook_id], row.has_files), []).append(row.id)
    return found


_OWN = {
    dialect: Query(
        text(f"""
    UPDATE delivery SET claim_token = :token, due_at = :until WHERE id {among.format("ids")}
    RETURNING id, project_id, webhook_id, stage_event_id, call_id, sequence_id, kind, lane, attempts, tries, outcome,
           created_on""")  # noqa: S608
        .bindparams(
            bindparam("token", type_=Uuid()), bindparam("until", type_=UtcDateTime()),
            bindparam("ids", type_=RAW_IDS[dialect]),
        )
        .columns(id=Uuid(), stage_event_id=Uuid(), call_id=Uuid(), sequence_id=Uuid(), created_on=UtcDateTime())
    )
    for dialect, among in AMONG.items()
}  # fmt: skip


def _own(
    session: Session, rows: Sequence[Row[Any]], room: Room, now: datetime, lease: timedelta,
) -> list[Claimed]:  # fmt: skip
    """Writes token and lease, but no attempt, of rows that leave_lost has locked. Their requests are not read: one of
    them may be what kills the workers."""
    if not rows:
        return []
    until = now + lease
    own = _OWN[session.get_bind().dialect.name]
    owned = own.all(session, token=room.token, until=until, ids=[row.id for row in rows])
    nothing = Request("", "", (), b"")
    return [as_claimed(row, nothing, room.webhooks[row.webhook_id], room.token, now, until) for row in owned]
