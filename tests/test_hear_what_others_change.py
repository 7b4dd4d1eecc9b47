"""PostgreSQL tells every process of a change of what it keeps in memory, whoever makes it; where it cannot be heard,
the process reads again and again."""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import delete, insert, inspect, text, update

from pbxhub.ami import listener
from pbxhub.ami.lease_heartbeat import LeaseHeartbeat
from pbxhub.ami.pbx_rows import PbxRow, read_rows
from pbxhub.delivery.due_work import DueWork
from pbxhub.delivery.wakeup import CHANGED, ORDERS, ChangeWatch, WakeupListener
from pbxhub.store.accounts import Employee, Number, Pbx, Project
from pbxhub.store.connections import Connection
from pbxhub.store.ids import new_id
from pbxhub.store.notices import Notice
from pbxhub.store.resends import Resend
from pbxhub.store.session import Base, Database
from pbxhub.store.webhooks import Webhook
from tests.support.outbox_world import BEFORE, BUSY, NOON, OK, World, context_of, finish, report, take
from tests.support.waiting import wait_until

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
SEEN = {"state", "state_code", "state_detail", "state_since", "seen_on", "last_event_on", "events_last_minute",
        "told_lost_on", "hub_address", "asterisk_version", "asterisk_started_on", "cel_cursor", "cel_mark"}  # fmt: skip
FIXED = {"id", "created_on"}
ALSO_HEARD: Mapping[type[Base], set[str]] = {  # by what decides which stages a PBX reports, and by background jobs
    Webhook: {"project_id", "stage", "enabled", "deleted_on"},
    Connection: {"renew_on", "renewing_until"},
    Resend: {"state"},
    Notice: {"due_on"},
}


@pytest.fixture
def bell(database: Database) -> Iterator["psycopg.Connection[Any]"]:
    with closing(database.own_connection()) as connection:
        connection.execute(f"LISTEN {CHANGED}")
        yield connection


def rang(bell: "psycopg.Connection[Any]") -> bool:
    """Since the last question. What was committed before it has arrived with the answer to this statement."""
    bell.execute("SELECT 1")
    return bool(list(bell.notifies(timeout=0)))


def columns(table: type[Base]) -> set[str]:
    return {column.key for column in inspect(table).column_attrs if column.key != "listener_host"}


def test_every_setting_of_what_listeners_read_rings_and_what_they_write_does_not(
    database: Database, bell: "psycopg.Connection[Any]"
) -> None:
    World(database)
    assert rang(bell)
    told = dict[type[Base], set[str]]()
    for table in (Pbx, Project, Number, Employee, *ALSO_HEARD):
        for name in columns(table):
            with database.write() as session:
                session.execute(update(table).values({name: getattr(table, name)}))
            if rang(bell):
                told.setdefault(table, set()).add(name)
    assert told[Pbx] | FIXED == columns(Pbx) - SEEN | FIXED, "a new column belongs to the trigger, or to SEEN"
    assert [told[one] for one in (Project, Number, Employee)] == [columns(one) for one in (Project, Number, Employee)]
    assert {table: told[table] for table in ALSO_HEARD} == ALSO_HEARD


def test_rows_that_come_and_go_ring_also_with_their_project(
    database: Database, bell: "psycopg.Connection[Any]"
) -> None:
    world = World(database)
    assert rang(bell)
    card = {"project_id": world.project_id, "extension": "201", "endpoints": []}
    with database.write() as session:
        session.execute(insert(Employee), [card, {**card, "extension": "202"}])
    assert rang(bell)
    with database.write() as session:
        session.execute(delete(Employee).where(Employee.extension == "201"))
    assert rang(bell)
    with database.write() as session:
        session.execute(text("DROP TRIGGER pbxhub_changed ON project"))
    assert not rang(bell)
    with database.write() as session:
        session.execute(delete(Project))
    assert rang(bell), "the rows that go with it"


