"""Calls that nobody heard are found in a CEL table that Asterisk fills over the network."""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from pbxhub.ami.cel_file import CelFile, CelUnreadableError
from pbxhub.ami.cel_table import CelTable
from pbxhub.calls.cel_calls import BEFORE_ALL, Place
from pbxhub.calls.cel_rows import CelRow
from pbxhub.store.cel_url import CelUrl, read_cel_url
from pbxhub.store.postgresql import NETWORK_TIMEOUTS
from pbxhub.store.session import Database
from tests.support.hub import VAULT, add_pbx, calls_of, listening, pbx_of, stages_of
from tests.support.pbx_line import playing, until

RECORDED = Path(__file__).parent / "traces" / "cel" / "mobile-22.sqlite3"
# as cel_pgsql has them: its own names, and DEFAULT for what is no field of CEL
COLUMNS = (
    "eventtype", "cid_name", "cid_num", "cid_ani", "cid_rdnis", "cid_dnid", "exten", "context", "channame", "appname",
    "appdata", "accountcode", "uniqueid", "linkedid", "peer", "userdeftype", "extra", "userfield",
)  # fmt: skip
SQLITE_NAMES = {"cid_name": "cidname", "cid_num": "cidnum", "cid_dnid": "ciddnid", "extra": "eventextra"}
TIMES = {"double precision": "{seconds:f}", "timestamp": "'{text}'", "timestamp with time zone": "'{text}+00'",
         "varchar(30)": "'{text}'"}  # fmt: skip


@pytest.fixture
def url(empty_postgres_url: str) -> CelUrl:
    plain = empty_postgres_url.replace("postgresql+psycopg", "postgresql")
    found = read_cel_url(f"{plain}?table=asterisk.cel")
    assert found
    return found


@pytest.fixture
def table(url: CelUrl) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(url.conninfo, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA asterisk")
        yield connection


def create(table: psycopg.Connection[Any], time: str = "double precision") -> None:
    columns = ", ".join(f"{name} text" for name in COLUMNS)
    table.execute(f"CREATE TABLE asterisk.cel (id serial PRIMARY KEY, eventtime {time}, {columns})")


def insert(table: psycopg.Connection[Any], row: dict[str, Any], time: str = "double precision") -> None:
    """As cel_pgsql does it, with usegmtime=yes."""
    seconds = float(row["eventtime"])
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    values = [str(row.get(SQLITE_NAMES.get(name, name)) or "") for name in COLUMNS]
    moment = TIMES[time].format(seconds=seconds, text=text)
    names, marks = ", ".join(f'"{name}"' for name in COLUMNS), ", ".join(["%s"] * len(COLUMNS))
    table.execute(f'INSERT INTO asterisk.cel ("id","eventtime",{names}) VALUES (DEFAULT,{moment},{marks})', values)


def recorded() -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"{RECORDED.as_uri()}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM cel ORDER BY AcctId")]


@pytest.mark.parametrize("time", TIMES)
def test_a_table_says_what_the_file_says(url: CelUrl, table: psycopg.Connection[Any], time: str) -> None:
    create(table, time)
    for row in recorded():
        insert(table, row, time)
    of_file = CelFile(str(RECORDED), "iso-8859-1").rows_after(Place(BEFORE_ALL))
    source = CelTable(url)
    of_table = source.rows_after(Place(BEFORE_ALL))
    source.close()
    assert of_file
    assert of_table
    assert [plain(row) for _, row in of_table] == [plain(row) for _, row in of_file]
    assert [round(row.time, 3) for _, row in of_table] == [round(row.time, 3) for _, row in of_file]


def plain(row: CelRow) -> CelRow:
    return replace(row, eventtime="")


def test_a_table_that_was_emptied_is_read_from_its_beginning(url: CelUrl, table: psycopg.Connection[Any]) -> None:
    create(table)
    first, second, *_ = recorded()
    insert(table, first)
    source = CelTable(url)
    place = source.last_place()
    assert place is not None
    assert source.rows_after(place) == []
    table.execute("TRUNCATE asterisk.cel RESTART IDENTITY")
    insert(table, second)
    assert source.rows_after(place) is None
    source.close()


