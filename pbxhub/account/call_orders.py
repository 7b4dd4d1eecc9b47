"""Calls that programs order: the employee's phone rings first, then the number is dialled."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.audit_log import note
from pbxhub.account.call_history import CallOrOrder, find_call
from pbxhub.account.dial_plans import refuse_number
from pbxhub.account.refusals import BusyError, ConflictError, Refusal
from pbxhub.account.texts import refuse_address
from pbxhub.delivery.outbox import add_later, ask_cancel, open_orders, publish_later, register
from pbxhub.steering.dialplan_text import EXTENSION
from pbxhub.steering.number_rules import NUMBER
from pbxhub.store.accounts import Pbx, lock_project
from pbxhub.store.ids import new_id
from pbxhub.store.ordered_calls import FINAL, DialPlan, OrderedCall, dial_plan_of
from pbxhub.translatable import say
from pbxhub.webhooks.headers import header_name_error, header_value_error

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class CallOrder:
    """mobile_number: whom to call. agent_id: extension of the employee. name: of the person called. from_number: ours,
    shown outside when the dialplan lets it; "" = none. pbx_id: None = the oldest that is enabled. callback_url: is sent
    every status; "" = none. custom: goes with the callbacks."""

    mobile_number: str
    agent_id: str
    name: str
    from_number: str
    pbx_id: int | None
    callback_url: str
    callback_headers: Mapping[str, str]
    callback_params: Mapping[str, str]
    custom: Mapping[str, Any]


def order_call(session: Session, access: Access, order: CallOrder) -> OrderedCall | list[Refusal]:
    """Puts a call in the queue of its PBX, or says why not. Raises BusyError when the dial plan allows no more now."""
    pbx = pbx_for_orders(session, access, order.pbx_id)
    if isinstance(pbx, Refusal):
        return [pbx]
    plan = dial_plan_of(session, pbx.id)
    if refused := list(_refusals(access, order, plan)):
        return refused
    _check_limits(session, access, plan)
    row = OrderedCall(
        id=new_id(), project_id=access.project.id, pbx_id=pbx.id, name=order.name, mobile_number=order.mobile_number,
        from_number=order.from_number, agent_id=order.agent_id, callback_url=order.callback_url,
        callback_headers=dict(order.callback_headers), callback_params=dict(order.callback_params),
        custom=dict(order.custom), status="registered", reason="", created_on=access.now,
    )  # fmt: skip
    register(access.hub.context, session, row, access.now)
    note(session, access, "call ordered", order.mobile_number)
    return row


def cancel_call(session: Session, access: Access, call_id: UUID) -> CallOrOrder:
    """Cancels an ordered call: before it rings, or by hanging up. Raises ConflictError when it is over, or was not
    ordered."""
    call, ordered = find_call(session, access, call_id)
    if ordered is None:
        raise ConflictError(say("Only ordered calls can be cancelled."))
    row = session.get_one(OrderedCall, ordered.id, with_for_update=True, populate_existing=True)
    if not ask_cancel(access.hub.context, session, row, access.now):
        raise ConflictError(say("The call is over already: %(status)s.", status=row.status))
    note(session, access, "call called off", row.mobile_number)
    return CallOrOrder(call, row)


def add_to_call(
    session: Session, access: Access, call_id: UUID, name: Literal["transcript", "analysis"], value: Any
) -> CallOrOrder:
    """Adds a transcript or an analysis to a call. It goes with every later callback and is a parameter from then on; an
    analysis starts the webhooks of call.analysis, and the callback. Raises ConflictError while an ordered call lasts,
    and when the content of the call was removed for good.
    """
    call, ordered = find_call(session, access, call_id)
    if call is not None and call.content_removed_on:
        raise ConflictError(say("The content of this call was removed for good, so nothing is added to it."))
    if ordered is not None:
        if ordered.status not in FINAL:
            raise ConflictError(say("The call is not over yet: %(status)s.", status=ordered.status))
        setattr(ordered, name, value)
        session.flush()
        if name == "analysis":
            add_later(access.hub.context, session, ordered, access.now)
    if call is not None:
        publish_later(access.hub.context, session, call.id, name, value, access.now)
        session.refresh(call)
    return CallOrOrder(call, ordered)


def pbx_for_orders(session: Session, access: Access, pbx_id: int | None) -> Pbx | Refusal:
    """The PBX that carries out an order. pbx_id: None = the oldest that is enabled."""
    query = select(Pbx).where(Pbx.project_id == access.project.id, Pbx.enabled).order_by(Pbx.id)
    found = session.scalars(query.where(Pbx.id == pbx_id) if pbx_id else query).first()
    wrong = say("There is no such PBX in this project, or it is switched off.")
    return found or Refusal("pbx_id", wrong, say("Give the id of a PBX that is enabled."))


def _refusals(access: Access, order: CallOrder, plan: DialPlan) -> Iterator[Refusal]:
    if refused := refuse_number(plan, order.mobile_number, access.project.country):
        yield Refusal("mobile_number", refused.sentence, refused.remedy)
    if order.from_number and not NUMBER.fullmatch(order.from_number):
        yield Refusal("from_number", say("This is not a phone number."), say("Write it like +380441234567."))
    if not EXTENSION.fullmatch(order.agent_id):
        yield Refusal("agent_id", say("This is not an extension."), say("Use digits, Latin letters, - and _."))
    if order.callback_url and (refused := refuse_address(access, "callback_url", order.callback_url)):
        yield refused
    for name, value in order.callback_headers.items():
        if error := header_name_error(name) or header_value_error(value):
            wrong = say("This header %(error)s.", error=error)
            yield Refusal(f"callback_args.headers.{name}", wrong, say("Change it or leave it out."))


def _check_limits(session: Session, access: Access, plan: DialPlan) -> None:
    # Counting and inserting are one: two orders at the same moment must not both be the last one that is allowed.
    lock_project(session, access.project.id)
    open_now, recent = open_orders(session, access.project.id, access.now - _MINUTE)
    if open_now >= plan.at_once:
        raise BusyError(say("%(n)s ordered calls of this project are open; the dial plan allows %(most)s at once.",
                            n=open_now, most=plan.at_once), 5)  # fmt: skip
    if recent >= plan.per_minute:
        raise BusyError(say("%(n)s calls were ordered in the last minute; the dial plan allows %(most)s.",
                            n=recent, most=plan.per_minute), 60)  # fmt: skip
