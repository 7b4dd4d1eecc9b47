"""An operator moves a hub from one database to another, of either kind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, insert, select, text

from pbxhub.delivery.context import open_context
from pbxhub.delivery.outbox import publish
from pbxhub.maintenance import move as moving
from pbxhub.maintenance.backup_file import BackupError
from pbxhub.maintenance.move import move
from pbxhub.settings import read_settings, with_key
from pbxhub.store.accounts import AuditEntry, Project
from pbxhub.store.all_tables import metadata
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.testing import await_until
from pbxhub.vault import Vault
from pbxhub.web import create_app
from tests.support import shop
from tests.support.outbox_world import AFTER, BEFORE, NOON, OK, World, at, context_of, finish, report, take
from tests.support.people import Browser, without_the_moment


@pytest.fixture(params=["sqlite", "postgresql"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty database, without tables."""
    sqlite = f"sqlite:///{tmp_path}/target.sqlite3"
    database = open_database(sqlite if request.param == "sqlite" else request.getfixturevalue("empty_postgres_url"))
    yield database
    database.close()


@pytest.fixture
def world(database: Database) -> World:
    """Calls with deliveries, sent and pending ones, attempts, an audit log of some pages."""
    world = World(database)
    world.webhook(BEFORE, name="Замовлення")
    world.webhook(AFTER)
    world.publish(*(report(f"1.{n}", BEFORE, AFTER) for n in range(60)))
    finish(database, take(database, 1, limit=40).claimed, OK, 2)
    with database.write() as session:
        session.execute(
            insert(AuditEntry),
            [{"project_id": world.project_id, "who": "x", "action": "y", "subject": str(n), "created_on": at(n)}
             for n in range(250)],
        )  # fmt: skip
    return world


def contents(database: Database) -> dict[str, list[Any]]:
    with database.read() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key.columns))]
            for table in metadata.sorted_tables
        }


def ignore(_table: str, _done: int, _total: int) -> None:
    pass


def test_every_row_of_every_table_arrives_as_it_was(world: World, target: Database) -> None:
    moved = move(world.database, target, ignore)
    assert contents(target) == contents(world.database)
    assert (moved["call"], moved["delivery"], moved["audit_entry"]) == (60, 120, 250)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("target", ["postgresql"], indirect=True)
def test_the_pages_are_the_same_afterwards(database: Database, target: Database, tmp_path: Path) -> None:
    """Of a project that looks lived in, moved from SQLite to PostgreSQL: every page, line by line."""
    settings = with_key(read_settings({"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_PUBLIC_URL": "http://localhost"}))

    def pages(of: Database) -> Flask:
        return create_app(settings, open_context(settings, of, Vault(settings.secret_key)))

    def signed_in(app: Flask) -> Browser:
        browser = Browser(app.test_client())
        browser.sign_in(shop.EMAIL, shop.PASSWORD)
        return browser

    before = pages(database)
    project = shop.fill(before, database)
    move(database, target, ignore)
    here, there = signed_in(before), signed_in(pages(target))

    def shown(browser: Browser, path: str) -> list[str]:
        return without_the_moment(browser.get(path).get_data(as_text=True)).splitlines()

    for path in here.walk(f"/projects/{project}/dashboard", leave_out="/simulate"):  # its calls have new ids each time

        def same(path: str = path) -> None:
            """Some pages tell how long ago something was."""
            assert shown(there, path) == shown(here, path), path

        await_until(same, "30s")


def test_an_interrupted_move_goes_on_where_it_stopped(
    world: World, target: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_BATCH", 32)
    seen: list[tuple[str, int]] = []

    def stop_in_the_middle(table: str, done: int, total: int) -> None:
        seen.append((table, done))
        if table == "delivery" and done >= 64:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        move(world.database, target, stop_in_the_middle)
    assert 0 < len(contents(target)["delivery"]) < 120
    again: dict[str, int] = {}
    move(world.database, target, lambda table, done, _total: again.setdefault(table, done) and None)
    assert again["call"] == 60  # nothing was copied twice
    assert again["delivery"] == 64
    assert contents(target) == contents(world.database)


def test_the_hub_goes_on_in_the_new_database(world: World, target: Database) -> None:
    """Numbers go on after the copied ones, and what waited is claimed."""
    move(world.database, target, ignore)
    with target.write() as session:
        session.add(Project(name="Next", created_on=NOON))
    publish(context_of(target), {world.pbx_id: [report("2.1", BEFORE)]}, at(5))
    assert len(take(target, 1000, limit=500).claimed) >= 8
    with target.read() as session:
        assert session.query(Project).count() == 2
        assert session.query(Call).count() == 61


def test_nobody_writes_while_it_is_moved(world: World, target: Database) -> None:
    """A hub that was forgotten waits, or finds the database away; it cannot write what the copy would not have."""
    refused: list[Exception] = []

    def write(table: str, done: int, _total: int) -> None:
        if table != "delivery" or refused:
            return
        other = create_engine(
            world.database.engine.url,
            connect_args={"timeout": 0.1} if world.database.is_sqlite else {"options": "-c lock_timeout=100"},
        )
        try:
            with other.begin() as connection:
                connection.execute(text("UPDATE delivery SET state = 'cancelled'"))
        except Exception as error:
            refused.append(error)
        other.dispose()

    move(world.database, target, write)
    assert refused
    assert contents(target) == contents(world.database)


def test_a_target_with_other_rows_is_refused(world: World, target: Database) -> None:
    migrate(target)
    with target.write() as session:
        session.add(Project(name="Somebody else's", created_on=at(-100)))
    with pytest.raises(BackupError, match=r"its table project has rows that are not of this hub"):
        move(world.database, target, ignore)
    with target.read() as session:
        assert session.query(Delivery).count() == 0


def test_a_target_of_a_newer_version_is_refused_in_words(world: World, target: Database) -> None:
    migrate(target)
    with target.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(BackupError, match=r"made by a newer version than this one.* Name an empty database\."):
        move(world.database, target, ignore)
