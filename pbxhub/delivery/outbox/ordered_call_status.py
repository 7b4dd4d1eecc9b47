"""The only place that changes the status of an ordered call. The states are explained in store/ordered_calls.py.

The order of events: 1. the API registers the order; 2. a listener takes it (taken_on) and commits; 3. it sends
Originate to the PBX; 4. the tracker reports the call, and publish moves the order on with it. If the listener dies
between 2 and 3, nobody places the call, and the order ends as an error: a phone rings once or not at all, never twice.
tests/api/test_order_calls.py
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from pbxhub.delivery.call_rows import CallNow, read_call
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.links import LinkRule, link_rule
from pbxhub.delivery.outbox.callbacks import callback_data, send_callback
from pbxhub.delivery.wakeup import ORDERS
from pbxhub.store.accounts import Project
from pbxhub.store.events import NewEvent, keep
from pbxhub.store.ordered_calls import (
    CANCELLED,
    CHANNEL_PREFIX,
    COMPLETED,
    ERROR,
    FAILED,
    FINAL,
    ONGOING,
    REGISTERED,
    DialPlan,
    OrderedCall,
    dial_plan_of,
)  # fmt: skip

STALE = timedelta(seconds=60)  # after that an order is no longer placed: the phone would ring unexpectedly
NO_CALL = timedelta(seconds=60)  # after the ringing; a taken order without a call has failed then
HANG_UP_AGAIN = timedelta(seconds=15)  # the connection may have broken, or there may have been no channel yet
ABANDONED = timedelta(minutes=3)  # after the ringing; an order that no listener has moved on by then is ended
LONGEST = timedelta(hours=24)  # as long as the tracker keeps a silent call; an ongoing order ends then
_NOT_REACHED = frozenset({"NO ANSWER", "BUSY", "DECLINE", "CLIENT NO ANSWER"})
_MOST_TAKEN = 20
_IS_OPEN = text("status IN ('registered', 'ongoing')")  # as text, so that the database uses the partial index


@dataclass(frozen=True, slots=True)
class Placement:
    """A call to place now, exactly once, as the dial plan of the PBX says."""

    id: UUID
    channel_id: str
    channel: str
    context: str
    number: str
    from_number: str
    ring_seconds: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What a listener has to do for the ordered calls of its PBX. hang_up: channel ids of cancelled calls. more: orders
    may be left for another turn."""

    place: tuple[Placement, ...] = ()
    hang_up: tuple[str, ...] = ()
    more: bool = False


def register(context: DeliveryContext, session: Session, order: OrderedCall, now: datetime) -> None:
    """Writes a new order, wakes the listeners and sends its first callback."""
    session.add(order)
    session.flush()
    context.wakeups.send(session, ORDERS)
    _report(context, session, order, None, now)


def pbxs_with_orders(session: Session) -> frozenset[int]:
    """The PBXs on which an order is open. Locks nothing."""
    found = session.scalars(select(OrderedCall.pbx_id).distinct().where(_IS_OPEN))
    return frozenset(pbx_id for pbx_id in found if pbx_id)


def take(context: DeliveryContext, session: Session, pbx_id: int, now: datetime) -> Turn:
    """Takes the work for this PBX, in the caller's transaction. Do it after the commit: it is never given out again."""
    plan = dial_plan_of(session, pbx_id)
    rows = session.scalars(
        select(OrderedCall)
        .where(OrderedCall.pbx_id == pbx_id, _IS_OPEN)
        .order_by(OrderedCall.id)
        .limit(500)
        .with_for_update(skip_locked=True)
    ).all()
    place, hang_up = list[Placement](), list[str]()
    for order in rows:
        if order.taken_on is None and now - order.created_on > STALE:
            move(context, session, order, ERROR, "No listener was connected to the PBX within a minute.", now)
        elif order.taken_on is None and len(place) < _MOST_TAKEN:
            order.taken_on = now
            place.append(_placement(order, plan))
        elif _is_lost(order, now, plan.ring_seconds):
            move(context, session, order, ERROR, "Outcome unknown: the hub stopped while placing the call.", now)
        elif order.cancel_asked_on and (order.cancel_sent_on is None or now - order.cancel_sent_on > HANG_UP_AGAIN):
            order.cancel_sent_on = now
            hang_up.append(order.channel_id)
    return Turn(tuple(place), tuple(hang_up), len(place) == _MOST_TAKEN)


def sweep(context: DeliveryContext, session: Session, now: datetime) -> None:
    """Ends open orders of PBXs without a listener. The other orders are ended by their listeners."""
    rows = session.scalars(
        select(OrderedCall)
        .where(OrderedCall.status.in_((REGISTERED, ONGOING)), OrderedCall.created_on < now - ABANDONED)
        .order_by(OrderedCall.id)
        .limit(500)
        .with_for_update(skip_locked=True)
    ).all()
    for order in rows:
        begun = order.taken_on or order.created_on
        longest = ABANDONED + timedelta(seconds=dial_plan_of(session, order.pbx_id or 0).ring_seconds)
        if order.taken_on is None:
            move(context, session, order, ERROR, "No listener was connected to the PBX.", now)
        elif order.call_id is None and now - begun > longest:
            move(
                context, session, order, ERROR, "Outcome unknown: the hub has had no connection to the PBX since.", now
            )
        elif now - begun > LONGEST:
            move(context, session, order, ERROR, "No end of the call was reported within a day.", now)


