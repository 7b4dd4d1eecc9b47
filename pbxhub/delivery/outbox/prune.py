"""Retention: what is old enough is deleted, a little at a time, so that nobody waits for it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, exists, func, select
from sqlalchemy.orm import Session

from pbxhub.store.columns import UtcDateTime
from pbxhub.store.history import CANCELLED, DELIVERED, FAILED, Call, Delivery
from pbxhub.store.ids import first_id_at
from pbxhub.store.notices import Notice
from pbxhub.store.session import Database

BATCH = 500


@dataclass(frozen=True, slots=True)
class Retention:
    """How long things are kept. A call is kept while one of its deliveries is."""

    delivered: timedelta = timedelta(days=30)
    failed: timedelta = timedelta(days=90)
    calls: timedelta = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows were deleted. Attempts go with their delivery, stage events with their call."""

    deliveries: int
    calls: int
    notices: int


def prune(database: Database, now: datetime, keep: Retention | None = None, batch: int = BATCH) -> Pruned:
    """Deletes everything that is past its time, in transactions of `batch` rows. Pending deliveries always stay."""
    keep = keep or Retention()
    done = _in_batches(database, lambda: _old_deliveries((DELIVERED, CANCELLED), now - keep.delivered), Delivery, batch)
    failed = _in_batches(database, lambda: _old_deliveries((FAILED,), now - keep.failed), Delivery, batch)
    calls = _in_batches(database, lambda: _old_calls(now - keep.calls), Call, batch)
    notices = _in_batches(
        database, lambda: select(Notice.id).where(Notice.created_on < now - keep.calls, Notice.due_on.is_(None)),
        Notice, batch,
    )  # fmt: skip
    return Pruned(done + failed, calls, notices)


def _old_deliveries(states: tuple[str, ...], before: datetime) -> Select[Any]:
    return select(Delivery.id).where(
        Delivery.id < first_id_at(before), Delivery.state.in_(states), Delivery.finished_on < before
    )


def _old_calls(before: datetime) -> Select[Any]:
    has_delivery = exists().where(Delivery.call_id == Call.id)
    ended = func.coalesce(Call.ended_on, Call.started_on, type_=UtcDateTime())
    return select(Call.id).where(Call.id < first_id_at(before), ended < before, ~has_delivery)


def _in_batches(database: Database, old: Callable[[], Select[Any]], table: Any, batch: int) -> int:
    total = 0
    while True:
        with database.write() as session:
            number = _delete(session, old(), table, batch)
        total += number
        if number < batch:
            return total


def _delete(session: Session, old: Select[Any], table: Any, batch: int) -> int:
    ids = session.scalars(old.order_by(table.id).limit(batch)).all()
    if ids:
        session.execute(delete(table).where(table.id.in_(ids)).execution_options(synchronize_session=False))
    return len(ids)
