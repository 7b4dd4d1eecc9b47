"""Old history goes, a little at a time; claim, error page and call card never look at it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, insert, select, text, update

from pbxhub.delivery.outbox import Selection
from pbxhub.delivery.prune import prune
from pbxhub.store.all_tables import metadata
from pbxhub.store.api import Attributes, KeptAnswer
from pbxhub.store.delivery_rows import DELIVERED, FAILED, Attempt, Delivery, WebhookPace
from pbxhub.store.events import EventRow, NewEvent, keep
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.notices import Notice
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.queue_pauses import QueuePause
from pbxhub.store.resends import DONE, Resend
from pbxhub.store.session import Database, open_database
from pbxhub.store.sign_in_rows import Invitation
from tests.support.outbox_world import AFTER, BEFORE, BUSY, KEPT, NOON, OK, World, at, finish, report, take

DAY = 24 * 3600


def count(database: Database, table: Any) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids carry the time they were made: let these be made at NOON."""
    monkeypatch.setattr("pbxhub.store.ids.unix_ns", lambda: int(NOON.timestamp() * 1e9))
    monkeypatch.setattr("pbxhub.store.ids._last", 0)


@pytest.mark.usefixtures("old")
def test_delivered_goes_first_then_failed_then_calls(database: Database) -> None:
    world = World(database)
    world.webhook(BEFORE)
    world.webhook(AFTER)
    world.publish(report("1.1", BEFORE))
    finish(database, take(database, 0).claimed, OK, 1)
    world.publish(report("1.1", AFTER, ended=2), now=at(2))
    finish(database, take(database, 2).claimed, BUSY, 3)
    assert prune(database, at(29 * DAY), KEPT).deliveries == 0
    assert prune(database, at(31 * DAY), KEPT).deliveries == 1
    assert [row.state for row in world.deliveries()] == ["failed"]
    assert prune(database, at(91 * DAY), KEPT).deliveries == 1
    assert (count(database, Delivery), count(database, Attempt), count(database, Call)) == (0, 0, 1)
    assert prune(database, at(366 * DAY), KEPT).calls == 1
    assert (count(database, Call), count(database, StageEvent)) == (0, 0)


@pytest.mark.usefixtures("old")
def test_a_pending_delivery_is_never_deleted_and_keeps_its_call(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE, ended=2))
    pruned = prune(database, at(1000 * DAY), KEPT)
    assert (pruned.deliveries, pruned.calls) == (0, 0)


@pytest.mark.usefixtures("old")
def test_more_than_one_batch_is_deleted_in_small_transactions(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(*(report(f"1.{number}", BEFORE, ended=1) for number in range(7)))
    for _ in range(7):
        finish(database, take(database, 0).claimed, OK, 1)
    assert prune(database, at(400 * DAY), KEPT, batch=3).deliveries == 7
    assert count(database, Call) == 0


SETUP = {  # what people have set up and who did it; it goes when they delete it, or their project
    "project", "user_account", "membership", "api_key", "sign_in", "audit_entry", "pbx", "webhook", "webhook_version",
    "resthook", "subscriber", "first_setup", "connection", "saved_filter",
}  # fmt: skip


@pytest.mark.usefixtures("old")
def test_no_table_keeps_anything_beyond_the_longest_retention(database: Database) -> None:
    """Every table with created_on: one row of NOON in each, besides what a call of that time has left."""
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE, ended=1))
    finish(database, take(database, 0).claimed, OK, 1)
    mine = {"project_id": world.project_id, "created_on": NOON}
    with database.write() as session:
        session.add_all([
            StageEvent(id=new_id(), stage="form.sent", key="1", ordinal=1, data={"phone": "1"}, **mine),
            OrderedCall(id=new_id(), mobile_number="+380441112233", agent_id="101", transcript="secret", **mine),
            QueuePause(id=new_id(), pbx_id=world.pbx_id, member="PJSIP/101", queue="", paused=True, reason="", **mine),
            Resend(id=new_id(), state=DONE, selection={}, current_settings=False, rate=1, total=1, stepped_on=NOON,
                   **mine),
            Attributes(id=new_id(), number="380", valid_from=NOON, valid_until=at(60), values={"utm": "x"}, **mine),
            KeptAnswer(key="k", request_hash="", **mine),
            Notice(id=new_id(), kind="paused", text="", **mine),
            Invitation(email="a@example.com", role="viewer", expires_on=NOON, **mine),
        ])  # fmt: skip
    history = {table for table in metadata.sorted_tables if "created_on" in table.c and table.name not in SETUP}
    assert {table.name for table in history if not count(database, table)} == set()
    prune(database, at(364 * DAY), KEPT, pause=0)
    assert count(database, EventRow) > 0
    assert prune(database, at(366 * DAY), KEPT, pause=0).others >= 5
    assert {table.name for table in history if count(database, table)} == set()


def test_a_pace_whose_time_has_passed_is_deleted(database: Database) -> None:
    with database.write() as session:
        session.add_all([WebhookPace(webhook_id=1, next_on=at(0)), WebhookPace(webhook_id=2, next_on=at(DAY))])
    prune(database, at(DAY + 1), KEPT, pause=0)
    with database.read() as session:
        assert session.scalars(select(WebhookPace.webhook_id)).all() == [2]


