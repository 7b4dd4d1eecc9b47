"""However many old rows there are, and whatever the planner knows of them: publish, claim and record go by indexes."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, make_url, update

from pbxhub.delivery.outbox import publish_later, publish_other, register, subscribe
from pbxhub.delivery.outbox.lost_attempts import release_leases
from pbxhub.sending.exchange import Answer
from pbxhub.store.accounts import Number
from pbxhub.store.api import Attributes, Resthook
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.ordered_calls import CHANNEL_PREFIX, OrderedCall
from pbxhub.store.questions import Question
from pbxhub.store.session import Database, open_database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.hub.postgres import programs
from pbxhub.webhooks.spec import AnswerSpec, Retry, Saved
from tests.support.old_rows import FILLED, fill_postgresql, hold_one_in_twenty
from tests.support.outbox_world import (
    AFTER,
    BEFORE,
    BUSY,
    FORWARD,
    NOON,
    OK,
    Sender,
    World,
    at,
    context_of,
    finish,
    forward,
    give_up,
    report,
    spec,
    take,
)

OLD = 100_000
_IN_WORK = ("ix_delivery_claimed", "ix_delivery_held")  # hold nothing but what is in flight, or waits for that
GONE = Answer("gone", "", 410)
Statement = tuple[str, Any]


@contextmanager
def listening(database: Database) -> Iterator[list[Statement]]:
    """Every statement that runs meanwhile, once, with the parameters of its first run."""
    heard: dict[str, Any] = {}

    def hear(_connection: Any, _cursor: Any, text: str, parameters: Any, _context: Any, many: bool) -> None:
        heard.setdefault(text, parameters[0] if many else parameters)

    event.listen(database.engine, "before_cursor_execute", hear)
    statements: list[Statement] = []
    yield statements
    event.remove(database.engine, "before_cursor_execute", hear)
    statements += [
        one for one in heard.items() if one[0].split()[0] in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
    ]


def account(database: Database) -> World:
    """Webhooks that do everything that publish, claim and record know to do."""
    world = World(database)
    saving = AnswerSpec(save=(Saved("ID", "id"),))
    world.webhook(BEFORE, spec(answer=saving, on_success="next", retry=Retry("standard")), name="first")
    world.webhook("chain", name="next")
    world.webhook(FORWARD)
    world.webhook(AFTER, spec(retry=Retry("standard")))
    world.webhook("call.complete")
    world.webhook("call.analysis")
    world.webhook("form.sent")
    with database.write() as session:
        session.add(Number(project_id=world.project_id, pbx_id=world.pbx_id, did="380445556677"))
        known = {"number": "380441234567", "valid_from": at(-9), "valid_until": at(9), "values": {"utm_source": "x"}}
        session.add(Attributes(id=new_id(), project_id=world.project_id, created_on=NOON, **known))
        hook = Resthook(project_id=world.project_id, name="deals", created_on=NOON)
        session.add(hook)
        session.flush()
        subscribe(session, hook, "http://127.0.0.1:9/gone", NOON)
    return world


def everything(world: World) -> None:
    """Orders, calls, retries, lost attempts, chains, pauses, what is cancelled and what is handed over."""
    database = world.database
    order = an_order(world)
    calls = [report("1", BEFORE, forward("101"), forward("102", 2)), report(f"{CHANNEL_PREFIX}{order.id}", BEFORE)]
    world.publish(*calls)
    world.publish(*calls)
    claimed = take(database, 0).claimed
    a_question_before_its_call(world, claimed[0].id)
    world.publish(report("asked", BEFORE))
    finish(database, claimed, Answer("ok", "", 200, body=b'{"id": 7}', total_us=1), 1)
    world.publish(report("1", AFTER, ended=5.0), now=at(5))
    later(world, at(5))
    for seconds in (6, 40, 80, 120, 160, 200):  # held on, lost, lost too often
        give_up(database, take(database, seconds), seconds)
    taken = take(database, 300).claimed
    finish(database, taken[:1], BUSY, 301)
    finish(database, taken[:1], BUSY, 301)  # not its own any more
    finish(database, taken[1:2], GONE, 302)
    with database.write() as session:
        release_leases(context_of(database), session, taken[2:], at(303))
        session.execute(update(Webhook).where(Webhook.id == world.webhooks[3]).values(enabled=False))
        touch_webhooks(session, world.project_id)
    finish(database, take(database, 400).claimed, OK, 401)
    finish(database, take(database, 3000).claimed, OK, 3001)
    sender = Sender(database, 3002)
    context_of(database).handoff.open(sender)
    world.publish(report("handed over", BEFORE), now=at(3002))
    assert sender.sent
    context_of(database).handoff.close(sender)


def an_order(world: World) -> OrderedCall:
    order = OrderedCall(
        id=new_id(), project_id=world.project_id, pbx_id=world.pbx_id, mobile_number="+38067", agent_id="101",
        callback_url="http://127.0.0.1:9/told", created_on=NOON,
    )  # fmt: skip
    with world.database.write() as session:
        register(context_of(world.database), session, order, NOON)
    return order


def a_question_before_its_call(world: World, delivery_id: UUID) -> None:
    with world.database.write() as session:
        session.add(Question(delivery_id=delivery_id, line=0, pbx_id=world.pbx_id, linkedid="asked"))


def later(world: World, now: datetime) -> None:
    with world.database.write() as session:
        call_id = session.query(Call.id).filter_by(pbx_id=world.pbx_id, linkedid="1").scalar()
        publish_later(context_of(world.database), session, call_id, "analysis", {"mood": "good"}, now)
        publish_other(context_of(world.database), session, world.project_id, None, "form.sent", "k", {}, now)


def heard_of(database: Database) -> tuple[World, list[Statement]]:
    world = account(database)
    with listening(database) as statements:
        everything(world)
    assert len(statements) > 40
    return world, statements


def walked(database: Database, statements: list[Statement]) -> set[str]:
    """What PostgreSQL would read from end to end, with the values at hand and with any others."""
    found = set()
    with database.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.prepare_threshold = None
        for text, values in statements:
            for tree in (plan(driver, text, values), generic_plan(driver, text)):
                found |= {f"{node['Node Type']} of {node['Relation Name']}: {text}" for node in tree if is_walk(node)}
    return found


def is_walk(node: Mapping[str, Any]) -> bool:
    """Whether a step of the plan looks at every row of one of the tables that grow."""
    if node.get("Relation Name") not in FILLED or node.get("Index Name") in _IN_WORK:
        return False
    return node["Node Type"] == "Seq Scan" or ("Index Name" in node and "Index Cond" not in node)


def plan(driver: Any, text: str, values: Any) -> list[Mapping[str, Any]]:
    (tree,) = driver.execute(f"EXPLAIN (FORMAT JSON) {text}", values).fetchone()[0]
    return list(nodes(tree["Plan"]))


def nodes(tree: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield tree
    for below in tree.get("Plans", ()):
        yield from nodes({"Relation Name": tree.get("Relation Name"), **below})


def generic_plan(driver: Any, text: str) -> list[Mapping[str, Any]]:
    """As for a statement that the driver has prepared: made once, whatever the values."""
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return numbers.setdefault(found[1] or str(len(numbers)), f"${len(numbers) + 1}")

    prepared = re.sub(r"%(?:\((\w+)\))?s", number, text).replace("%%", "%")
    driver.execute("SET plan_cache_mode = force_generic_plan")
    driver.execute(f"PREPARE one AS {prepared}")
    nothing = f"({', '.join(['NULL'] * len(numbers))})" if numbers else ""
    made = plan(driver, f"EXECUTE one{nothing}", None)
    driver.execute("DEALLOCATE one")
    driver.execute("RESET plan_cache_mode")
    return made


def restore_into(url: str, database: Database) -> None:
    """The same rows after a dump and a restore: nobody has gathered statistics yet."""
    source = make_url(str(database.engine.url)).set(drivername="postgresql")
    target = make_url(url).set(drivername="postgresql")
    folder = programs()
    dump = [folder / "pg_dump", "-Fc", "-Z0", source.render_as_string(hide_password=False)]
    restore = [folder / "pg_restore", "-d", target.render_as_string(hide_password=False)]
    with subprocess.Popen(dump, stdout=subprocess.PIPE) as dumping:
        subprocess.run(restore, stdin=dumping.stdout, check=True)
    assert dumping.returncode == 0


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_never_reads_a_table_from_end_to_end(database: Database, empty_postgres_url: str) -> None:
    world, statements = heard_of(database)
    fill_postgresql(database, world.project_id, world.pbx_id, world.webhooks[0], OLD)
    assert walked(database, statements) == set(), "without statistics"
    hold_one_in_twenty(database)
    assert walked(database, statements) == set(), "one in twenty held, without statistics"
    restore_into(empty_postgres_url, database)
    copy = open_database(empty_postgres_url)
    assert walked(copy, statements) == set(), "after a restore"
    copy.close()
    with database.write() as session:
        session.connection().exec_driver_sql("ANALYZE")
    assert walked(database, statements) == set(), "one in twenty held, with statistics"


_SHORT = re.compile(r"SCAN ((given|json_each).*|hop|later|l[123]|rows|due|(\d+ )?CONSTANT ROWS?|\d+-ROW VALUES CLAUSE)")


def reads_all(line: str) -> bool:
    """Whether a line of SQLite's plan says that it reads a table, or an index of the whole table, to its end."""
    return line.startswith("SCAN") and not _SHORT.fullmatch(line) and line.split()[-1] not in _IN_WORK


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_sqlite_never_reads_a_table_from_end_to_end(database: Database) -> None:
    _, statements = heard_of(database)
    found = set()
    with database.engine.connect() as connection:
        for text, values in statements:
            lines = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)]
            found |= {f"{line}: {text}" for line in lines if reads_all(line)}
    assert found == set()
