"""The address of the database in every form, and what becomes of connections that have died."""

import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from structlog.testing import capture_logs

from pbxhub.database_url import connect_arguments, database_places, read_database_url
from pbxhub.delivery import worker
from pbxhub.delivery.context import open_context
from pbxhub.delivery.outbox import publish
from pbxhub.delivery.wakeup import WakeupListener, Wakeups
from pbxhub.opening import OpenHub, guard
from pbxhub.settings import read_settings
from pbxhub.store import database_errors, postgresql
from pbxhub.store.clock import utc_now
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.testing.receivers.receiver import Receiver
from tests.support.outbox_world import BEFORE, VAULT, World, context_of, report, spec
from tests.support.waiting import PATIENCE, wait_until
from tests.support.working import fails_if, working

on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
twin = pytest.mark.parametrize("planted", [False, True], ids=["right", "planted"])  # with a bug in the hub it must fail
START = "postgresql+psycopg://hub:p%40ss@"
TWO = {"host": "a,b", "port": "6001,6002", "target_session_attrs": "read-write"}


@pytest.mark.parametrize(
    ("written", "means", "places"),
    [
        ("a:6001,b:6002/db", TWO, [("a", 6001), ("b", 6002)]),
        ("/db?host=a:6001&host=b:6002", TWO, [("a", 6001), ("b", 6002)]),
        ("/db?host=a,b&port=6001,6002&target_session_attrs=read-write", TWO, [("a", 6001), ("b", 6002)]),
        ("a,b/db?target_session_attrs=any", {"host": "a,b", "port": "5432,5432", "target_session_attrs": "any"},
         [("a", 5432), ("b", 5432)]),
        ("/db?host=a,b&port=6001", {"host": "a,b", "port": "6001,6001"}, [("a", 6001), ("b", 6001)]),
        ("[::1]:6001,b/db", {"host": "::1,b", "port": "6001,5432"}, [("::1", 6001), ("b", 5432)]),
        ("/db?host=[::1]:6001&host=b", {"host": "::1,b", "port": "6001,5432"}, [("::1", 6001), ("b", 5432)]),
        ("a/db", {"host": "a"}, [("a", 5432)]),
        ("[::1]:6001/db", {"host": "::1", "port": 6001}, [("::1", 6001)]),
        ("/db?host=/run/postgresql", {"host": "/run/postgresql"}, []),
        (":6001/db?host=/run/postgresql", {"host": "/run/postgresql", "port": "6001"}, []),
        ("/db?host=/run/postgresql,b", {"host": "/run/postgresql,b"}, [("b", 5432)]),
        ("a/db?hostaddr=192.0.2.7", {"host": "a", "hostaddr": "192.0.2.7"}, [("a", 5432), ("192.0.2.7", 5432)]),
    ],
)  # fmt: skip
def test_every_form_of_several_hosts_means_the_same(
    written: str, means: dict[str, object], places: list[tuple[str, int]]
) -> None:
    url = read_database_url(START + written)
    assert connect_arguments(url).items() >= {"user": "hub", "password": "p@ss", "dbname": "db", **means}.items()
    assert list(database_places(url)) == places
    assert read_database_url(url) == url


def test_the_hosts_that_libpq_takes_from_the_environment_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "a,/run/postgresql,b")
    monkeypatch.setenv("PGPORT", "6001,6002,6003")
    assert database_places("postgresql+psycopg:///db") == (("a", 6001), ("b", 6003))
    assert database_places("postgresql+psycopg://c:7001/db") == (("c", 7001),)


@pytest.mark.parametrize(
    "written", ["a:0/db", "a:b/db", "a:1,b:x/db", "a,,b/db", "a,b/db?host=c", "a/db?host=c", "/db?host=a,b&port=1,2,3",
                "/db?host=a:1&host=b:70000", "/db?service=main", "[::1,b/db"],
)  # fmt: skip
def test_what_names_no_hosts_or_hides_them_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"HOST1:PORT,HOST2:PORT/NAME"):
        read_database_url(START + written)


@pytest.mark.parametrize("url", ["sqlite:////tmp/a?mode=ro", "sqlite://host/a", "sqlite+pysqlcipher:///a"])
def test_a_file_with_a_question_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="sqlite:///FILE"):
        read_database_url(url)


@on_postgresql
def test_webhooks_reach_none_of_the_hosts(database: Database, tmp_path: Path) -> None:
    settings = read_settings(
        {
            "PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_ALLOWED_NETWORKS": "127.0.0.0/8,192.0.2.0/24",
            "PBXHUB_DATABASE_URL": f"{START}127.0.0.1:16001,192.0.2.7:16002/db?sslmode=disable",
            "PBXHUB_DATABASE_DIRECT_URL": f"{START}/db?host=127.0.0.1:16003&host=/run/postgresql",
        }
    )  # fmt: skip
    found = guard(OpenHub(settings, open_context(settings, database, VAULT)))
    closed = [("127.0.0.1", 16001), ("192.0.2.7", 16002), ("127.0.0.1", 16003)]
    assert [found.check_address(*place) for place in [("127.0.0.1", 16004), ("192.0.2.7", 16001)]] == [None, None]
    assert all(found.check_address(*place) for place in closed)


