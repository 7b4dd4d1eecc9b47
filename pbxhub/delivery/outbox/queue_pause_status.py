"""The only place that changes the status of a queue pause. The states are explained in store/queue_pauses.py.

The order of events: 1. the API registers the order; 2. a listener takes it and commits; 3. it sends QueuePause to the
PBX, in the order of the orders; 4. the answer is written. If the listener dies after 2, the order ends as an error that
says so: whoever ordered it may order it again, which changes nothing twice.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.wakeup import ORDERS
from pbxhub.store.queue_pauses import NOT_FOUND, PAUSED, REFUSED, UNPAUSED, WAITING, QueuePause

STALE = timedelta(seconds=60)  # after that nobody expects the pause
_MOST_TAKEN = 50
_WAITS = text("status = 'waiting'")  # as text, so that the database uses the partial index


@dataclass(frozen=True, slots=True)
class PauseToSend:
    """An order that its listener sends to the PBX now, exactly once."""

    id: UUID
    member: str
    queue: str
    paused: bool
    reason: str


def register_pause(context: DeliveryContext, session: Session, order: QueuePause) -> None:
    """Writes a new order and wakes the listeners."""
    session.add(order)
    session.flush()
    context.wakeups.send(session, ORDERS)


def pbxs_with_pauses(session: Session) -> frozenset[int]:
    """The PBXs on which an order waits. Locks nothing."""
    return frozenset(session.scalars(select(QueuePause.pbx_id).distinct().where(_WAITS)))


def waiting_pauses(session: Session, project_id: int) -> int:
    """How many orders of a project wait."""
    waits = select(func.count()).where(QueuePause.project_id == project_id, QueuePause.status == WAITING)
    return session.scalar(waits) or 0


def take_pauses(session: Session, pbx_id: int, now: datetime) -> tuple[PauseToSend, ...]:
    """Takes the work for this PBX, in the caller's transaction. Do it after the commit: it is never given out again."""
    end_stale(session, now, pbx_id)
    rows = session.scalars(
        select(QueuePause)
        .where(QueuePause.pbx_id == pbx_id, _WAITS, QueuePause.taken_on.is_(None))
        .order_by(QueuePause.id)
        .limit(_MOST_TAKEN)
        .with_for_update(skip_locked=True)
    ).all()
    for order in rows:
        order.taken_on = now
    return tuple(PauseToSend(order.id, order.member, order.queue, order.paused, order.reason) for order in rows)


def end_stale(session: Session, now: datetime, pbx_id: int | None = None) -> None:
    """Ends orders, of one PBX or of all, that no listener has taken, or whose answer was never written."""
    old = select(QueuePause).where(_WAITS, QueuePause.created_on < now - STALE).order_by(QueuePause.id).limit(500)
    mine = old if pbx_id is None else old.where(QueuePause.pbx_id == pbx_id)
    for order in session.scalars(mine.with_for_update(skip_locked=True)):
        if order.taken_on is None:
            _end(order, REFUSED, "No listener was connected to the PBX within a minute.", now)
        elif now - order.taken_on > STALE:
            _end(order, REFUSED, "Outcome unknown: the hub lost the connection while asking the PBX.", now)


def settle_pause(session: Session, order_id: UUID, success: bool, said: str, now: datetime) -> None:
    """Writes the answer of the PBX. said: its words."""
    order = session.get(QueuePause, order_id, with_for_update=True)
    if order is None or order.status != WAITING:
        return
    if success:
        _end(order, PAUSED if order.paused else UNPAUSED, "", now)
    elif said == "Interface not found":
        where = "this queue" if order.queue else "any queue"
        _end(order, NOT_FOUND, f"The PBX has no such member in {where}.", now)
    elif said == "Permission denied":
        _end(order, REFUSED, "The AMI user may not pause members; give it the rights of [pbxhub-calls].", now)
    else:
        _end(order, REFUSED, f"The PBX refused: {said.rstrip('.')}.", now)


def _end(order: QueuePause, status: str, message: str, now: datetime) -> None:
    order.status, order.message, order.ended_on = status, message[:200], now