def test_a_connection_that_broke_is_made_anew_and_a_table_that_is_away_says_why(
    url: CelUrl, table: psycopg.Connection[Any]
) -> None:
    source = CelTable(url)
    with pytest.raises(CelUnreadableError, match=r'asterisk\.cel: relation "asterisk\.cel" does not exist'):
        source.last_place()
    create(table)
    insert(table, recorded()[0])
    assert source.last_place()
    table.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pbxhub CEL'")
    assert source.last_place()
    table.execute("ALTER TABLE asterisk.cel ALTER eventtype TYPE int USING 1")
    with pytest.raises(CelUnreadableError, match="eventtype must be text"):
        source.last_place()
    table.execute("ALTER TABLE asterisk.cel DROP id")
    with pytest.raises(CelUnreadableError, match="id"):
        source.last_place()


def test_a_server_that_falls_silent_is_not_waited_for_as_long_as_the_kernel_would(
    url: CelUrl, table: psycopg.Connection[Any]
) -> None:
    """Its reads hold threads that the stages of all PBXs are written by."""
    create(table)
    source = CelTable(url)
    source.last_place()
    assert source._connection is not None
    used = source._connection.info.get_parameters()
    assert {name: int(used[name]) for name in NETWORK_TIMEOUTS} == NETWORK_TIMEOUTS
    source.close()


def test_a_reading_that_outlasts_the_listener_leaves_no_connection(url: CelUrl, table: psycopg.Connection[Any]) -> None:
    create(table)
    insert(table, recorded()[0])
    source = CelTable(url)
    source.close()
    assert source.last_place()
    assert source._connection is None


def test_nothing_is_written_to_the_table(url: CelUrl, table: psycopg.Connection[Any]) -> None:
    create(table)
    source = CelTable(url)
    source.last_place()
    assert source._connection is not None
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        source._connection.execute("DELETE FROM asterisk.cel")
    source.close()


def test_a_call_that_came_and_went_while_nobody_listened_has_its_stages(
    database: Database, url: CelUrl, table: psycopg.Connection[Any], empty_postgres_url: str
) -> None:
    create(table)
    rows = recorded()
    sealed = VAULT.seal(f"{empty_postgres_url.replace('+psycopg', '')}?table=asterisk.cel")

    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player, cel_url_sealed=sealed)
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).cel_cursor == BEFORE_ALL)
            moved = datetime.now(UTC).timestamp() - float(rows[0]["eventtime"])
            for row in rows:
                insert(table, row | {"eventtime": float(row["eventtime"]) + moved})
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).cel_cursor == len(rows))
            assert pbx_of(database, pbx_id).state_code != "cel_unreadable"

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert calls_of(database)
    assert {"incoming.before", "incoming.after"} <= set(stages_of(database))
    assert all(call.ended_on for call in calls_of(database))


@pytest.mark.parametrize(
    "text",
    ["mysql://u:p@h/d", "postgresql://h/d", "postgresql://u@/d", "postgresql://u@h", "postgresql://u@h/d?table=a;b",
     "postgresql://u@h/d?passfile=/etc/x", "postgresql://u@h/d?host=/tmp", "/var/cel.db", "postgresql://u@h/d?table=a&table=b"],
)  # fmt: skip
def test_what_is_no_address_of_a_table_is_none(text: str) -> None:
    assert read_cel_url(text) is None


def test_the_name_of_a_table_has_no_password() -> None:
    found = read_cel_url("postgresql://asterisk:hush@pbx.example.com/cel?sslmode=verify-full&table=t")
    assert found == CelUrl("postgresql://asterisk:hush@pbx.example.com/cel?sslmode=verify-full", ("t",),
                           "pbx.example.com:5432/cel t")  # fmt: skip
    assert "hush" not in repr(found)
    assert {each.name for each in fields(found)} == {"conninfo", "table", "name"}
