"""A reader of the event stream misses nothing: whoever commits late, whatever the cluster does, after a restore."""

import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from psycopg import connect
from sqlalchemy import make_url, text, update

from pbxhub.store.events import EventRow, NewEvent, Position, keep, newest, position_of, read_after, today
from pbxhub.store.session import Database, open_database
from pbxhub.testing.hub.postgres import programs
from tests.support.outbox_world import World

ON_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def told(world: World, what: str) -> NewEvent:
    return NewEvent(world.project_id, "error", datetime.now(UTC), {"text": what})


def tell(world: World, *texts: str) -> None:
    with world.database.write() as session:
        keep(session, [told(world, what) for what in texts])


def read(world: World, after: Position, database: Database | None = None) -> list[EventRow]:
    with (database or world.database).read() as session:
        return read_after(session, world.project_id, after, 100)


def texts(rows: list[EventRow]) -> list[object]:
    return [row.data["text"] for row in rows]


def plain(url: str) -> str:
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


@ON_POSTGRESQL
def test_an_open_transaction_in_another_database_of_the_cluster_stalls_nobody(
    database: Database, empty_postgres_url: str
) -> None:
    world = World(database)
    with connect(plain(empty_postgres_url)) as other:
        other.execute("CREATE TABLE t (i int)")
        other.execute(f"SELECT pg_advisory_xact_lock_shared({0x7078 << 48})")
        tell(world, "one")
        assert texts(read(world, Position())) == ["one"]


@ON_POSTGRESQL
def test_after_a_dump_and_a_restore_a_reader_goes_on_where_it_stood(
    database: Database, empty_postgres_url: str
) -> None:
    world = World(database)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for _ in range(100):  # a hub that has run for a while: the other cluster counts from elsewhere
            connection.execute(text("SELECT pg_current_xact_id()"))
    tell(world, "old", "older")
    with database.read() as session:
        stand = newest(session)
    dump = subprocess.run([programs() / "pg_dump", plain(str(database.engine.url))], check=True, capture_output=True)
    subprocess.run([programs() / "psql", "-q", plain(empty_postgres_url)], input=dump.stdout, check=True,
                   capture_output=True)  # fmt: skip
    copy = open_database(empty_postgres_url)
    with copy.write() as session:
        keep(session, [told(world, "new")])
    assert texts(read(world, stand, copy)) == ["new"]
    assert texts(read(world, Position(), copy)) == ["old", "older", "new"]
    copy.close()


@contextmanager
def writers(world: World, number: int, each: int) -> Iterator[None]:
    """Threads that take ids early and commit late, some of them never."""

    def write(seed: int) -> None:
        chance = random.Random(seed)
        for turn in range(each):
            try:
                with world.database.write() as session:
                    for part in range(chance.randint(1, 3)):
                        keep(session, [told(world, f"{seed}.{turn}.{part}")])
                        session.execute(text("SELECT pg_sleep(:s)"), {"s": chance.random() * 0.01})
                    if chance.random() < 0.1:
                        raise LookupError  # rolled back
            except LookupError:
                pass

    threads = [threading.Thread(target=write, args=(seed,)) for seed in range(number)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


@ON_POSTGRESQL
def test_a_reader_beside_many_writers_reads_every_event_once_and_in_order(database: Database) -> None:
    world, seen = World(database), list[int]()

    def look() -> None:
        after = Position(seen[-1] if seen else 0)
        with database.read() as session:
            end = newest(session)
            seen.extend(row.id for row in read_after(session, world.project_id, after, 10_000, up_to=end))

    done = threading.Event()

    def follow() -> None:
        while not done.is_set():
            look()

    reader = threading.Thread(target=follow)
    reader.start()
    with writers(world, 8, 40):
        pass
    done.set()
    reader.join()
    look()
    with database.read() as session:
        written = [row.id for row in session.query(EventRow).order_by(EventRow.id)]
    assert seen == written
    assert len(written) > 300


def test_a_place_from_before_loses_nothing(database: Database) -> None:
    """It said XID.ID: what had a later transaction was not read, also with a lower id."""
    world = World(database)
    tell(world, "one", "two", "three", "four")
    ids = [row.id for row in read(world, Position())]
    with database.write() as session:
        for number, xid in zip(ids, (700, 702, 701, 702), strict=True):
            session.execute(update(EventRow).where(EventRow.id == number).values(xid=xid))
    place = position_of(f"701.{ids[2]}")
    assert place
    with database.read() as session:
        assert texts(read_after(session, world.project_id, today(session, world.project_id, place), 9))[0] == "two"


@pytest.mark.parametrize("words", ["", "x", "1.2.3", "-1", "1.x", "9" * 30, "\u0661"])
def test_what_is_no_place_is_none(words: str) -> None:
    assert position_of(words) is None
