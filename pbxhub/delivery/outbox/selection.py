"""Which deliveries a bulk action is about."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from pbxhub.calls.stages import JSON
from pbxhub.store.history import CANCELLED, DELIVERED, FAILED, Delivery, StageEvent


@dataclass(frozen=True, slots=True)
class Selection:
    """Deliveries of one project; every field that is given must hold. Pending ones are never among them.

    ids: these only. states: failed alone unless said otherwise. unchecked: still on the error page.
    since / until: when they were published, until not included. failed_by: none that ended later, for whoever acts on
    what was on a page a while ago.
    """

    ids: tuple[UUID, ...] = ()
    states: tuple[str, ...] = (FAILED,)
    webhook_id: int | None = None
    outcome: str = ""
    unchecked: bool = False
    since: datetime | None = None
    until: datetime | None = None
    status_code: int | None = None
    stage: str = ""
    failed_by: datetime | None = None

    def conditions(self, project_id: int) -> list[ColumnElement[bool]]:
        allowed = [state for state in self.states if state in (FAILED, DELIVERED, CANCELLED)]
        found = [Delivery.project_id == project_id, Delivery.state.in_(allowed)]
        if self.ids:
            found.append(Delivery.id.in_(self.ids))
        if self.webhook_id is not None:
            found.append(Delivery.webhook_id == self.webhook_id)
        if self.outcome:
            found.append(Delivery.outcome == self.outcome)
        if self.unchecked:
            found.append(Delivery.checked_on.is_(None))
        if self.since:
            found.append(Delivery.created_on >= self.since)
        if self.until:
            found.append(Delivery.created_on < self.until)
        if self.status_code is not None:
            found.append(Delivery.status_code == self.status_code)
        if self.stage:
            of_stage = select(StageEvent.id).where(StageEvent.stage == self.stage)
            found.append(of_stage.where(StageEvent.id == Delivery.stage_event_id).exists())
        if self.failed_by:
            found.append(Delivery.finished_on <= self.failed_by)
        return found

    def dump(self) -> dict[str, JSON]:
        """As JSON, for the row of a resend."""
        data: dict[str, Any] = asdict(self)
        return data | {"ids": [str(one) for one in self.ids], "states": list(self.states)}


_TIMES = ("since", "until", "failed_by")


def load_selection(data: dict[str, Any]) -> Selection:
    """What Selection.dump has made."""
    times = {name: datetime.fromisoformat(data[name]) if data[name] else None for name in _TIMES}
    ids = tuple(UUID(one) for one in data["ids"])
    return Selection(**(data | times | {"ids": ids, "states": tuple(data["states"])}))


def count_by_webhook(session: Session, project_id: int, selection: Selection) -> dict[int, int]:
    """The preview of a bulk action: how many deliveries of each webhook it is about."""
    rows = session.execute(
        select(Delivery.webhook_id, func.count()).where(*selection.conditions(project_id)).group_by(Delivery.webhook_id)
    )
    return {webhook_id: number for webhook_id, number in rows.all()}  # noqa: C416