@pytest.mark.usefixtures("old")
def test_an_event_that_a_kept_delivery_is_about_is_kept(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE, ended=1))
    with database.write() as session:
        session.execute(update(StageEvent).values(call_id=None))
        session.execute(update(Delivery).values(call_id=None))
    prune(database, at(1000 * DAY), KEPT, pause=0)
    assert (count(database, StageEvent), count(database, Delivery)) == (1, 1)


@pytest.mark.usefixtures("old")
def test_an_id_of_an_event_never_comes_again(database: Database) -> None:
    """A reader of the stream stands at it."""
    world = World(database)
    ids = []
    for _ in range(2):
        with database.write() as session:
            keep(session, [NewEvent(world.project_id, "x", NOON, {})])
            ids.append(session.scalars(select(EventRow.id)).one())
        assert prune(database, at(366 * DAY), KEPT).others == 1
    assert ids[1] > ids[0]


@pytest.mark.usefixtures("old")
def test_failures_that_are_kept_cost_a_writer_nothing(tmp_path: Path, sqlite_template: Path) -> None:
    """However many there are before what has to go: counted in steps of SQLite's machine under its write lock."""
    worked = []
    for kept in (0, 5_000):
        path = tmp_path / f"{kept}.sqlite3"
        path.write_bytes(sqlite_template.read_bytes())
        database = open_database(f"sqlite:///{path}")
        world = World(database)
        world.webhook()
        fill(database, world, kept, FAILED)
        fill(database, world, 60)
        with counting_steps_of_writers(database) as steps:
            assert prune(database, at(400 * DAY), replace(KEPT, failed=timedelta(days=3650)), 20, 0).deliveries == 60
        worked.append(max(steps))
        database.close()
    assert 0 < worked[1] <= 1.2 * worked[0], worked


@contextmanager
def counting_steps_of_writers(database: Database) -> Iterator[list[int]]:
    """Fills the list with the steps of each writing transaction, in hundreds."""
    steps: list[int] = []
    writing = [False]

    def tick() -> int:
        if writing[0]:
            steps[-1] += 1
        return 0

    def begin(connection: Connection) -> None:
        writing[0] = bool(connection.get_execution_options().get("pbxhub_write"))
        if writing[0]:
            steps.append(0)

    database.close()
    event.listen(database.engine, "connect", lambda driver, _: driver.set_progress_handler(tick, 100))
    event.listen(database.engine, "begin", begin)
    yield steps
    event.remove(database.engine, "begin", begin)


@pytest.mark.usefixtures("old")
def test_walking_over_what_is_kept_goes_on_where_it_stopped(database: Database) -> None:
    """And never from the first row on again for each batch."""
    world = World(database)
    world.webhook()
    fill(database, world, 9)
    told: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *told_of: told.append(told_of[2]))
    assert prune(database, at(400 * DAY), KEPT, batch=3, pause=0).deliveries == 9
    chosen = [one for one in told if one.startswith("SELECT delivery.id") and "state" in one]
    assert ["delivery.id >" in one for one in chosen[:4]] == [False, True, True, True]


def fill(database: Database, world: World, number: int, state: str = DELIVERED) -> None:
    """Old rows, by one bulk insert."""
    row = {
        "project_id": world.project_id, "webhook_id": world.webhooks[0], "webhook_revision": 1, "kind": "stage",
        "state": state, "lane": 1, "due_at": NOON - timedelta(days=1), "method": "POST", "url": "", "headers": [],
        "body": b"", "created_on": NOON, "finished_on": NOON,
    }  # fmt: skip
    with database.write() as session:
        if number:
            session.execute(insert(Delivery), [row | {"id": new_id()} for _ in range(number)])
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def plan(database: Database, statement: Any) -> str:
    """What the database says it will do."""
    compiled = statement.compile(dialect=database.engine.dialect, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    with database.engine.connect() as connection:
        return "\n".join(str(row) for row in connection.exec_driver_sql(explain + str(compiled)))


def test_error_page_and_call_card_use_their_indexes_among_many_old_rows(database: Database) -> None:
    """What publish, claim and record use: test_work_beside_much_history."""
    world = World(database)
    world.webhook()
    fill(database, world, 20_000)
    unchecked = select(Delivery.id).where(text("state = 'failed' AND checked_on IS NULL")).order_by(Delivery.id.desc())
    errors = unchecked.where(Delivery.project_id == world.project_id).limit(50)
    card = select(Delivery.id).where(Delivery.call_id == new_id())
    for statement, index in ((errors, "ix_delivery_unchecked"), (card, "ix_delivery_call")):
        steps = plan(database, statement)
        assert index in steps, steps


def test_a_selection_without_states_it_may_touch_is_empty(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    with database.read() as session:
        pending = Selection(states=("pending",)).conditions(world.project_id)
        assert session.scalars(select(Delivery.id).where(*pending)).all() == []
