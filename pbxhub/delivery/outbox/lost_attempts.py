"""Attempts whose worker ended before it recorded them: nobody knows whether the receiver got the request.

The order of events: 1. a worker is killed, or stands still, with a request in flight; 2. its lease ends (at once by
release_leases, when a worker stops in order); 3. the next claim marks the attempt worker_lost and sends the delivery
again; 4. after MOST_LOST such attempts in a row the delivery is given up, because its request may be what kills the
workers. tests/test_give_up_what_ends_workers.py
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, Uuid, bindparam, delete, func, select, text, update
from sqlalchemy.orm import Session, aliased, load_only

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.open_recordings import FETCH_SECONDS
from pbxhub.delivery.outbox.claimed import Claimed
from pbxhub.sending.outcomes import LOST, OUTCOMES
from pbxhub.store.columns import AMONG, RAW_IDS, UtcDateTime, one_of
from pbxhub.store.delivery_rows import IS_PENDING, Attempt, Delivery
from pbxhub.webhooks.check import LONGEST_UPLOAD

LEASE = timedelta(seconds=20)  # beyond the deadline of the request
LONGEST_LEASE = LEASE + timedelta(seconds=LONGEST_UPLOAD + FETCH_SECONDS)
MOST_LOST = 5  # in a row
_QUIETLY = {"synchronize_session": False}


def release_leases(context: DeliveryContext, session: Session, claimed: Iterable[Claimed], now: datetime) -> None:
    """Ends the leases of deliveries that a stopping worker could not finish: the next claim need not wait for that."""
    leases = {one.id: one.token for one in claimed}
    if not leases:
        return
    session.execute(
        update(Delivery)
        .where(one_of(Delivery.id, leases), one_of(Delivery.claim_token, set(leases.values())))
        .values(due_at=now)
        .execution_options(synchronize_session=False)
    )
    context.wakeups.send(session)


def hand_over(context: DeliveryContext, session: Session, claimed: Iterable[Claimed], now: datetime) -> None:
    """Takes claims and their attempts back, of which nothing was sent: other workers claim these deliveries anew. One
    that another worker has claimed meanwhile is its own."""
    mine = {one.id: one for one in claimed}
    query = select(Delivery).where(one_of(Delivery.id, mine)).order_by(Delivery.id).with_for_update()
    for row in session.scalars(query):
        one = mine[row.id]
        if row.claim_token == one.token:
            row.claim_token, row.due_at, row.attempts = None, now, row.attempts - 1
            this = (Attempt.delivery_id == one.id, Attempt.number == one.attempt)
            session.execute(delete(Attempt).where(*this), execution_options=_QUIETLY)
    context.wakeups.send(session)


class WrongLeases:
    """Ends leases that last longer than any that begins now can.

    Such a lease is of a clock that was ahead and was set back, or of another host whose clock is ahead and which may be
    sending right now. No clock tells which. So it is watched for as long as it was given for, in real time: if it is
    still there then, nobody sends under it. tests/test_deliver_calls.py
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[UUID, UUID | None], float] = {}  # delivery and token: when it was first seen

    def end(self, session: Session, now: datetime, moment: float) -> None:
        """Call it every now and then. What is in the middle of being recorded is left.

        now: by the hub's clock (store/clock.py): a host that is behind would take every lease for a wrong one by its
        own. moment: seconds of a clock that nobody sets (time.monotonic).
        """
        too_long = select(Delivery).where(Delivery.claim_token.is_not(None), Delivery.due_at > now + LONGEST_LEASE)
        few = load_only(Delivery.id, Delivery.attempts, Delivery.due_at, Delivery.claim_token)
        seen: dict[tuple[UUID, UUID | None], float] = {}
        for row in session.scalars(too_long.options(few).with_for_update(skip_locked=True)):
            lease = row.id, row.claim_token
            seen[lease] = self._seen.get(lease, moment)
            begun_on = session.get_one(Attempt, (row.id, row.attempts)).started_on  # by the clock of the lease
            if moment - seen[lease] >= (row.due_at - begun_on).total_seconds():
                row.due_at = now
        self._seen = seen


_LOCKING = {"sqlite": "", "postgresql": "FOR UPDATE SKIP LOCKED"}
_WHO = {
    dialect: text(f"""
    SELECT id, id AS raw FROM delivery
     WHERE id {AMONG[dialect].format("ids")} AND {IS_PENDING} AND claim_token IS NOT NULL AND due_at <= :now
     {locking}""")  # noqa: S608
    .bindparams(bindparam("ids", type_=RAW_IDS[dialect]), bindparam("now", type_=UtcDateTime()))
    .columns(id=Uuid())
    for dialect, locking in _LOCKING.items()
}


def leave_lost(session: Session, rows: Sequence[Row[Any]], now: datetime) -> tuple[list[Row[Any]], list[Row[Any]]]:
    """Marks the unfinished attempts of rows whose lease has ended. Returns the rows to send and those to give up.

    A row that somebody has locked is in neither: its worker may be recording it at this moment, late. A delivery that
    was given up and is sent again by a user may be lost MOST_LOST times once more. The deliveries stay as they are:
    what waits for the first attempt of one (see sequence.py) waits for the next.
    """
    expired = [row.id for row in rows if row.lost]
    if not expired:
        return list(rows), []
    lost = session.execute(_WHO[session.get_bind().dialect.name], {"ids": expired, "now": now}).all()
    if not lost:
        return [row for row in rows if not row.lost], []
    ids = [row.id for row in lost]
    end_lost(session, ids, now)
    hopeless = _lost_too_often(session, ids)
    again = {row.raw for row in lost if row.id not in hopeless}
    given_up = {row.raw for row in lost if row.id in hopeless}
    return [row for row in rows if not row.lost or row.id in again], [row for row in rows if row.id in given_up]


def end_lost(session: Session, ids: Sequence[Any] | Select[UUID], now: datetime) -> None:
    """Marks the unfinished attempts of these deliveries, or of those that a query finds."""
    are_these = Attempt.delivery_id.in_(ids) if isinstance(ids, Select) else one_of(Attempt.delivery_id, ids)
    session.execute(
        update(Attempt)
        .where(are_these, Attempt.finished_on.is_(None))
        .values(finished_on=now, outcome=LOST, message=OUTCOMES[LOST].sentence),
        execution_options=_QUIETLY,
    )


def _lost_too_often(session: Session, ids: list[Any]) -> set[Any]:
    other = aliased(Attempt)
    recorded = select(func.max(other.number)).where(other.delivery_id == Attempt.delivery_id, other.outcome != LOST)
    counted = (
        select(Attempt.delivery_id)
        .where(one_of(Attempt.delivery_id, ids), Attempt.number > func.coalesce(recorded.scalar_subquery(), 0))
        .group_by(Attempt.delivery_id)
        .having(func.count() % MOST_LOST == 0)
    )
    return set(session.scalars(counted))
