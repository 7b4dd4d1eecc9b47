"""The person who calls: the same, however the number is written. Stored with each call, so that counting is fast.

A number is read by the country of its project. Where that changes, and of calls older than this column, fill_persons()
goes through the history, the newest first; meanwhile a call that has no person yet is found by its number as it came.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, and_, exists, or_, select, update
from sqlalchemy.orm import Session

from pbxhub.delivery.call_rows import CallNow
from pbxhub.delivery.context import DeliveryContext
from pbxhub.storable import clip
from pbxhub.store.accounts import Project
from pbxhub.store.bulk import Update
from pbxhub.store.columns import one_of
from pbxhub.store.history import Call
from pbxhub.store.session import Base, Database
from pbxhub.webhooks.phones import person_of

BATCH = 500
PAUSE = 0.05  # seconds between two batches, so that others can write
_IS_UNNAMED = Project.persons_by.is_distinct_from(Project.country)
_CALL: Table = Base.metadata.tables["call"]
_WRITE = Update(_CALL, ("id",), ("person",))


def name_persons(context: DeliveryContext, session: Session, calls: Iterable[CallNow]) -> None:
    """Sets the person of calls that are about to be written."""
    unknown = [call for call in calls if call.changed and call.person is None]
    if unknown:
        projects = context.webhook_cache.fetch(session, {call.project_id for call in unknown})
        for call in unknown:
            call.person = person_of(call.caller, projects[call.project_id].country)


def same_person(call: CallNow, country: str) -> list[Sequence[ColumnElement[bool]]]:
    """Conditions for calls of the same person, each found by an index of its own; none for a hidden number."""
    person = person_of(call.caller, country) if call.person is None else call.person
    if not person:
        return []
    ours = Call.project_id == call.project_id
    return [(ours, Call.person == clip(person, 80)), (ours, Call.caller == call.caller, Call.person.is_(None))]


def some_unnamed() -> ColumnElement[bool]:
    """Whether fill_persons has work."""
    return exists().where(_IS_UNNAMED)


def fill_persons(database: Database, batch: int = BATCH, pause: float = PAUSE) -> int:
    """Updates the persons of old calls after the country of their project has changed. Returns how many it wrote."""
    with database.read() as session:
        late = select(Project.id, Project.country).where(_IS_UNNAMED)
        projects = session.execute(late.order_by(Project.id)).all()
    return sum(_fill(database, project_id, country, batch, pause) for project_id, country in projects)


def _fill(database: Database, project_id: int, country: str, batch: int, pause: float) -> int:
    written, last = 0, None
    while True:
        with database.read() as session:
            rows = session.execute(_older(project_id, last).limit(batch)).all()
        written += _write(database, [row.id for row in rows if row.person != _of(row.caller, country)], country)
        if len(rows) < batch:
            break
        last = rows[-1].started_on, rows[-1].id
        time.sleep(pause)
    with database.write() as session:  # unless the country has changed again: then everything is repeated
        done = update(Project).where(Project.id == project_id, Project.country == country)
        session.execute(done.values(persons_by=country))
    return written


def _older(project_id: int, last: tuple[datetime, UUID] | None) -> Select[UUID, str, str | None, datetime]:
    calls = select(Call.id, Call.caller, Call.person, Call.started_on).where(Call.project_id == project_id)
    if last is not None:
        moment, call_id = last
        before = or_(Call.started_on < moment, and_(Call.started_on == moment, Call.id < call_id))
        calls = calls.where(Call.started_on <= moment, before)
    return calls.order_by(Call.started_on.desc(), Call.id.desc())


def _write(database: Database, ids: Sequence[UUID], country: str) -> int:
    """Calls that are locked are left out: publish is writing them, with their person."""
    if not ids:
        return 0
    free = select(Call.id, Call.caller).where(one_of(Call.id, ids)).with_for_update(skip_locked=True, key_share=True)
    with database.write() as session:
        rows = session.execute(free).all()
        _WRITE.run(session, [{"id": row.id, "person": _of(row.caller, country)} for row in rows])
    return len(rows)


def _of(caller: str, country: str) -> str:
    return clip(person_of(caller, country), 80)
