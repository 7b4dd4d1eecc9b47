"""Retention: deletes old history in small transactions, so that nobody waits for it."""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, select

from pbxhub.settings import Settings
from pbxhub.store.api import Attributes, KeptAnswer
from pbxhub.store.columns import UtcDateTime, one_of
from pbxhub.store.delivery_rows import CANCELLED, DELIVERED, FAILED, Delivery, WebhookPace
from pbxhub.store.events import EventRow
from pbxhub.store.history import Call, CallEvents, StageEvent
from pbxhub.store.ids import first_id_at
from pbxhub.store.notices import Notice
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.queue_pauses import QueuePause
from pbxhub.store.resends import DONE, STOPPED, Resend
from pbxhub.store.session import Database
from pbxhub.store.sign_in_rows import Invitation, KeptForm, Tries

BATCH = 500
_TRIES = timedelta(days=1)  # no limit of tries looks further back (account/guess_delays.py)
_PACES = timedelta(days=1)  # after its time a pace says nothing; hosts whose clocks differ agree on a day
PAUSE = 0.05  # seconds between two batches, for those who wait to write

Conditions = Sequence[ColumnElement[bool]]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long history is kept. calls: of calls, and of everything else about them; a call stays as long as one of its
    deliveries does. delivered: also of attributes that are no longer valid."""

    delivered: timedelta
    failed: timedelta
    calls: timedelta
    call_events: timedelta


def retention(settings: Settings) -> Retention:
    """As an operator has set it."""
    return Retention(
        timedelta(days=settings.keep_delivered),
        timedelta(days=settings.keep_failed),
        timedelta(days=settings.keep_calls),
        timedelta(days=settings.keep_call_events),
    )


@dataclass(frozen=True, slots=True)
class Pruned:
    """How many rows were deleted, without attempts (deleted with their delivery) and stage events (with their call).
    others: events, notices, ordered calls, queue pauses, resends and records of visitors."""

    deliveries: int
    calls: int
    others: int


def prune(database: Database, now: datetime, keep: Retention, batch: int = BATCH, pause: float = PAUSE) -> Pruned:
    """Deletes everything that is older than `keep`, in transactions of `batch` rows, `pause` seconds apart. Pending
    deliveries always stay."""
    before = now - keep.calls
    remove = partial(_remove, database, batch, pause)
    deliveries = remove(Delivery, _over((DELIVERED, CANCELLED), now - keep.delivered))
    deliveries += remove(Delivery, _over((FAILED,), now - keep.failed))
    calls = remove(Call, _ended(before))
    others = (
        remove(StageEvent, _about_no_call(before))
        + remove(Notice, [*_made(Notice, before), Notice.due_on.is_(None)])
        + remove(OrderedCall, _made(OrderedCall, before))
        + remove(QueuePause, _made(QueuePause, before))
        + remove(Resend, [*_made(Resend, before), Resend.state.in_((DONE, STOPPED))])
        + remove(Attributes, _expired(now - keep.delivered))
        + remove(CallEvents, [CallEvents.id < first_id_at(now - keep.call_events)])
        + _remove_events(database, batch, pause, before)
    )
    with database.write() as session:  # a day's at most: the API drops them, too, whenever it keeps one
        session.execute(delete(KeptAnswer).where(KeptAnswer.created_on < before))
    with database.write() as session:
        forgotten = select(Tries.key_hash).where(Tries.seen_on < now - _TRIES).with_for_update(skip_locked=True)
        session.execute(delete(Tries).where(Tries.key_hash.in_(forgotten)))
        session.execute(delete(KeptForm).where(KeptForm.ends_on < now))
        session.execute(delete(Invitation).where(Invitation.expires_on < before))
    with database.write() as session:  # a claim that uses one of them now is not waited for
        passed = select(WebhookPace.webhook_id).where(WebhookPace.next_on < now - _PACES)
        free = passed.with_for_update(skip_locked=True)
        session.execute(delete(WebhookPace).where(WebhookPace.webhook_id.in_(free)))
    return Pruned(deliveries, calls, others)


def _made(table: Any, before: datetime) -> list[ColumnElement[bool]]:
    """By the id, which has an index and begins with the time, and exactly by created_on."""
    return [table.id < first_id_at(before), table.created_on < before]


def _over(states: tuple[str, ...], before: datetime) -> Conditions:
    return Delivery.id < first_id_at(before), Delivery.state.in_(states), Delivery.finished_on < before


def _ended(before: datetime) -> Conditions:
    has_delivery = exists().where(Delivery.call_id == Call.id)
    ended = func.coalesce(Call.ended_on, Call.started_on, type_=UtcDateTime())
    return Call.id < first_id_at(before), ended < before, ~has_delivery


def _about_no_call(before: datetime) -> Conditions:
    """Stages reported by programs. Deleting one would delete its deliveries, so one that has any stays."""
    has_delivery = exists().where(Delivery.stage_event_id == StageEvent.id)
    return *_made(StageEvent, before), StageEvent.call_id.is_(None), ~has_delivery


def _expired(before: datetime) -> Conditions:
    return *_made(Attributes, before), Attributes.valid_until < before


def _remove(database: Database, batch: int, pause: float, table: Any, conditions: Conditions) -> int:
    """Each batch is: 1. chosen in a reading transaction, from where the last one ended, so that what is kept is read
    once and nobody waits; 2. deleted in a writing one, which checks the conditions again, because a failure may have
    been sent again in between."""
    total, after = 0, None
    while True:
        old = select(table.id).where(*conditions).order_by(table.id).limit(batch)
        with database.read() as session:
            ids = session.scalars(old if after is None else old.where(table.id > after)).all()
        total += _delete(database, table, ids, conditions)
        if len(ids) < batch:
            return total
        after = ids[-1]
        time.sleep(pause)


def _remove_events(database: Database, batch: int, pause: float, before: datetime) -> int:
    """Their time has no index, but ids grow with it: the first batch without an old event is the end."""
    total, after = 0, 0
    while True:
        walk = select(EventRow.id, EventRow.created_on).where(EventRow.id > after).order_by(EventRow.id).limit(batch)
        with database.read() as session:
            rows = session.execute(walk).all()
        old = [row.id for row in rows if row.created_on < before]
        if not old:
            return total
        total += _delete(database, EventRow, old, ())
        after = rows[-1].id
        time.sleep(pause)


def _delete(database: Database, table: Any, ids: Collection[Any], conditions: Conditions) -> int:
    """Rows that are locked are in use; they are deleted another time."""
    if not ids:
        return 0
    free = select(table.id).where(one_of(table.id, ids), *conditions).with_for_update(skip_locked=True, of=table)
    with database.write() as session:
        gone = session.execute(
            delete(table).where(table.id.in_(free)), execution_options={"synchronize_session": False}
        )
        return gone.rowcount  # type: ignore[attr-defined,no-any-return]
