"""Stages that no PBX reports: those added to a call afterwards, and those that are not about a call."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pbxhub.calls.stages import Stage
from pbxhub.delivery.call_rows import CallNow, no_call, read_call
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.new_stages import ANALYSIS, NewStage
from pbxhub.delivery.outbox.publish import Published, write_stages
from pbxhub.storable import storable
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id


def publish_later(
    context: DeliveryContext, session: Session, call_id: UUID, name: str, value: Any, now: datetime
) -> None:
    """Adds a transcript or an analysis to a call. Each analysis is a stage of its own."""
    add_to_call(session, call_id, {name: value})
    call = read_call(session, call_id)
    if call is None or name != "analysis":
        return
    earlier = select(StageEvent.id).where(StageEvent.call_id == call_id, StageEvent.stage == ANALYSIS)
    ordinal = len(session.scalars(earlier).all()) + 1
    stage = Stage(ANALYSIS, str(ordinal), ordinal, now, {})
    write_stages(context, session, [NewStage(new_id(), call, stage, dict(call.data))], now)


def add_to_call(session: Session, call_id: UUID, values: Mapping[str, Any]) -> None:
    """Adds values to a call that is kept; its later stages have them."""
    row = session.get(Call, call_id, with_for_update=True, populate_existing=True)
    if row is not None:
        row.data = {**row.data, **storable(dict(values))}
        session.flush()


def publish_other(
    context: DeliveryContext, session: Session, project_id: int, call_id: UUID | None, stage: str, key: str,
    values: Mapping[str, Any], now: datetime,
) -> tuple[UUID, Published]:  # fmt: skip
    """Writes a stage that a program reports: form.sent, dialog.opened, deal.changed … Returns its id.

    key: the sender's own id of it. The same key again writes nothing, and returns the same.
    """
    call: CallNow | None = read_call(session, call_id) if call_id else None
    known = select(StageEvent.id).where(StageEvent.stage == stage, StageEvent.key == key)
    known = (
        known.where(StageEvent.call_id == call.id)
        if call
        else known.where(StageEvent.project_id == project_id, StageEvent.call_id.is_(None))
    )
    there = session.scalar(known.limit(1))
    if there is not None:
        return there, Published(0, _sent_before(session, there), 0)
    event = NewStage(new_id(), call or no_call(project_id), Stage(stage, key, 1, now, {}), dict(values))
    return event.id, write_stages(context, session, [event], now)


def _sent_before(session: Session, stage_event_id: UUID) -> int:
    """How many deliveries were queued when the stage was written."""
    of_stage = select(func.count()).where(Delivery.stage_event_id == stage_event_id, Delivery.kind == "stage")
    return session.scalar(of_stage.where(Delivery.method != "")) or 0