@on_postgresql
def test_the_second_of_two_hosts_wakes_the_worker_at_once(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens on the first one."""
    monkeypatch.setattr(worker, "LOOK_AGAIN", 600.0)
    here = make_url(database_url)
    hosts = f"host=127.0.0.1:1&host={here.host}:{here.port}&target_session_attrs=read-write"
    two = open_database(f"postgresql+psycopg://pbxhub@/{here.database}?{hosts}")
    world = World(database)
    with Receiver() as receiver:
        world.webhook(BEFORE, spec(receiver.url))
        with working(two, receiver) as running:
            wait_until(lambda: running.in_flight == 0)
            world.publish(report("1.1", BEFORE), now=utc_now())
            receiver.wait_for(1)
    two.close()


@on_postgresql
def test_a_database_that_cannot_wake_anybody_is_told_once_and_its_return_too(
    database: Database, database_url: str
) -> None:
    role = f"bell_{make_url(database_url).database}"
    deaf = open_database(database_url, direct_url=make_url(database_url).set(username=role).render_as_string(False))
    rung = threading.Event()
    listener = WakeupListener(deaf, Wakeups(), rung.set)
    with database.own_connection() as admin, capture_logs() as logs:
        refused = "SELECT count(*) FROM pg_stat_activity WHERE usename = %s"
        admin.execute(f"CREATE ROLE {role} NOLOGIN")
        listener.start()
        wait_until(lambda: len(logs) == 1)
        admin.execute(f"ALTER ROLE {role} LOGIN")
        assert rung.wait(PATIENCE)
        wait_until(lambda: len(logs) == 2)
        admin.execute(f"ALTER ROLE {role} NOLOGIN")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (role,))
        wait_until(lambda: len(logs) == 3)
        listener.stop()
        assert admin.execute(refused, (role,)).fetchone() == (0,)
        admin.execute(f"DROP ROLE {role}")
    deaf.close()
    assert [log["log_level"] for log in logs] == ["warning", "info", "warning"]
    assert "not permitted to log in" in logs[0]["error"]


@pytest.mark.slow
def test_what_cannot_be_reached_is_told_once_however_often_it_is_tried() -> None:
    with socket.create_server(("127.0.0.1", 0)) as hangs_up, capture_logs() as logs:
        hangs_up.settimeout(10)
        deaf = open_database(f"postgresql+psycopg://pbxhub@127.0.0.1:{hangs_up.getsockname()[1]}/db")
        listener = WakeupListener(deaf, Wakeups(), lambda: None)
        listener.start()
        for _ in range(3):
            hangs_up.accept()[0].close()
        listener.stop()
    assert [log["log_level"] for log in logs] == ["warning"]


@on_postgresql
@twin
def test_connections_that_the_server_has_ended_are_found_out_before_they_are_used(
    database: Database, planted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if planted:  # it looks at none
        monkeypatch.setattr(postgresql, "_has_input", lambda *_: False)
        monkeypatch.setattr(postgresql, "_FRESH", 3600.0)
    with fails_if(planted, OperationalError):
        for _ in range(3):
            with database.read() as first, database.read() as second:
                pids = [session.scalar(text("SELECT pg_backend_pid()")) for session in (first, second)]
            with database.own_connection() as admin:
                for pid in pids:
                    admin.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            with database.write() as session:
                assert session.scalar(text("SELECT pg_backend_pid()")) not in pids


@on_postgresql
@twin
def test_a_server_that_only_reads_is_left_for_one_that_writes(
    database: Database, planted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failover: of several hosts another one may be the one to write to."""
    if planted:
        monkeypatch.setattr(database_errors, "_READ_ONLY", "")
    with fails_if(planted, OperationalError):
        with database.write() as session:
            session.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
        with pytest.raises(OperationalError), database.write() as session:
            session.execute(text("CREATE TABLE nothing ()"))
        with database.write() as session:
            session.execute(text("CREATE TABLE nothing ()"))


@pytest.fixture(params=["a#b", "a%41b", "a?b=c", "a b&ü%"])
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="pbxhub-"))
    (home / request.param).mkdir()
    yield home / request.param
    shutil.rmtree(home)


@pytest.mark.slow
def test_any_name_of_the_data_folder_will_do(folder: Path) -> None:
    settings = read_settings({"PBXHUB_DATA_DIR": str(folder)})
    database, other = open_database(settings.database_url), open_database(settings.database_url)
    migrate(database)
    assert (folder / "pbxhub.sqlite3").exists()
    world = World(database)
    world.webhook(BEFORE)
    rung = threading.Event()
    listener = WakeupListener(database, Wakeups(), rung.set)
    with capture_logs() as logs:
        listener.start()
        publish(context_of(other), {world.pbx_id: [report("1.1", BEFORE)]}, utc_now())
        assert rung.wait(PATIENCE)
        listener.stop()
    assert logs == []
    assert {each.name for each in folder.parent.iterdir()} == {folder.name}
    for each in (database, other):
        each.close()


@on_postgresql
def test_the_own_connection_is_given_the_words_of_the_url(database: Database, database_url: str) -> None:
    named = open_database(f"{database_url}?application_name=bell&connect_timeout=7")
    with named.own_connection() as connection:
        assert isinstance(connection, psycopg.Connection)
        assert connection.info.get_parameters().items() >= {
            "application_name": "bell", "connect_timeout": "7", "tcp_user_timeout": "10000",
        }.items()  # fmt: skip
    named.close()
