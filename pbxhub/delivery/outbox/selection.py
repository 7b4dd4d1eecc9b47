"""Which deliveries a list shows and a bulk action is about: one set of conditions for pages, exports and the API."""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, literal_column, or_, select
from sqlalchemy.orm import Session

from pbxhub.calls.stages import JSON
from pbxhub.store.accounts import Pbx
from pbxhub.store.history import CANCELLED, DELIVERED, FAILED, Call, Delivery, StageEvent
from pbxhub.store.ids import first_id_at

_IS_FAILED = Delivery.state == literal_column("'failed'")  # spelled out, so that the partial index serves it
_APART = 3600  # seconds: created_on and the id are read from one clock one after the other, and it may be set meanwhile


@dataclass(frozen=True, slots=True)
class Selection:
    """Deliveries of one project; every field that is given must hold.

    ids: these only. states: of a bulk action, failed alone unless said otherwise. unchecked: still on the error page.
    since / until: when they were published, until not included. failed_by: none that ended later, for whoever acts on
    what was on a page a while ago. call_id, linkedid: of this call. number: of calls with this outside number or DID,
    with or without "+".
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
    call_id: UUID | None = None
    linkedid: str = ""
    number: str = ""

    def conditions(self, project_id: int) -> list[ColumnElement[bool]]:
        """For bulk actions: pending ones are never among them."""
        allowed = [state for state in self.states if state in (FAILED, DELIVERED, CANCELLED)]
        of_state = _IS_FAILED if allowed == [FAILED] else Delivery.state.in_(allowed)
        return [of_state, *self.of_any_state(project_id)]

    def of_any_state(self, project_id: int) -> list[ColumnElement[bool]]:
        """Everything but the states: for lists, which have pending ones too."""
        found = [Delivery.project_id == project_id, *self._times(), *self._of_calls(project_id)]
        if self.ids:
            found.append(Delivery.id.in_(self.ids))
        if self.webhook_id is not None:
            found.append(Delivery.webhook_id == self.webhook_id)
        if self.outcome:
            found.append(Delivery.outcome == self.outcome)
        if self.unchecked:
            found += [_IS_FAILED, Delivery.checked_on.is_(None)]
        if self.status_code is not None:
            found.append(Delivery.status_code == self.status_code)
        if self.stage:
            of_stage = select(StageEvent.id).where(StageEvent.id == Delivery.stage_event_id)
            found.append(of_stage.where(StageEvent.stage == self.stage).correlate(Delivery).exists())
        return found

    def _times(self) -> list[ColumnElement[bool]]:
        """Exact by created_on, found by the id, which begins with nearly the same moment and has an index."""
        found: list[ColumnElement[bool]] = []
        if self.since:
            found += [Delivery.created_on >= self.since, Delivery.id >= first_id_at(self.since, -_APART)]
        if self.until:
            found += [Delivery.created_on < self.until, Delivery.id < first_id_at(self.until, _APART)]
        if self.failed_by:
            found.append(Delivery.finished_on <= self.failed_by)
        return found

    def _of_calls(self, project_id: int) -> list[ColumnElement[bool]]:
        found: list[ColumnElement[bool]] = []
        if self.call_id:
            found.append(Delivery.call_id == self.call_id)
        if self.linkedid:
            of_pbx = or_(
                Call.pbx_id.in_(select(Pbx.id)), Call.pbx_id.is_(None)
            )  # for the index: it begins with the PBX
            calls = select(Call.id).where(Call.linkedid == self.linkedid, of_pbx, Call.project_id == project_id)
            found.append(Delivery.call_id.in_(calls.correlate(None)))
        if self.number:
            calls = select(Call.id).where(Call.id == Delivery.call_id, has_number(self.number))
            found.append(calls.correlate(Delivery).exists())
        return found

    def dump(self) -> dict[str, JSON]:
        """As JSON, for the row of a resend."""
        data: dict[str, Any] = asdict(self)
        call_id = str(self.call_id) if self.call_id else None
        return data | {"ids": [str(one) for one in self.ids], "states": list(self.states), "call_id": call_id}


_TIMES = ("since", "until", "failed_by")


def load_selection(data: dict[str, Any]) -> Selection:
    """What Selection.dump has made."""
    times = {name: datetime.fromisoformat(data[name]) if data[name] else None for name in _TIMES}
    ids = tuple(UUID(one) for one in data["ids"])
    call_id = UUID(data["call_id"]) if data["call_id"] else None
    return Selection(**(data | times | {"ids": ids, "states": tuple(data["states"]), "call_id": call_id}))


def has_number(number: str) -> ColumnElement[bool]:
    """Calls whose outside number or DID is this one, with or without "+"."""
    bare = number.lstrip("+")
    written = (number, bare, f"+{bare}")
    return or_(Call.caller.in_(written), Call.dst.in_(written))


def count_by_webhook(session: Session, project_id: int, selection: Selection) -> dict[int, int]:
    """The preview of a bulk action: how many deliveries of each webhook it is about."""
    rows = session.execute(
        select(Delivery.webhook_id, func.count()).where(*selection.conditions(project_id)).group_by(Delivery.webhook_id)
    )
    return {webhook_id: number for webhook_id, number in rows.all()}  # noqa: C416
