"""However many projects and webhooks wait: a claim takes what is due, fairly, and touches nothing else."""

from dataclasses import replace
from typing import Any

from sqlalchemy import text, update
from sqlalchemy.orm import Session

from pbxhub.delivery.outbox import claim, publish
from pbxhub.delivery.outbox.due import LOOK
from pbxhub.delivery.webhook_cache import WebhookCache
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from tests.support.outbox_world import BEFORE, NOON, OK, World, at, context_of, finish, report, spec, take

TOO_MANY = 33_000  # for a statement with a parameter for each: SQLite takes 32,766, PostgreSQL 65,535
_READ = text("SELECT sum(seq_tup_read + idx_tup_fetch) FROM pg_stat_xact_user_tables")
COPIED = 1_000_000  # the id of the first copy


def copy(session: Session, table: str, numbers: str, **columns: str) -> None:
    """Copies of the first row of a table. columns: what differs, in SQL."""
    names = [column.name for column in Delivery.metadata.tables[table].columns]
    values = ", ".join(columns.get(name, f"one.{name}") for name in names)
    first = f"(SELECT * FROM {table} ORDER BY id LIMIT 1)"
    session.execute(text(f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {first} one, {numbers} n"))


def webhooks_with_one_each(world: World, first: int, number: int, seconds: float) -> None:
    """That many projects, each with a webhook whose delivery is due so many seconds after NOON."""
    with world.database.write() as session:
        numbers = f"(SELECT i FROM generate_series({first}, {first + number - 1}) i)"
        new_id = "lpad(to_hex(i), 32, '0')::uuid"
        if world.database.is_sqlite:
            more = f"SELECT i + 1 FROM n WHERE i + 1 < {first + number}"
            numbers = f"(WITH RECURSIVE n(i) AS (VALUES ({first}) UNION ALL {more}) SELECT i FROM n)"
            new_id = "printf('%032x', i)"
        copy(session, "project", numbers, id="i")
        copy(session, "webhook", numbers, id="i", project_id="i")
        own = {"webhook_id": "i", "project_id": "i", "stage_event_id": "NULL", "call_id": "NULL", "claim_token": "NULL"}
        copy(session, "delivery", numbers, id=new_id, **own)
        session.execute(update(Delivery).where(Delivery.webhook_id >= first).values(due_at=at(seconds)))


def rows_touched(database: Database, seconds: float) -> tuple[int, int]:
    """How many were claimed, and how much the database did for it: rows read, or steps of SQLite."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    with database.write() as session:
        driver: Any = session.connection().connection.driver_connection
        before = 0 if database.is_sqlite else session.scalar(_READ) or 0
        if database.is_sqlite:
            driver.set_progress_handler(step, 10)
        batch = claim(context_of(database), session, 100, at(seconds), chance=lambda: 0.5)
        if database.is_sqlite:
            driver.set_progress_handler(None, 0)
        else:
            steps = int(session.scalar(_READ) or 0) - int(before)
    return len(batch.claimed), steps


def test_more_projects_with_something_due_than_a_statement_takes_parameters(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("copied", BEFORE))
    webhooks_with_one_each(world, COPIED, TOO_MANY, 0)
    for _ in range(2):
        batch = take(database, 1, chance=0.9)
        assert len({claimed.webhook.id for claimed in batch.claimed}) == len(batch.claimed) >= 99
        assert batch.more


def test_a_claim_costs_the_same_beside_webhooks_that_wait(database: Database) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("copied", BEFORE))
    webhooks_with_one_each(world, COPIED, 3, 3600)
    few = rows_touched(database, 1)
    webhooks_with_one_each(world, COPIED + 3, 5000, 3600)
    world.publish(report("next", BEFORE), now=at(2))
    many = rows_touched(database, 3)
    assert (few[0], many[0]) == (1, 1)
    assert many[1] <= few[1] * 1.2


def test_whose_first_delivery_is_due_now_does_not_wait_behind_a_crowd(database: Database) -> None:
    """One webhook has more to send than a look takes in, older than what another one has, and younger, too."""
    world = World(database)
    crowded, other = world.webhook(), world.webhook("form.sent")
    publish(
        context_of(database), {world.pbx_id: [report(f"{number}", BEFORE) for number in range(2 * LOOK + 10)]}, NOON
    )
    ids = [row.id for row in world.deliveries()]
    with database.write() as session:
        session.execute(update(Delivery).where(Delivery.id < ids[LOOK + 5]).values(due_at=at(-5)))
        session.execute(update(Delivery).where(Delivery.id == ids[0]).values(webhook_id=other, due_at=at(-1)))
    assert {claimed.webhook.id for claimed in take(database, 1, limit=4).claimed} == {crowded, other}


def test_each_delivery_is_leased_for_as_long_as_its_own_webhook_may_take(database: Database) -> None:
    world = World(database)
    world.webhook(what=spec(deadline=5))
    world.webhook(what=spec(deadline=60))
    world.publish(report("1.1", BEFORE))
    assert [claimed.lease_until for claimed in take(database, 0).claimed] == [at(25), at(80)]
    assert [claimed.webhook.id for claimed in take(database, 26).claimed] == world.webhooks[:1]
    finish(database, take(database, 81).claimed, OK, 82)


def test_a_claim_does_not_compile_what_it_takes(database: Database) -> None:
    """It reads limits: others wait for its transaction."""
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    with database.write() as session:
        (claimed,) = claim(context_of(database, webhook_cache=WebhookCache()), session, 100, at(1)).claimed
    assert "made" not in vars(claimed.webhook.stored)
    assert not isinstance(claimed.webhook.made, str)


def test_an_edit_of_one_webhook_compiles_only_that_one_again(database: Database) -> None:
    world = World(database)
    edited, other = world.webhook(), world.webhook()
    cache = WebhookCache()
    with database.read() as session:
        before = cache.fetch(session, [world.project_id])[world.project_id].by_id
    with database.write() as session:
        row = session.get_one(Webhook, edited)
        row.spec = replace(row.spec, on_failure="other")
        touch_webhooks(session, world.project_id)
    with database.read() as session:
        after = cache.fetch(session, [world.project_id])[world.project_id].by_id
    assert after[other].stored is before[other].stored
    assert after[edited].made != before[edited].made
