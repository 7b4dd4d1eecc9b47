"""The outbox's own statements: any number of rows, every type of column, SQLAlchemy's errors, on both databases."""

from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from pbxhub.store.bulk import Delete, Insert, Query, Update, Upsert
from pbxhub.store.history import Call, LiveCall
from pbxhub.store.ids import new_id
from pbxhub.store.session import Base, Database
from tests.support.outbox_world import NOON, World, at

CALL = Base.metadata.tables["call"]
WRITTEN = ("id", "project_id", "pbx_id", "linkedid", "direction", "caller", "dst", "started_on", "answered_on", "data")
EMPTY = {"caller_name": "''", "extension": "''", "disposition": "''", "answers": "'{}'"}
INSERT = Insert(CALL, WRITTEN, EMPTY)
LIVE_CALL = Base.metadata.tables["live_call"]
KEEP, LET_GO = Upsert(LIVE_CALL, ("pbx_id", "linkedid"), ("memory",)), Delete(LIVE_CALL, ("pbx_id", "linkedid"))
UPDATE = Update(CALL, ("pbx_id", "linkedid"), ("caller", "answered_on", "data"))


def row(world: World, number: int) -> dict[str, Any]:
    return {
        "id": new_id(), "project_id": world.project_id, "pbx_id": world.pbx_id, "linkedid": f"1.{number}",
        "direction": "incoming", "caller": f"+38044{number}", "dst": 'a "quote", %s and ?', "started_on": at(number),
        "answered_on": None if number % 2 else at(number), "data": {"number": number, "big": 2**70 + number},
    }  # fmt: skip


@pytest.mark.parametrize("number", [0, 1, 2, 3, 255, 600])
def test_any_number_of_rows_is_inserted_and_updated(database: Database, number: int) -> None:
    world = World(database)
    rows = [row(world, one) for one in range(number)]
    with database.write() as session:
        INSERT.run(session, rows)
    with database.write() as session:
        changed = [{**one, "caller": f"new {one['caller']}", "answered_on": NOON, "data": {}} for one in rows[1:]]
        UPDATE.run(session, changed)
    with database.read() as session:
        calls = session.scalars(select(Call).order_by(Call.id)).all()
        assert session.scalar(select(func.count()).select_from(Call)) == number
    wanted = rows[:1] + changed
    assert [{name: getattr(call, name) for name in WRITTEN} for call in calls] == wanted


def test_an_update_touches_only_the_rows_of_its_keys(database: Database) -> None:
    world = World(database)
    rows = [row(world, one) for one in range(5)]
    with database.write() as session:
        INSERT.run(session, rows)
        UPDATE.run(session, [{**rows[1], "caller": "one"}, {**rows[3], "caller": "three"}, row(world, 99)])
    with database.read() as session:
        assert session.scalars(select(Call.caller).order_by(Call.id)).all() == [
            "+380440", "one", "+380442", "three", "+380444",
        ]  # fmt: skip


def kept(database: Database) -> dict[str, Any]:
    with database.read() as session:
        rows = session.execute(select(LiveCall.linkedid, LiveCall.memory))
        return {row.linkedid: row.memory for row in rows}


@pytest.mark.parametrize("number", [1, 2, 3, 255, 600])
def test_any_number_of_rows_is_written_whether_they_are_there_or_not_and_taken_away(
    database: Database, number: int
) -> None:
    world = World(database)
    rows = [{"pbx_id": world.pbx_id, "linkedid": f"1.{one}", "memory": {"one": one}} for one in range(number)]
    with database.write() as session:
        KEEP.run(session, rows[: number // 2])
        KEEP.run(session, [{**row, "memory": {"now": row["linkedid"]}} for row in rows])
    assert kept(database) == {row["linkedid"]: {"now": row["linkedid"]} for row in rows}
    with database.write() as session:
        LET_GO.run(session, [{**row, "linkedid": f"{row['linkedid']} of another"} for row in rows])
        LET_GO.run(session, rows[1:])
    assert kept(database) == {"1.0": {"now": "1.0"}}


@pytest.mark.parametrize("number", [1, 3])
def test_what_the_database_refuses_is_told_in_the_words_of_sqlalchemy_and_writes_nothing(
    database: Database, number: int
) -> None:
    world = World(database)
    with database.write() as session:
        INSERT.run(session, [row(world, 0)])
    with pytest.raises(IntegrityError), database.write() as session:
        INSERT.run(session, [row(world, 7), *(row(world, 0) for _ in range(number))])
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Call)) == 1


def test_a_query_the_database_refuses_is_told_in_the_words_of_sqlalchemy(database: Database) -> None:
    broken = Query(select(Call.id).where(func.no_such_function(Call.id) == 1))
    with database.read() as session, pytest.raises(DBAPIError, match="no_such_function"):
        broken.all(session)
