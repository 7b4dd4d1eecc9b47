"""PgBouncer stands between the hub and PostgreSQL, and gives a connection to somebody else after each transaction."""

import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from structlog.testing import capture_logs

from pbxhub.cli import main
from pbxhub.delivery import wakeup, worker
from pbxhub.delivery.outbox import publish
from pbxhub.delivery.wakeup import CHANGED, ORDERS, WakeupListener, Wakeups, wake_trouble
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import DELIVERED
from pbxhub.store.session import Database, open_database
from pbxhub.testing.receivers.receiver import Receiver
from tests.support.outbox_world import BEFORE, VAULT, World, context_of, report, spec
from tests.support.pgbouncer import pgbouncer
from tests.support.waiting import wait_until
from tests.support.working import states, working

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
CALLS = 40


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    with pgbouncer(database_url, "transaction") as url:
        yield url


@pytest.fixture
def variables(pooled_url: str, database_url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_DATABASE_URL": pooled_url, "PBXHUB_AGI": "",
        "PBXHUB_DATABASE_DIRECT_URL": database_url, "PBXHUB_ALLOWED_NETWORKS": "127.0.0.0/8",
        "PBXHUB_SECRET_KEY": urlsafe_b64encode(VAULT.key).decode(),
    }  # fmt: skip


@pytest.fixture
def database(pooled_url: str, database_url: str) -> Iterator[Database]:
    database = open_database(pooled_url, direct_url=database_url)
    yield database
    database.close()


def test_calls_are_delivered_once_each_and_another_process_wakes_the_worker_at_once(
    database: Database, pooled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "LOOK_AGAIN", 600.0)
    world = World(database)
    publisher = open_database(pooled_url)
    with Receiver() as receiver, working(database, receiver) as running, ThreadPoolExecutor(6) as threads:
        world.webhook(BEFORE, spec(receiver.url))
        wait_until(lambda: running.in_flight == 0)
        publish(context_of(publisher), {world.pbx_id: [report("0.1", BEFORE)]}, utc_now())
        receiver.wait_for(1)

        def more(number: int) -> None:
            publish(context_of(publisher), {world.pbx_id: [report(f"1.{number}", BEFORE)]}, utc_now())

        list(threads.map(more, range(CALLS)))
        receiver.wait_for(CALLS + 1)
        wait_until(lambda: states(world) == {DELIVERED})
    publisher.close()
    assert receiver.count == CALLS + 1
    assert [len(world.attempts(row)) for row in world.deliveries()] == [1] * (CALLS + 1)


def test_every_transaction_has_its_limits_and_leaves_nothing_on_the_server(database: Database, pooled_url: str) -> None:
    strangers = pooled_url.replace("+psycopg", "")
    asked = "SELECT current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout')"
    for _ in range(20):
        with database.write() as session:
            assert tuple(session.execute(text(asked)).one()) == ("10s", "1min")
    left = "SELECT count(*) FROM pg_prepared_statements"
    gate = threading.Barrier(4)  # all four connections of PgBouncer at once

    def look(_number: int) -> tuple[int, str]:
        with psycopg.connect(strangers) as connection:  # another client of the same pooler
            (prepared,) = connection.execute(left).fetchone()
            gate.wait(10)
            return prepared, *connection.execute("SHOW lock_timeout").fetchone()

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(look, range(4))) == [(0, "0")] * 4


def test_without_the_way_past_it_check_says_so_and_the_worker_does_not_start(
    variables: dict[str, str], pooled_url: str
) -> None:
    with_both = pbxhub(variables, "check")
    assert "pooler" not in with_both.output
    del variables["PBXHUB_DATABASE_DIRECT_URL"]
    checked, started = pbxhub(variables, "check"), pbxhub(variables, "work")
    assert checked.exit_code == 1
    assert "FAIL database: PBXHUB_DATABASE_URL: a connection pooler in transaction mode" in checked.output
    assert started.exit_code == 1
    assert "Give the address of PostgreSQL itself in PBXHUB_DATABASE_DIRECT_URL" in started.output


def test_without_it_a_listener_knows_that_it_hears_nothing(pooled_url: str) -> None:
    """It reads again and again what others may have changed, and looks for ordered calls."""
    deaf, wakeups = open_database(pooled_url), Wakeups()
    listener = WakeupListener(deaf, wakeups, lambda: None, ORDERS)
    with capture_logs() as logs:
        listener.start()
        wait_until(lambda: logs != [])
    assert (listener.works, wakeups.last_change) == (False, None)
    assert "a connection pooler in transaction mode" in logs[0]["error"]
    listener.stop()
    deaf.close()


def test_a_way_past_it_that_leads_elsewhere_is_told(database_url: str, pooled_url: str) -> None:
    elsewhere = open_database(pooled_url, direct_url=database_url.rpartition("/")[0] + "/postgres")
    assert "It must name the same database" in wake_trouble(elsewhere, timeout_seconds=1.0)
    nowhere = open_database(pooled_url, direct_url="postgresql+psycopg://pbxhub@127.0.0.1:1/pbxhub")
    assert wake_trouble(nowhere).startswith("PBXHUB_DATABASE_DIRECT_URL: ")
    for database in (elsewhere, nowhere):
        database.close()


def test_bells_of_another_database_do_not_prove_that_it_hears(database_url: str, pooled_url: str) -> None:
    """Another hub has its tables there, and its bells ring."""
    server = database_url.rpartition("/")[0] + "/postgres"
    elsewhere, other = open_database(pooled_url, direct_url=server), open_database(server)
    wakeups, stopping = Wakeups(), threading.Event()

    def ring() -> None:
        while not stopping.wait(0.02):
            with other.write() as session:
                session.execute(text(f"NOTIFY {CHANGED}"))

    ringing = threading.Thread(target=ring)
    ringing.start()
    listener = WakeupListener(elsewhere, wakeups, lambda: None, ORDERS)
    with capture_logs() as logs:
        listener.start()
        wait_until(lambda: logs != [] or wakeups.last_change is not None)
    assert "It must name the same database" in logs[0]["error"]
    listener.stop()
    stopping.set()
    ringing.join()
    for database in (elsewhere, other):
        database.close()


def test_a_listener_that_looks_whether_it_hears_stops_at_once(pooled_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wakeup, "_PROOF", 3600.0)
    looks, arrives = threading.Event(), wakeup._arrives
    monkeypatch.setattr(wakeup, "_arrives", lambda *given: looks.set() or arrives(*given))
    deaf = open_database(pooled_url)
    listener = WakeupListener(deaf, Wakeups(), lambda: None, ORDERS)
    listener.start()
    wait_until(looks.is_set)
    listener.stop()
    deaf.close()


def test_a_pooler_in_session_mode_needs_nothing(database_url: str) -> None:
    with pgbouncer(database_url, "session") as url:
        database = open_database(url)
        assert wake_trouble(database) == ""
        database.close()


def pbxhub(variables: dict[str, str], command: str) -> Result:
    return CliRunner().invoke(main, [command], env=variables)
