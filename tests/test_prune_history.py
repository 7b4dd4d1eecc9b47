"""Old history goes, a little at a time; claim, error page and call card never look at it."""

from datetime import timedelta
from typing import Any

import pytest
from outbox_world import AFTER, BEFORE, BUSY, NOON, OK, VAULT, World, at, finish, report, take
from sqlalchemy import Integer, bindparam, func, insert, select, text

from pbxhub.delivery.outbox import Selection, prune, publish
from pbxhub.delivery.outbox.claim import _FIRST, _HOP, _IN_FLIGHT
from pbxhub.store.columns import UtcDateTime
from pbxhub.store.history import DELIVERED, Attempt, Call, Delivery, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database

DAY = 24 * 3600


def count(database: Database, table: Any) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids carry the time they were made: let these be made at NOON."""
    monkeypatch.setattr("pbxhub.store.ids.time.time_ns", lambda: int(NOON.timestamp() * 1e9))
    monkeypatch.setattr("pbxhub.store.ids._last", 0)


@pytest.mark.usefixtures("old")
def test_delivered_goes_first_then_failed_then_calls(database: Database) -> None:
    world = World(database)
    world.webhook(BEFORE)
    world.webhook(AFTER)
    publish(database, VAULT, world.pbx_id, [report("1.1", BEFORE)], NOON)
    finish(database, take(database, 0).claimed, OK, 1)
    publish(database, VAULT, world.pbx_id, [report("1.1", AFTER, ended=2)], at(2))
    finish(database, take(database, 2).claimed, BUSY, 3)
    assert prune(database, at(29 * DAY)).deliveries == 0
    assert prune(database, at(31 * DAY)).deliveries == 1
    assert [row.state for row in world.deliveries()] == ["failed"]
    assert prune(database, at(91 * DAY)).deliveries == 1
    assert (count(database, Delivery), count(database, Attempt), count(database, Call)) == (0, 0, 1)
    assert prune(database, at(366 * DAY)).calls == 1
    assert (count(database, Call), count(database, StageEvent)) == (0, 0)


@pytest.mark.usefixtures("old")
def test_a_pending_delivery_is_never_deleted_and_keeps_its_call(database: Database) -> None:
    world = World(database)
    world.webhook()
    publish(database, VAULT, world.pbx_id, [report("1.1", BEFORE, ended=2)], NOON)
    pruned = prune(database, at(1000 * DAY))
    assert (pruned.deliveries, pruned.calls) == (0, 0)


@pytest.mark.usefixtures("old")
def test_more_than_one_batch_is_deleted_in_small_transactions(database: Database) -> None:
    world = World(database)
    world.webhook()
    publish(database, VAULT, world.pbx_id, [report(f"1.{number}", BEFORE, ended=1) for number in range(7)], NOON)
    for _ in range(7):
        finish(database, take(database, 0).claimed, OK, 1)
    assert prune(database, at(400 * DAY), batch=3).deliveries == 7
    assert count(database, Call) == 0


def fill(database: Database, world: World, number: int) -> None:
    """Old, delivered rows, by one bulk insert."""
    row = {
        "project_id": world.project_id, "webhook_id": world.webhooks[0], "webhook_revision": 1, "kind": "stage",
        "state": DELIVERED, "lane": 1, "due_at": NOON - timedelta(days=1), "method": "POST", "url": "", "headers": [],
        "body": b"", "created_on": NOON, "finished_on": NOON,
    }  # fmt: skip
    with database.write() as session:
        session.execute(insert(Delivery), [row | {"id": new_id()} for _ in range(number)])
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE"))


def plan(database: Database, statement: Any, values: list[Any]) -> str:
    """What the database says it will do."""
    bound = statement.bindparams(*values) if values else statement
    compiled = bound.compile(dialect=database.engine.dialect, compile_kwargs={"literal_binds": True})
    explain = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
    with database.engine.connect() as connection:
        return "\n".join(str(row) for row in connection.exec_driver_sql(explain + str(compiled)))


def test_claim_error_page_and_call_card_use_their_indexes_among_many_old_rows(database: Database) -> None:
    world = World(database)
    world.webhook()
    fill(database, world, 20_000)
    dialect = database.engine.dialect.name
    now = bindparam("now", NOON, UtcDateTime())
    webhooks = bindparam("webhook_ids", world.webhooks, Integer(), expanding=True)
    choose = [now, bindparam("lane", 1, Integer()), bindparam("most", 8, Integer()), webhooks]
    unchecked = select(Delivery.id).where(text("state = 'failed' AND checked_on IS NULL")).order_by(Delivery.id.desc())
    errors = unchecked.where(Delivery.project_id == world.project_id).limit(50)
    card = select(Delivery.id).where(Delivery.call_id == new_id())
    for statement, values, index in (
        (_HOP.statement, [], "ix_delivery_due"),
        (_FIRST[dialect].statement, choose, "ix_delivery_due"),
        (_IN_FLIGHT.statement, [now], "ix_delivery_claimed"),
        (errors, [], "ix_delivery_unchecked"),
        (card, [], "ix_delivery_call"),
    ):
        steps = plan(database, statement, values)
        assert index in steps, steps
        assert "SCAN d\n" not in steps, steps
        assert "SCAN delivery\n" not in steps, steps
        assert "Seq Scan on delivery" not in steps, steps


def test_a_selection_without_states_it_may_touch_is_empty(database: Database) -> None:
    world = World(database)
    world.webhook()
    publish(database, VAULT, world.pbx_id, [report("1.1", BEFORE)], NOON)
    with database.read() as session:
        pending = Selection(states=("pending",)).conditions(world.project_id)
        assert session.scalars(select(Delivery.id).where(*pending)).all() == []
