"""Fixtures that every test may ask for: a migrated database of either kind."""

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch
from uuid import uuid4

import pytest
import structlog
from argon2 import PasswordHasher
from flask_security import core
from hypothesis import HealthCheck, settings
from sqlalchemy import Connection, Engine, create_engine, event, text

from pbxhub.account import passwords
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.testing.hub.postgres import Cluster, postgres_server
from tests.support.shared_statements import share_statements
from tests.support.slow_files import SLOW_FILES, long_first, name_of
from tests.support.spare_databases import SpareDatabases

# a busy machine makes a whole example slow: that says nothing of the code
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

_SERVERS = frozenset({"cluster", "postgres_template", "spare_databases"})


@pytest.fixture(scope="session", autouse=True)
def quick_hashes() -> None:
    """Passwords are hashed in a millisecond: at full cost, signing in would take most of the time of a page's test."""
    core._default_config["PASSWORD_HASH_PASSLIB_OPTIONS"] = {
        "argon2__rounds": 1, "argon2__memory_cost": 8, "argon2__parallelism": 1,
    }  # fmt: skip
    passwords._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(scope="session", autouse=True)
def loggers_that_can_be_heard() -> Iterator[None]:
    """A command that is run in this process would keep the loggers it uses, and capture_logs would not hear them.

    A traceback is printed as Python does it: with the variables of each frame, as by default, one takes half a second.
    """
    configure = structlog.configure
    *steps, _last = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    configure(processors=[*steps, plain])
    with patch.object(
        structlog, "configure", lambda **given: configure(**{**given, "cache_logger_on_first_use": False})
    ):
        yield


@event.listens_for(Engine, "engine_connect")
def _write_without_waiting(connection: Connection) -> None:
    """A database of a test outlives no crash of the machine: no commit waits for the disk."""
    if connection.dialect.name == "sqlite":
        connection.connection.execute("PRAGMA synchronous=OFF")  # past SQLAlchemy, which would begin a transaction


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "template.sqlite3"
    database = open_database(f"sqlite:///{path}")
    migrate(database)
    with database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    return path


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[str]:
    """URL of a migrated database that tests copy."""
    with postgres_server() as url:
        database = open_database(url)
        migrate(database)
        database.close()
        yield url


@pytest.fixture(scope="session")
def spare_databases(postgres_template: str) -> Iterator[SpareDatabases]:
    spare = SpareDatabases(postgres_template)
    yield spare
    spare.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a fresh migrated database; a test that asks for it runs on both kinds."""
    if request.param == "sqlite":
        path = tmp_path / "pbxhub.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    spare: SpareDatabases = request.getfixturevalue("spare_databases")
    with spare.one() as url:
        yield url


@cache
def _server(url: str) -> Engine:
    """Keeps its connection from test to test."""
    return create_engine(f"{url}/postgres", isolation_level="AUTOCOMMIT", pool_pre_ping=True)


@contextmanager
def _administering(server: str) -> Iterator[Connection]:
    with _server(server).connect() as connection:
        yield connection


@contextmanager
def postgres_database(beside: str, made: str = "") -> Iterator[str]:
    """URL of a new database on the same server."""
    server = beside.rpartition("/")[0]
    name = f"test_{uuid4().hex}"
    with _administering(server) as connection:
        connection.execute(text(f"CREATE DATABASE {name} {made}"))
    yield f"{server}/{name}"
    with _administering(server) as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def empty_postgres_url(postgres_template: str) -> Iterator[str]:
    """URL of a PostgreSQL database without a table, beside that of the test."""
    with postgres_database(postgres_template) as url:
        yield url


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh migrated database, open; on SQLite and on PostgreSQL."""
    database = open_database(database_url)
    share_statements(database)
    yield database
    database.close()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """The fast tests do not even import a file that has none of them."""
    left_out = "not slow" in config.option.markexpr and name_of(collection_path) in SLOW_FILES
    return left_out or None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """What is slow is marked so before `-m` chooses; the order is that of the tests that are left."""
    for item in items:
        if name_of(item.path) in SLOW_FILES or _needs_postgres(item):
            item.add_marker("slow")
    yield
    items[:] = long_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def _needs_postgres(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return "postgresql" in parameters.values() or not _SERVERS.isdisjoint(item.fixturenames)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL of the test's own, which it may stop."""
    folder = Path(tempfile.mkdtemp(prefix="pbxhub-pg-"))
    cluster = Cluster(folder, durable=False)
    cluster.create()
    cluster.start()
    yield cluster
    cluster.stop()
    shutil.rmtree(folder, ignore_errors=True)


def pytest_collection() -> None:
    """Collecting makes 400,000 objects that stay to the end: the collector of garbage need not look at them, neither
    now nor with every test."""
    gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()
