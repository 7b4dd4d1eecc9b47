"""The list of deliveries and its filters, shared by the deliveries page, the error check and the exports."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from flask import request
from sqlalchemy import Select, select
from sqlalchemy.orm import Session, defer

from pbxhub.delivery.outbox import Selection
from pbxhub.store.history import CANCELLED, DELIVERED, FAILED, PENDING, Call, Delivery, StageEvent
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.web.paging import PAGE, Page, uuid_key
from pbxhub.web.stats import IS_FAILED, id_at

SelectT = TypeVar("SelectT", bound=Select)  # type: ignore[type-arg]
FIELDS = ("state", "webhook", "stage", "outcome", "code", "number", "hour")
MOST_EXPORTED = 50_000
_EXPORT_GROUP = 1000
STATES = (DELIVERED, FAILED, PENDING, CANCELLED)


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """What a list of deliveries shows; every field is a part of the link."""

    state: str = ""
    webhook: str = ""
    stage: str = ""
    outcome: str = ""
    code: str = ""
    number: str = ""
    hour: str = ""  # ISO time of a full hour, from a bar of the chart
    unchecked: bool = False

    @classmethod
    def of_request(cls, **fixed: Any) -> "DeliveryFilter":
        """The filter in the address of the page."""
        return cls.of(request.args, **fixed)

    @classmethod
    def of(cls, given: Mapping[str, str], **fixed: Any) -> "DeliveryFilter":
        """The filter among the arguments of an address or the fields of a form."""
        return cls(**{**{name: given.get(name, "").strip()[:150] for name in FIELDS}, **fixed})

    @property
    def active(self) -> bool:
        """Whether anything is left out."""
        return any(getattr(self, name) for name in FIELDS)

    def selection(self, failed_by: datetime) -> Selection:
        """The same failures for a bulk action, but for the number; none that came after the page was made."""
        start = _hour(self.hour) if self.hour else None
        return Selection(
            webhook_id=_number(self.webhook) if self.webhook else None, outcome=self.outcome, unchecked=self.unchecked,
            since=start, until=start + timedelta(hours=1) if start else None,
            status_code=_number(self.code) if self.code else None, stage=self.stage, failed_by=failed_by,
        )  # fmt: skip

    def fields(self) -> dict[str, str]:
        """Its parts that say something, for links and hidden fields."""
        return {name: value for name in FIELDS if (value := getattr(self, name))}

    def apply(self, query: SelectT) -> SelectT:
        """Narrows a query over Delivery (joined with StageEvent and Call)."""
        if self.unchecked:
            query = query.where(IS_FAILED, Delivery.checked_on.is_(None))
        if self.state in STATES:
            query = query.where(Delivery.state == self.state)
        if self.webhook:
            query = query.where(Delivery.webhook_id == _number(self.webhook))
        if self.code:
            query = query.where(Delivery.status_code == _number(self.code))
        if self.outcome:
            query = query.where(Delivery.outcome == self.outcome)
        if self.stage:
            query = query.where(StageEvent.stage == self.stage)
        if self.hour and (start := _hour(self.hour)):
            query = query.where(Delivery.id >= id_at(start), Delivery.id < id_at(start + timedelta(hours=1)))
        if self.number:
            query = query.where(_call_has(self.number))
        return query


def delivery_rows(session: Session, project_id: int, wanted: DeliveryFilter) -> Page[Any]:
    """One page of rows (delivery, webhook name, stage, caller, dst), newest first; without bodies."""
    rows = session.execute(_query(project_id, wanted, uuid_key()).limit(PAGE + 1)).all()
    return Page(rows[:PAGE], str(rows[PAGE - 1][0].id) if len(rows) > PAGE else "")


def _query(project_id: int, wanted: DeliveryFilter, before: UUID | None) -> Select[Delivery, str, str, str, str, str]:
    query = (
        select(Delivery, Webhook.name, StageEvent.stage, Call.caller, Call.dst, Call.direction)
        .join(Webhook, Webhook.id == Delivery.webhook_id)
        .outerjoin(StageEvent, StageEvent.id == Delivery.stage_event_id)
        .outerjoin(Call, Call.id == Delivery.call_id)
        .where(Delivery.project_id == project_id)
        .options(defer(Delivery.body), defer(Delivery.headers))
    )
    if before:
        query = query.where(Delivery.id < before)
    return wanted.apply(query).order_by(Delivery.id.desc())


def matching_ids(session: Session, project_id: int, wanted: DeliveryFilter, most: int) -> tuple[UUID, ...]:
    """The newest ids that a filter matches."""
    query = (
        select(Delivery.id)
        .outerjoin(StageEvent, StageEvent.id == Delivery.stage_event_id)
        .outerjoin(Call, Call.id == Delivery.call_id)
        .where(Delivery.project_id == project_id)
    )
    return tuple(session.scalars(wanted.apply(query).order_by(Delivery.id.desc()).limit(most)))


def export_rows(database: Database, project_id: int, wanted: DeliveryFilter) -> Iterator[Any]:
    """Rows as in delivery_rows, newest first, MOST_EXPORTED at most, read in groups."""
    before: UUID | None = None
    for _group in range(0, MOST_EXPORTED, _EXPORT_GROUP):
        with database.read() as session:
            rows = session.execute(_query(project_id, wanted, before).limit(_EXPORT_GROUP)).all()
        yield from (row[:5] for row in rows)
        if len(rows) < _EXPORT_GROUP:
            return
        before = rows[-1][0].id


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1


def _hour(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


def _call_has(text: str) -> Any:
    bare = text.lstrip("+")
    numbers = (text, bare, f"+{bare}")
    return Call.caller.in_(numbers) | Call.dst.in_(numbers) | (Call.linkedid == text)