def test_calls_and_their_deliveries_do_not_ring(database: Database, bell: "psycopg.Connection[Any]") -> None:
    world = World(database)
    world.webhook(BEFORE)
    assert rang(bell)
    world.publish(*(report(f"1.{number}", BEFORE) for number in range(3)))
    well, ill, worse = take(database, 0).claimed
    finish(database, [well], OK, 1)
    assert not rang(bell)
    finish(database, [ill], BUSY, 2)
    assert rang(bell), "the first failure of a day is told in a notice"
    finish(database, [worse], BUSY, 3)
    take(database, 40)
    assert not rang(bell)


@contextmanager
def listening(database: Database) -> Iterator[WakeupListener]:
    one = WakeupListener(database, context_of(database).wakeups, lambda: None, ORDERS)
    one.start()
    try:
        yield one
    finally:
        one.stop()


def test_what_is_kept_is_read_again_after_a_change_and_always_while_none_would_be_heard(database: Database) -> None:
    world, wakeups = World(database), context_of(database).wakeups
    watch = ChangeWatch(database, wakeups)

    def read() -> bool:
        reads = list[bool]()
        watch.read(lambda: reads.append(True))
        return bool(reads)

    assert [read(), read()] == [True, True]
    with listening(database):
        wait_until(lambda: wakeups.last_change is not None)
        assert [read(), read()] == [True, False]
        with world.database.write() as session:
            session.execute(update(Pbx).values(host="other.example.com"))
        wait_until(read)
        assert not read()
        heard = wakeups.last_change
        with database.own_connection() as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        wait_until(lambda: wakeups.last_change not in (None, heard))
        assert [read(), read()] == [True, False], "what was changed in between nobody has heard"
    assert [read(), read()] == [True, True]


def test_a_background_job_has_work_as_soon_as_it_is_given_some(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbxhub.delivery.due_work._LASTS", -1.0)
    monkeypatch.setattr("pbxhub.delivery.due_work._UNTOLD", 3600.0)
    world, context = World(database), context_of(database)
    webhook_id = world.webhook(BEFORE)
    own = {"id": new_id(), "project_id": world.project_id, "created_on": NOON}
    work = {
        "resends": Resend(
            **own, state="running", selection={}, current_settings=True, rate=1, total=1, stepped_on=NOON
        ),
        "notices": Notice(**own, webhook_id=webhook_id, kind="paused", text="", due_on=NOON),
    }  # fmt: skip
    with listening(database):
        wait_until(lambda: context.wakeups.last_change is not None)
        due = DueWork(context)
        for job, row in work.items():
            assert not due.is_due(job, NOON)
            with database.write() as session:
                session.add(row)
            wait_until(lambda job=job: due.is_due(job, NOON))  # type: ignore[misc]
        with database.write() as session:
            session.execute(update(Resend).values(state="done"))
        wait_until(lambda: not due.is_due("resends", NOON))


@dataclass
class Line:
    """Stands for a PBX that is listened to."""

    row: PbxRow
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        await self.ended.wait()

    async def close(self) -> None:
        self.ended.set()

    def follow(self, row: PbxRow) -> None:
        self.row = row


def test_a_pbx_that_is_taken_over_or_begins_again_is_read_as_it_is_now(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, context, lines, reads = World(database), context_of(database), list[Line](), list[object]()

    def reading(*asked: Any) -> Any:
        reads.append(asked)
        return read_rows(*asked)

    def begin(row: PbxRow) -> Line:
        lines.append(Line(row))
        return lines[-1]

    monkeypatch.setattr(listener, "read_rows", reading)

    async def scenario() -> None:
        heartbeat = LeaseHeartbeat(database)
        heartbeat.tokens = {world.pbx_id: 1}
        watched = listener._Listener(context, begin, heartbeat, tmp_path, lambda _files: None)  # type: ignore[arg-type]
        for tokens, expected in (({world.pbx_id: 1}, 1), ({world.pbx_id: 2}, 2)):
            heartbeat.tokens = tokens
            await watched.poll()
            await watched.poll()
            assert len(reads) == len(lines) == expected
        lines[-1].ended.set()
        await asyncio.sleep(0)
        await watched.poll()
        assert len(reads) == len(lines) == 3
        await watched.close()

    with listening(database):
        wait_until(lambda: context.wakeups.last_change is not None)
        asyncio.run(scenario())
