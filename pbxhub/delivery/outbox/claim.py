"""Hands due deliveries to a worker: a fair choice, leased to it by a token, with the attempt written before it leaves.

Nothing here looks at a row that is not due: find_due tells behind which webhooks something is, a few rows are taken
behind each, however many wait there, and ix_delivery_claimed holds only what is in flight.
"""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Table, Uuid, bindparam, text
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.cancel import cancel_pending
from pbxhub.delivery.outbox.claimed import Batch, Claimed
from pbxhub.delivery.outbox.due import Due, find_due
from pbxhub.delivery.outbox.fair_choice import Room, choose
from pbxhub.delivery.outbox.lost_attempts import leave_lost
from pbxhub.delivery.outbox.sequence import hold_on
from pbxhub.delivery.webhook_cache import LiveWebhook
from pbxhub.store.bulk import Insert, Query
from pbxhub.store.columns import AMONG, RAW_IDS, JsonColumn, UtcDateTime
from pbxhub.store.ids import new_id
from pbxhub.store.session import STALLED, Base
from pbxhub.webhooks.request import Request

LEASE = timedelta(seconds=20)  # beyond the deadline of the request
LOOK_ELSEWHERE = timedelta(milliseconds=50)  # where a thousand webhooks with something due had no room
TRY_AGAIN = timedelta(milliseconds=5)  # while another process chooses: it takes some ms, unless it has been frozen
# One process chooses at a time, or two would each fill the last place of a webhook. Nobody waits for it: a frozen one
# loses its turn after STALLED. Whoever chooses waits for nobody's rows either, at least not for long.
_MAY_CHOOSE = (
    f"SELECT pg_try_advisory_xact_lock({0x70627868}), set_config('lock_timeout', '1s', true),"
    f" set_config('idle_in_transaction_session_timeout', '{STALLED}', true)"
)


def claim(
    context: DeliveryContext, session: Session, limit: int, now: datetime, rooms: Mapping[int, int] | None = None,
    lease: timedelta = LEASE, chance: Callable[[], float] = random.random,
) -> Batch:  # fmt: skip
    """Takes up to `limit` due deliveries and writes their attempts, in the caller's transaction; send after its commit.

    No more than spec.limits.in_flight of a webhook are ever claimed at once, over all processes, and no more than
    rooms[project_id] of a project now, where that is given. Paused webhooks wait; deliveries of disabled or deleted
    ones are cancelled on the way. Whatever an earlier worker left unfinished is marked worker_lost and taken again.
    """
    session.flush()  # what record has changed in the same transaction: the rest goes past the session
    if not _maychoose(session):
        return Batch((), now + TRY_AGAIN, False)
    due = find_due(session, now, chance)
    for webhook_id in {queue.webhook_id for queue in due.queues if not queue.live}:
        cancel_pending(session, webhook_id, now)
    ready = [queue for queue in due.queues if queue.live]
    if not ready or limit < 1:
        return Batch((), _ask_again(due, now), bool(ready))
    room = Room(session, context.webhook_cache, now, rooms or {})
    chosen, more = choose(session, room, ready, limit, now, chance)
    chosen, hopeless = leave_lost(session, chosen, now)
    claimed = _lease(session, hold_on(session, chosen, now), room.webhooks, now, lease)
    given_up = _own(session, hopeless, room.webhooks, now, lease)
    next_due = due.next_due if claimed or given_up else _ask_again(due, now)
    return Batch(tuple(claimed), next_due, more or due.partly, tuple(given_up))


def _ask_again(due: Due, now: datetime) -> datetime | None:
    """Where nothing could be taken of what was seen, there may be something among the rest."""
    return now + LOOK_ELSEWHERE if due.partly else due.next_due


def _maychoose(session: Session) -> bool:
    """SQLite lets nobody else in anyway."""
    if session.get_bind().dialect.name != "postgresql":
        return True
    return bool(session.connection().exec_driver_sql(_MAY_CHOOSE).scalar())


