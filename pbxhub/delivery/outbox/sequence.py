"""Within a sequence (a call, an ordered call), a webhook sends one delivery after the other.

The rule. A delivery is *ahead* of a later one (by id) of the same webhook and sequence while its first attempt has not
finished: it is pending, its outcome is still empty, and its lane is at least as urgent (a bulk resend never keeps a
live call waiting). Whatever has somebody ahead of it is held. It goes when

* the first attempt of the last one ahead is recorded, whatever came of it: a later retry holds nobody back; or
* that attempt has been on its way for HOLD. It then goes out of order, and is marked.

An attempt whose worker was lost does not count as finished: it is sent again, and the others wait for that. Nor does
the time count in which nobody could send the one ahead: its webhook was paused, its receiver was slow.

Every held delivery leaves: due_at never is further away than HOLD, and hold_on looks at each that is due.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Uuid, and_, bindparam, or_, select, text, update
from sqlalchemy.orm import Session

from pbxhub.store.bulk import Query
from pbxhub.store.columns import AMONG, RAW_IDS, UtcDateTime, one_of, unindexed
from pbxhub.store.delivery_rows import FIRST_ATTEMPTS, PENDING, Delivery, NewDelivery
from pbxhub.store.session import hurry

HOLD = timedelta(seconds=30)  # how long a stage waits for the first attempt of the one before
Place = tuple[int, UUID | None]
"""A webhook and a sequence."""

_QUIETLY = {"synchronize_session": False}
_IS_HELD = text("delivery.held")  # as the partial index has it; the column itself would be written held = 1
_IS_FIRST = text("delivery.state = 'pending' AND delivery.outcome = ''")  # likewise
# The order leads to the partial index: without statistics PostgreSQL takes half of the rows for held, and would begin
# to read the table.
_ANY_HELD = Query(text("SELECT 1 AS there FROM delivery WHERE held ORDER BY sequence_id LIMIT 1"))
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
    """Holds those about to be inserted that have somebody ahead of them, in the table or among themselves.

    The rows ahead are locked, so that whoever records their attempt afterwards sees what waits for it.
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
            one.held, one.due_at = True, now + HOLD
        taken.add(place)


_IS_AHEAD = """p.sequence_id = h.sequence_id AND +p.webhook_id = h.webhook_id AND p.id < h.id
               AND p.state = 'pending' AND p.outcome = '' AND p.lane <= h.lane"""
_THOSE_AHEAD = {  # of each of the few that are asked for: PostgreSQL would rather begin with all that is pending
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
    """The rows to send: of those that were held until now or lost, the ones with nobody ahead who has not had HOLD.

    The latest one ahead decides: with three stages, the second has gone out of order when the first one hangs, and the
    third waits for the second. When their worker is lost, the second waits again.
    """
    held = {row.id for row in rows if row.held}
    asked = [row.id for row in rows if row.held or row.lost]
    ahead = _AHEAD[session.get_bind().dialect.name].all(session, ids=asked, now=now) if asked else []
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
    """What these waited for is gone without an attempt (a resend was stopped): they are not out of order."""
    if going := list(ids):
        session.execute(_LET_GO[session.get_bind().dialect.name], {"ids": going})


def release_next(session: Session, places: Iterable[Place], now: datetime) -> bool:
    """places: of deliveries that have had their first attempt or will never have one. True: somebody goes.

    On PostgreSQL two that end at the same moment do not see each other's end. So what is held is locked first and
    looked at afterwards: the second one waits, and then sees what the first one has written.
    """
    wanted = set(places)
    sequence_ids = list({sequence_id for _, sequence_id in wanted if sequence_id is not None})
    if not sequence_ids or _ANY_HELD.first(session) is None:
        return False
    hurry(session)
    webhook_ids = list({webhook_id for webhook_id, _ in wanted})
    locked = _LOCK_HELD.all(session, sequence_ids=sequence_ids, webhook_ids=webhook_ids)
    held = {row.id for row in locked if (row.webhook_id, row.sequence_id) in wanted}
    going = held - _with_somebody_ahead(session, sequence_ids) if held else set()
    if going:
        session.execute(
            update(Delivery).where(one_of(Delivery.id, going)).values(held=False, due_at=now),
            execution_options=_QUIETLY,
        )
    return bool(going)


def hold_resent(session: Session, rows: Iterable[Delivery], now: datetime) -> None:
    """Rows that have just been put into the queue again keep the order of their calls: they wait for others, and later
    ones that have not left yet wait for them.

    As hold_back: what is ahead is locked, so that whoever records its attempt afterwards sees what waits for it.
    """
    sequence_ids = {row.sequence_id for row in rows if row.sequence_id is not None}
    if not sequence_ids:
        return
    session.flush()  # these rows are ahead of each other, too
    waiting = _with_somebody_ahead(session, list(sequence_ids), _LOCK_IN_TURN)
    session.execute(
        update(Delivery)
        .where(one_of(Delivery.id, waiting), Delivery.claim_token.is_(None), ~Delivery.held)
        .values(held=True, due_at=now + HOLD),
        execution_options=_QUIETLY,
    )


def _with_somebody_ahead(session: Session, sequence_ids: list[UUID], query: Query = _IN_TURN) -> set[UUID]:
    """Of all in these sequences that have not had their first attempt."""
    most_urgent: dict[Place, int] = {}
    waiting = set()
    for row in query.all(session, sequence_ids=sequence_ids):
        place = (row.webhook_id, row.sequence_id)
        if most_urgent.setdefault(place, row.lane + 1) <= row.lane:
            waiting.add(row.id)
        most_urgent[place] = min(most_urgent[place], row.lane)
    return waiting