def attach_custom(session: Session, calls: Iterable[CallNow]) -> None:
    """Gives ordered calls that have just begun the custom_args_values of the order: the parameters custom.NAME."""
    for call in calls:
        order_id = _order_id(call.linkedid) if call.is_new else None
        order = session.get(OrderedCall, order_id) if order_id else None
        if order is not None and order.custom:
            call.data = {"custom": order.custom, **call.data}


def end_without_channel(
    context: DeliveryContext, session: Session, order_id: UUID, begun: bool, said: str, now: datetime
) -> None:
    """Ends an order whose call has no channel. begun: the PBX tried to place it; otherwise it refused the action."""
    order = _locked(session, order_id)
    if order is None or order.status != REGISTERED or order.call_id is not None:
        return
    if order.cancel_asked_on:
        move(context, session, order, CANCELLED, "Called off.", now)
    elif begun:
        move(context, session, order, ERROR, "The agent's phone could not be reached: it is not registered.", now)
    else:
        move(context, session, order, ERROR, f"The PBX refused to place the call: {said.rstrip('.')}.", now)


def ask_cancel(context: DeliveryContext, session: Session, order: OrderedCall, now: datetime) -> bool:
    """Cancels an order: at once if no listener has taken it, otherwise by hanging up. False: it is over already."""
    if order.status in FINAL:
        return False
    if order.taken_on is None:
        move(context, session, order, CANCELLED, "Cancelled before it began.", now)
    else:
        order.cancel_asked_on = order.cancel_asked_on or now
        context.wakeups.send(session, ORDERS)
    return True


def follow_ordered(context: DeliveryContext, session: Session, calls: Iterable[CallNow], now: datetime) -> None:
    """Moves the orders of these calls on. Call it in the transaction that writes the calls."""
    for call in calls:
        order_id = _order_id(call.linkedid)
        order = _locked(session, order_id) if order_id else None
        if order is None or order.status in FINAL:
            continue
        order.call_id = call.id
        order.answered_on = order.answered_on or (call.answered_on if call.direction == "outgoing" else None)
        if order.answered_on:
            move(context, session, order, ONGOING, "", now, call)
        if call.ended_on:
            order.ended_on = call.ended_on
            status, reason = _outcome(order, call)
            move(context, session, order, status, reason, now, call)


def move(
    context: DeliveryContext, session: Session, order: OrderedCall, status: str, reason: str, now: datetime,
    call: CallNow | None = None,
) -> None:  # fmt: skip
    """Gives an order its next status, once, and reports it by event and callback."""
    if order.status == status or order.status in FINAL:
        return
    order.status, order.reason = status, reason[:500]
    if status in FINAL:
        order.ended_on = order.ended_on or now
    _report(context, session, order, call, now)


def add_later(context: DeliveryContext, session: Session, order: OrderedCall, now: datetime) -> None:
    """Sends one more callback, with the analysis that has arrived."""
    call = read_call(session, order.call_id) if order.call_id else None
    data = callback_data(context, order, call, now, _links_of(session, order))
    send_callback(context, session, order, {**data, "analysis": order.analysis}, now, call)


def open_orders(session: Session, project_id: int, since: datetime) -> tuple[int, int]:
    """How many ordered calls of a project are open, and how many it has ordered since that moment."""
    table = OrderedCall
    going = select(func.count()).where(table.project_id == project_id, table.status.in_((REGISTERED, ONGOING)))
    recent = select(func.count()).where(table.project_id == project_id, table.created_on > since)
    return session.scalar(going) or 0, session.scalar(recent) or 0


def _report(
    context: DeliveryContext, session: Session, order: OrderedCall, call: CallNow | None, now: datetime
) -> None:
    data = {"order_id": str(order.id), "status": order.status, "reason": order.reason}
    keep(session, [NewEvent(order.project_id, "call_status_changed", now, data, call.id if call else order.call_id)])
    told = callback_data(context, order, call, now, _links_of(session, order))
    send_callback(context, session, order, told, now, call)


def _links_of(session: Session, order: OrderedCall) -> LinkRule:
    return link_rule(session.get_one(Project, order.project_id))


def _outcome(order: OrderedCall, call: CallNow) -> tuple[str, str]:
    if order.cancel_asked_on:
        return CANCELLED, "Called off."
    if order.answered_on:
        return COMPLETED, ""
    if call.direction == "outgoing":
        reached = call.disposition in _NOT_REACHED
        return (FAILED, f"Not answered: {call.disposition}.") if reached else (ERROR, "The number was not reached.")
    if call.disposition in _NOT_REACHED:
        return FAILED, f"The agent did not answer: {call.disposition}."
    if call.answered_on is None and call.disposition == "FAILED":
        return ERROR, "The agent's phone could not be reached."
    return (
        ERROR,
        "The agent answered, but the dialplan did not dial an outside number; check the context of the dial plan.",
    )


def _is_lost(order: OrderedCall, now: datetime, ring_seconds: int) -> bool:
    if order.taken_on is None or order.status != REGISTERED or order.call_id is not None:
        return False
    return now - order.taken_on > NO_CALL + timedelta(seconds=ring_seconds)


def _placement(order: OrderedCall, plan: DialPlan) -> Placement:
    channel = plan.channel.replace("{extension}", order.agent_id)
    return Placement(
        order.id, order.channel_id, channel, plan.context, order.mobile_number, order.from_number, plan.ring_seconds
    )


def _locked(session: Session, order_id: UUID) -> OrderedCall | None:
    return session.get(OrderedCall, order_id, with_for_update=True, populate_existing=True)


def _order_id(linkedid: str) -> UUID | None:
    if not linkedid.startswith(CHANNEL_PREFIX):
        return None
    try:
        return UUID(linkedid.removeprefix(CHANNEL_PREFIX))
    except ValueError:
        return None
