"""Which deliveries a list shows and a bulk action is about: one set of conditions for pages, exports and the API."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, CompoundSelect, Select, func, literal_column, or_, select, union_all
from sqlalchemy.orm import Session

from pbxhub.calls.stages import JSON
from pbxhub.store.accounts import Pbx
from pbxhub.store.call_numbers import of_number
from pbxhub.store.columns import one_of, unindexed
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, LANES, PENDING, WAITING, Delivery
from pbxhub.store.history import Call
from pbxhub.store.ids import first_id_at
from pbxhub.store.webhooks import Webhook

_IS_FAILED = Delivery.state == literal_column("'failed'")  # a literal, so that the partial index can be used
_WAS_TRIED = Delivery.outcome != literal_column("''")  # likewise
_HAS_REASON = (Delivery.outcome != literal_column("''"), Delivery.outcome != literal_column("'ok'"))  # likewise
_OTHER_STATUS = Delivery.status_code != literal_column("200")  # likewise
_NOT_DELIVERED = Delivery.state.in_([literal_column("'failed'"), literal_column("'cancelled'")])
_OPEN = {
    PENDING: (Delivery.state == literal_column("'pending'"), Delivery.lane.in_(LANES)),
    WAITING: (Delivery.state == literal_column("'waiting'"),),
}
_MOST_OPEN = _MOST_CALLS = 1000
_APART = 3600  # seconds between created_on and the time in the id: the clock may be set between the two readings


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions on the deliveries of one project; all that are given must hold.

    ids: these only. states: of a bulk action, failed alone unless said otherwise. unchecked: still on the error page.
    since / until: when they were published, until not included. failed_by: none that ended later, for whoever acts on
    what was on a page a while ago. call_id, linkedid: of this call. number: of calls with this outside number or DID,
    with or without "+"; with a country (ISO 3166), however it is written there. status_code: 0 for those
    that failed, or ended, without an answer.
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
    country: str = ""

    def conditions(self, project_id: int) -> list[ColumnElement[bool]]:
        """For bulk actions: never includes pending deliveries."""
        allowed = [state for state in self.states if state in (FAILED, DELIVERED, CANCELLED)]
        of_state = _IS_FAILED if allowed == [FAILED] else Delivery.state.in_(allowed)
        return [of_state, *self.of_any_state(project_id)]

    def of_any_state(self, project_id: int, calls: Collection[UUID] | None = None) -> list[ColumnElement[bool]]:
        """Everything but the states, for lists that show pending deliveries too. calls: only of these."""
        found = [(Delivery.project_id if calls is None else unindexed(Delivery.project_id)) == project_id]
        found += [*self._times(), *self._of_calls(project_id)]
        if calls is not None:
            found.append(one_of(Delivery.call_id, calls))
        if self.ids:
            found.append(one_of(Delivery.id, self.ids))
        if self.webhook_id is not None:
            found.append(Delivery.webhook_id == self.webhook_id)
        if self.outcome:
            by_reason = self.outcome != "ok" and not (self.unchecked and self.webhook_id)
            found += [Delivery.outcome == self.outcome, *(_HAS_REASON if by_reason else ())]
        if self.unchecked:
            found += [_IS_FAILED, Delivery.checked_on.is_(None)]
        if self.status_code is not None:
            found += self._of_status(self.status_code)
        if self.stage:
            found.append(Delivery.stage == self.stage)
        return found

    def _of_status(self, code: int) -> list[ColumnElement[bool]]:
        if not code:
            return [Delivery.status_code.is_(None), _WAS_TRIED]
        return [Delivery.status_code == code, *([] if code == 200 else [_OTHER_STATUS])]

    def _times(self) -> list[ColumnElement[bool]]:
        """Exactly by created_on, and roughly by the id, which has an index and begins with nearly the same time."""
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
            found.append(Delivery.call_id.in_(_with_linkedid(project_id, self.linkedid).correlate(None)))
        if self.number:
            of_call = select(Call.id).where(or_(*of_number(self.number, self.country)))
            found.append(of_call.where(Call.id == Delivery.call_id).correlate(Delivery).exists())
        return found

    def dump(self) -> dict[str, JSON]:
        """As JSON, for the row of a resend."""
        data: dict[str, Any] = asdict(self)
        call_id = str(self.call_id) if self.call_id else None
        return data | {"ids": [str(one) for one in self.ids], "states": list(self.states), "call_id": call_id}


_TIMES = ("since", "until", "failed_by")


def load_selection(data: dict[str, Any]) -> Selection:
    """The inverse of Selection.dump."""
    times = {name: datetime.fromisoformat(data[name]) if data[name] else None for name in _TIMES}
    ids = tuple(UUID(one) for one in data["ids"])
    call_id = UUID(data["call_id"]) if data["call_id"] else None
    return Selection(**(data | times | {"ids": ids, "states": tuple(data["states"]), "call_id": call_id}))


def list_conditions(
    session: Session, project_id: int, selection: Selection, state: str = ""
) -> list[ColumnElement[bool]]:
    """The conditions of of_any_state, by the ids of the calls if these are few. state: only this one, "" for all."""
    of_state = [Delivery.state == state] if state else []
    of_state += [_NOT_DELIVERED] if state in (FAILED, CANCELLED) else []
    if state in _OPEN and (few := _few_open(session, project_id, state)) is not None:
        of_state.append(one_of(Delivery.id, few))
    return of_state + selection.of_any_state(project_id, _few_calls(session, project_id, selection))


def _few_open(session: Session, project_id: int, state: str) -> Collection[UUID] | None:
    """Those that are not over, by the indexes of what is open; None if they are so many that the newest are soon
    found among all deliveries."""
    open_ones = select(Delivery.id).where(*_OPEN[state], unindexed(Delivery.project_id) == project_id)
    ids = session.scalars(open_ones.limit(_MOST_OPEN + 1)).all()
    return None if len(ids) > _MOST_OPEN else ids


def _few_calls(session: Session, project_id: int, selection: Selection) -> Collection[UUID] | None:
    """The calls that the selection names; None if it names none, or so many that reading deliveries is faster."""
    if selection.call_id:
        return (selection.call_id,)
    if selection.linkedid:
        query: Select[UUID] | CompoundSelect[UUID] = _with_linkedid(project_id, selection.linkedid)
    elif selection.number:
        by_number = of_number(selection.number, selection.country)  # one query for each, by its index
        query = union_all(*(select(Call.id).where(Call.project_id == project_id, one) for one in by_number))
    else:
        return None
    calls = session.scalars(query.limit(_MOST_CALLS + 1)).all()
    return None if len(calls) > _MOST_CALLS else calls


def _with_linkedid(project_id: int, linkedid: str) -> Select[UUID]:
    """pbx_id is in the query because the index begins with it; it is empty for a call whose PBX was removed."""
    of_pbx = or_(Call.pbx_id.in_(select(Pbx.id)), Call.pbx_id.is_(None))
    of_project = unindexed(Call.project_id) == project_id
    return select(Call.id).where(Call.linkedid == linkedid, of_pbx, of_project)


def changed_since(session: Session, project_id: int, selection: Selection) -> Sequence[int]:
    """The webhooks that were changed after every delivery that a bulk action would change."""
    of_webhook = select(Delivery.webhook_id).join(Webhook, Webhook.id == Delivery.webhook_id)
    selected = of_webhook.where(*selection.conditions(project_id)).group_by(Delivery.webhook_id, Webhook.revision)
    return session.scalars(selected.having(func.max(Delivery.webhook_revision) < Webhook.revision)).all()


def count_by_webhook(session: Session, project_id: int, selection: Selection) -> dict[int, int]:
    """How many deliveries of each webhook a bulk action would change."""
    rows = session.execute(
        select(Delivery.webhook_id, func.count()).where(*selection.conditions(project_id)).group_by(Delivery.webhook_id)
    )
    return {webhook_id: number for webhook_id, number in rows.all()}  # noqa: C416
