"""Within a sequence (a call, an ordered call), a webhook sends one delivery after the other.

The rule: a delivery is *ahead* of a later one (by id) of the same webhook and sequence until its first attempt has
ended: it is pending, its outcome is empty, and its lane is at least as urgent (a bulk resend never delays a live call).
A delivery that has another one ahead of it is held. It is sent when

* the first attempt of the last one ahead is recorded, with whatever outcome: later retries hold nobody back; or
* that attempt has been in flight for HOLD. The held delivery is then sent out of order, and marked so.

An attempt whose worker was lost has not ended: the delivery is sent again, and those behind it wait. Time in which the
one ahead could not be sent does not count either: its webhook was paused, or the receiver had no free place.

No delivery is held for ever: its due_at is at most HOLD away, or the end of its delay (not_before), and hold_on checks
each one that becomes due. What is released before the end of its delay goes on waiting for that.

The order of events that must not lose a wakeup, on PostgreSQL, where two transactions do not see each other's changes:
1. publish is about to insert B behind A, while record is completing A's attempt; 2. both lock A's row first (hold_back
and lock_owned), so one waits for the other; 3. if publish commits first, record sees B and releases it; if record
commits first, publish sees that nothing is ahead and does not hold B. tests/test_keep_the_order_of_a_call.py
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Uuid, and_, bindparam, case, literal, or_, select, text, update
from sqlalchemy.orm import Session

from pbxhub.store.bulk import Query
from pbxhub.store.columns import AMONG, RAW_IDS, UtcDateTime, one_of, unindexed
from pbxhub.store.delivery_rows import FIRST_ATTEMPTS, IS_FIRST, IS_PENDING, PENDING, Delivery, NewDelivery
from pbxhub.store.postgresql import hurry

HOLD = timedelta(seconds=30)  # that a delivery waits for the attempt of the one ahead
Place = tuple[int, UUID | None]
"""A webhook and a sequence."""

_QUIETLY = {"synchronize_session": False}
_IS_HELD = text("delivery.held")  # as in the partial index; SQLAlchemy would write held = 1
_IS_FIRST = text(IS_FIRST)
# ORDER BY leads to the partial index: without statistics PostgreSQL expects half of the rows to be held, and would read
# the whole table.
_ANY_HELD = Query(
    select(Delivery.id)
    .where(_IS_HELD, one_of(Delivery.sequence_id, "sequence_ids"))
    .order_by(Delivery.sequence_id)
    .limit(1)
)
_LOCK_HELD = Query(
    select(Delivery.webhook_id, Delivery.sequence_id, Delivery.id)
    .where(_IS_HELD, one_of(Delivery.sequence_id, "sequence_ids"))
    .where(one_of(unindexed(Delivery.webhook_id), "webhook_ids"))
    .order_by(Delivery.id)
    .with_for_update(key_share=True)
)
_FIRST = (
    select(Delivery.webhook_id, Delivery.sequence_id, Delivery.id, Delivery.lane)
    .where(_IS_FIRST, one_of(Delivery.sequence_id, "sequence_ids"))
    .order_by(Delivery.id)
)
_IN_TURN, _LOCK_IN_TURN = Query(_FIRST), Query(_FIRST.with_for_update(key_share=True))


_BEFORE = Query(
    select(Delivery.webhook_id, Delivery.sequence_id)
    .where(_IS_FIRST, one_of(Delivery.sequence_id, "sequence_ids"), Delivery.lane <= FIRST_ATTEMPTS)
    .order_by(Delivery.id)
    .with_for_update(key_share=True)
)


def hold_back(session: Session, deliveries: Sequence[NewDelivery], now: datetime) -> None:
    """Holds those of the new deliveries that have another one ahead, in the table or among themselves.

    The rows ahead stay locked until the commit: record then sees what waits for them.
    """
    sequence_ids = {one.sequence_id for one in deliveries if one.sequence_id is not None}
    if not sequence_ids:
        return
    session.flush()
    taken: set[Place] = set(_BEFORE.all(session, sequence_ids=list(sequence_ids)))
    for one in deliveries:
        if one.state != PENDING or one.sequence_id is None:
            continue
        place = (one.webhook_id, one.sequence_id)
        if place in taken:
            one.held, one.due_at = True, max(one.due_at, now + HOLD)
        taken.add(place)


_IS_AHEAD = f"""p.sequence_id = h.sequence_id AND +p.webhook_id = h.webhook_id AND p.id < h.id
               AND p.outcome = '' AND p.{IS_PENDING} AND p.lane <= h.lane"""
_THOSE_AHEAD = {  # for each of the few rows: PostgreSQL would otherwise begin with everything that is pending
    "sqlite": f"delivery p ON {_IS_AHEAD}",
    "postgresql": f"LATERAL (SELECT * FROM delivery p WHERE {_IS_AHEAD} OFFSET 0) p ON true",  # noqa: S608
}
_AHEAD = {
    dialect: Query(
        text(f"""
    SELECT h.id AS raw, h.id,
           max(CASE WHEN p.claim_token IS NULL OR p.due_at <= :now THEN :now ELSE a.started_on END) AS since
      FROM delivery h
      JOIN {_THOSE_AHEAD[dialect]}
      LEFT JOIN attempt a ON a.delivery_id = p.id AND a.number = p.attempts
     WHERE h.id {among.format("ids")} AND h.outcome = '' GROUP BY h.id""")  # noqa: S608
        .bindparams(bindparam("now", type_=UtcDateTime()), bindparam("ids", type_=RAW_IDS[dialect]))
        .columns(id=Uuid(), since=UtcDateTime())
    )
    for dialect, among in AMONG.items()
}


def hold_on(session: Session, rows: Sequence[Row[Any]], now: datetime) -> list[Row[Any]]:
    """Returns the rows to send: without those that were held or lost and have one ahead that has not had HOLD yet.

    The latest one ahead decides. With three stages: 1. the first one hangs; 2. after HOLD the second is sent out of
    order; 3. the third waits for the second. When their worker is lost, the second waits for the first again.
    """
    held = {row.id for row in rows if row.held}
    asked = [row.id for row in rows if row.held or row.lost]
    if not asked:
        return list(rows)
    ahead = _AHEAD[session.get_bind().dialect.name].all(session, ids=asked, now=now)
    waiting = {row.raw: (row.id, row.since + HOLD) for row in ahead if row.since + HOLD > now}
    is_lost = and_(Delivery.claim_token.is_not(None), Delivery.due_at <= now)
    for delivery_id, until in waiting.values():
        free = select(Delivery.id).where(Delivery.id == delivery_id, or_(_IS_HELD, is_lost))
        session.execute(
            update(Delivery)
            .where(Delivery.id.in_(free.with_for_update(skip_locked=True)))
            .values(held=True, due_at=until, claim_token=None),
            execution_options=_QUIETLY,
        )
    _let_go(session, held - {row.raw for row in ahead})
    return [row for row in rows if row.id not in waiting]


_LET_GO = {
    dialect: text(
        "UPDATE delivery SET held = false"  # noqa: S608
        f" WHERE id IN (SELECT id FROM delivery WHERE id {AMONG[dialect].format('ids')} {locking})"
    ).bindparams(bindparam("ids", type_=RAW_IDS[dialect]))
    for dialect, locking in (("sqlite", ""), ("postgresql", "FOR UPDATE SKIP LOCKED"))
}  # fmt: skip


def _let_go(session: Session, ids: Iterable[Any]) -> None:
    """Marks them as not held: what was ahead has left the queue without an attempt, so they are not out of order."""
    if going := list(ids):
        session.execute(_LET_GO[session.get_bind().dialect.name], {"ids": going})


def release_next(session: Session, places: Iterable[Place], now: datetime) -> bool:
    """Releases what was held behind deliveries of these places. True: something is due now.

    places: of deliveries whose first attempt has ended or will never be made.

    Two attempts of one sequence may end at the same moment: 1. both transactions write their outcome; 2. the first one
    locks the held rows, the second one waits for it; 3. the first one commits; 4. the second one has the lock, looks at
    what is ahead only now, and sees both outcomes. Looking before locking, each would see the other one still ahead.
    """
    wanted = set(places)
    sequence_ids = list({sequence_id for _, sequence_id in wanted if sequence_id is not None})
    if not sequence_ids or _ANY_HELD.first(session, sequence_ids=sequence_ids) is None:
        return False
    hurry(session)
    webhook_ids = list({webhook_id for webhook_id, _ in wanted})
    locked = _LOCK_HELD.all(session, sequence_ids=sequence_ids, webhook_ids=webhook_ids)
    held = {row.id for row in locked if (row.webhook_id, row.sequence_id) in wanted}
    going = held - _with_one_ahead(session, sequence_ids) if held else set()
    if going:
        session.execute(
            update(Delivery).where(one_of(Delivery.id, going)).values(held=False, due_at=_not_before(now)),
            execution_options=_QUIETLY,
        )
    return bool(going)


def hold_resent(session: Session, rows: Iterable[Delivery], now: datetime) -> None:
    """Brings deliveries that are sent again into the order of their sequences: they wait for those ahead, and later
    ones that have not been sent yet wait for them. Rows ahead are locked, as by hold_back.
    """
    sequence_ids = {row.sequence_id for row in rows if row.sequence_id is not None}
    if not sequence_ids:
        return
    session.flush()  # these deliveries may be ahead of each other
    waiting = _with_one_ahead(session, list(sequence_ids), _LOCK_IN_TURN)
    session.execute(
        update(Delivery)
        .where(one_of(Delivery.id, waiting), Delivery.claim_token.is_(None), ~Delivery.held)
        .values(held=True, due_at=_not_before(now + HOLD)),
        execution_options=_QUIETLY,
    )


def _not_before(moment: datetime) -> ColumnElement[datetime]:
    """This time, or the end of the delivery's delay."""
    return case((Delivery.not_before > moment, Delivery.not_before), else_=literal(moment, UtcDateTime()))


def _with_one_ahead(session: Session, sequence_ids: list[UUID], query: Query = _IN_TURN) -> set[UUID]:
    """The ids of the deliveries of these sequences, not attempted yet, that have another one ahead."""
    most_urgent: dict[Place, int] = {}
    waiting = set()
    for row in query.all(session, sequence_ids=sequence_ids):
        place = (row.webhook_id, row.sequence_id)
        if most_urgent.setdefault(place, row.lane + 1) <= row.lane:
            waiting.add(row.id)
        most_urgent[place] = min(most_urgent[place], row.lane)
    return waiting