_FREE = {  # who cannot lock a row now has somebody else's: it is left for the next turn
    "sqlite": "{due}",
    "postgresql": "id IN (SELECT id FROM delivery WHERE {due} FOR UPDATE SKIP LOCKED)",
}
_TAKE = {
    dialect: Query(
        text(f"""
    UPDATE delivery SET claim_token = :token, due_at = :until, attempts = attempts + 1,
           out_of_order = out_of_order OR held, held = false
     WHERE {free.format(due=f"id {AMONG[dialect].format('ids')} AND state = 'pending' AND due_at <= :now")}
    RETURNING id, project_id, webhook_id, stage_event_id, call_id, sequence_id, kind, lane, attempts, tries, outcome,
           created_on, due_at, method, url, headers, body""")  # noqa: S608
        .bindparams(
            bindparam("token", type_=Uuid()), bindparam("until", type_=UtcDateTime()),
            bindparam("now", type_=UtcDateTime()), bindparam("ids", type_=RAW_IDS[dialect]),
        )
        .columns(
            id=Uuid(), stage_event_id=Uuid(), call_id=Uuid(), sequence_id=Uuid(), created_on=UtcDateTime(),
            due_at=UtcDateTime(), headers=JsonColumn,
        )
    )
    for dialect, free in _FREE.items()
}  # fmt: skip
_ATTEMPT: Table = Base.metadata.tables["attempt"]
_BEGIN = Insert(
    _ATTEMPT,
    ("delivery_id", "number", "started_on"),
    dict.fromkeys(("outcome", "message", "peer", "tls_version", "response_body"), "''")
    | dict.fromkeys(("request_headers", "response_headers"), "'[]'")
    | {"response_truncated": "false"},
)


def _lease(
    session: Session, rows: Sequence[Row[Any]], webhooks: Mapping[int, LiveWebhook], now: datetime, lease: timedelta,
) -> list[Claimed]:  # fmt: skip
    """Writes the token, the attempts and the leases of the chosen rows, each as long as its own webhook's deadline
    asks: what a killed worker had of a quick receiver must not wait for that of a slow one."""
    token, leased = new_id(), list[Any]()
    take = _TAKE[session.get_bind().dialect.name]
    for deadline, ids in _by_deadline(rows, webhooks).items():
        leased += take.all(session, token=token, until=now + timedelta(seconds=deadline) + lease, now=now, ids=ids)
    _BEGIN.run(session, [{"delivery_id": row.id, "number": row.attempts, "started_on": now} for row in leased])
    return [
        _claimed(row, _request(row), webhooks[row.webhook_id], token, now, row.due_at)
        for row in sorted(leased, key=lambda row: (row.lane, row.created_on))
    ]


def _by_deadline(rows: Iterable[Row[Any]], webhooks: Mapping[int, LiveWebhook]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(webhooks[row.webhook_id].spec.limits.deadline, []).append(row.id)
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
    session: Session, rows: Sequence[Row[Any]], webhooks: Mapping[int, LiveWebhook], now: datetime, lease: timedelta,
) -> list[Claimed]:  # fmt: skip
    """Writes the token and the lease of rows that leave_lost has locked, and no attempt. Their requests are not read:
    one of them may be what ends the workers."""
    if not rows:
        return []
    token, until = new_id(), now + lease
    own = _OWN[session.get_bind().dialect.name]
    owned = own.all(session, token=token, until=until, ids=[row.id for row in rows])
    nothing = Request("", "", (), b"")
    return [_claimed(row, nothing, webhooks[row.webhook_id], token, now, until) for row in owned]


def _request(row: Row[Any]) -> Request:
    return Request(row.method, row.url, tuple((name, value) for name, value in row.headers), row.body)


def _claimed(
    row: Row[Any], request: Request, webhook: LiveWebhook, token: UUID, now: datetime, until: datetime
) -> Claimed:
    return Claimed(
        row.id, row.project_id, row.stage_event_id, row.call_id, row.sequence_id, row.kind, row.lane, row.attempts,
        row.tries, row.outcome, token, now, until, row.created_on, request, webhook,
    )  # fmt: skip
