"""An operator runs the command `pbxhub`: the demo, the checks, a replay; and stops it."""

import errno
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from sqlalchemy import func, select

from pbxhub.cli import main
from pbxhub.opening import OpenHub
from pbxhub.store.accounts import COMMON_FOLDER, AuditEntry, Pbx, User
from pbxhub.store.delivery_rows import DELIVERED, Delivery
from pbxhub.store.history import StageEvent
from pbxhub.store.session import open_database
from pbxhub.testing import await_until
from pbxhub.testing.pbx.recordings import shipped
from pbxhub.testing.processes import free_port

PBXHUB = [sys.executable, "-m", "pbxhub"]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PBXHUB_")}
    return {**clean, "PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_PORT": str(free_port(2))}


@dataclass(frozen=True)
class Demo:
    """A running demo and the file it prints to."""

    process: "subprocess.Popen[bytes]"
    printed: Path

    def wait_for(self, text: str) -> None:
        def is_there() -> None:
            assert text in self.printed.read_text()

        await_until(is_there, "60s")


@pytest.fixture
def start_demo(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[[], Demo]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> Demo:
        printed = tmp_path / f"printed-{len(started)}"
        with printed.open("wb") as output:
            started.append(subprocess.Popen([*PBXHUB, "run", "--demo"], env=environ, stdout=output, stderr=output))
        return Demo(started[-1], printed)

    yield start
    for process in started:
        process.kill()
        process.wait()


def pbxhub(environ: dict[str, str], *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*PBXHUB, *arguments], env=environ, capture_output=True, text=True, timeout=60)


def told(environ: dict[str, str], *arguments: str) -> tuple[int, str]:
    """As pbxhub() in this process: to start another one takes most of the time of a command."""
    done = CliRunner().invoke(main, arguments, env=environ)
    return done.exit_code, done.output


def test_the_demo_shows_calls_and_webhooks_and_stops_cleanly(
    start_demo: Callable[[], Demo], environ: dict[str, str]
) -> None:
    port = int(environ["PBXHUB_PORT"])
    demo = start_demo()
    demo.wait_for("arrived: POST /crm/call-finished")
    assert "crm/call-finished" in requests.get(f"http://127.0.0.1:{port + 1}/", timeout=5).text
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=5).json()["status"] == "ok"
    link = re.search(r"create your account at (\S+)", demo.printed.read_text())
    assert link
    assert requests.get(link[1], timeout=5).status_code == 200
    demo.process.send_signal(signal.SIGTERM)
    assert demo.process.wait(12) == 0
    database = open_database(f"sqlite:///{environ['PBXHUB_DATA_DIR']}/pbxhub.sqlite3")
    with database.read() as session:
        assert (session.scalar(select(func.count()).where(Delivery.state == DELIVERED)) or 0) > 2
        assert session.scalar(select(func.count()).where(Delivery.claim_token.is_not(None))) == 0
    database.close()


def test_the_demo_killed_and_started_again_closes_the_calls_it_left(
    start_demo: Callable[[], Demo], environ: dict[str, str]
) -> None:
    first = start_demo()
    first.wait_for("arrived: GET /popup")
    first.process.kill()
    first.process.wait()
    start_demo().wait_for("arrived: POST /crm/call-finished")
    database = open_database(f"sqlite:///{environ['PBXHUB_DATA_DIR']}/pbxhub.sqlite3")
    with database.read() as session:
        reason = StageEvent.data["end_reason"].as_string()
        left = select(func.count()).where(StageEvent.stage == "incoming.after", reason != "hangup")
        assert session.scalar(left) == 1
    database.close()


def test_a_stop_does_not_hang_on_a_locked_database_and_the_next_start_goes_on(
    start_demo: Callable[[], Demo], environ: dict[str, str]
) -> None:
    first = start_demo()
    first.wait_for("arrived: GET /popup")
    with closing(sqlite3.connect(f"{environ['PBXHUB_DATA_DIR']}/pbxhub.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first.process.send_signal(signal.SIGTERM)
        first.process.wait(15)  # kills are due after ten; the rest is for a busy machine
        other.execute("ROLLBACK")
    start_demo().wait_for("arrived: POST /crm/call-finished")


def test_a_port_over_the_last_one_is_named(environ: dict[str, str]) -> None:
    done = pbxhub({**environ, "PBXHUB_PORT": "65535"}, "run", "--demo")
    assert done.returncode == 1
    assert "PBXHUB_PORT: the demo's receiver uses the next port as well" in done.stderr


def test_a_port_that_is_taken_is_named(environ: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", int(environ["PBXHUB_PORT"])))
        taken.listen()
        done = pbxhub(environ, "run")
    assert done.returncode == 1
    assert re.search(
        r"PBXHUB_PORT: cannot listen on 127\.0\.0\.1:\d+: Address already in use\. Choose another port", done.stderr
    )


def test_what_else_fails_at_the_start_is_not_blamed_on_the_port(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_files(_hub: OpenHub) -> AbstractContextManager[None]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    assert pbxhub(environ, "migrate").returncode == 0
    monkeypatch.setattr("pbxhub.running.working", out_of_files)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    done = CliRunner().invoke(main, ["work"], env=environ)
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert isinstance(done.exception, OSError)
    assert done.exception.errno == errno.EMFILE


def test_a_bad_setting_stops_the_start(environ: dict[str, str]) -> None:
    done = pbxhub({**environ, "PBXHUB_WORKERS": "many"}, "run")
    assert done.returncode == 1
    assert "PBXHUB_WORKERS='many': give a whole number" in done.stderr


def test_a_database_that_is_away_stops_the_start_with_a_reason(environ: dict[str, str]) -> None:
    done = pbxhub({**environ, "PBXHUB_DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:9/none"}, "work")
    assert done.returncode == 1
    assert "PBXHUB_DATABASE_URL: the database cannot be opened:" in done.stderr


def test_prometheus_finds_the_numbers_where_the_settings_say(
    start_demo: Callable[[], Demo], environ: dict[str, str]
) -> None:
    port = free_port(2)
    environ["PBXHUB_METRICS"] = f"127.0.0.1:{port}"
    start_demo().wait_for("arrived: POST /crm/call-finished")

    def attempts_are_counted() -> None:
        numbers = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
        assert 'pbxhub_attempts_total{lane="first",outcome="ok"}' in numbers
        assert 'pbxhub_deliveries_due{lane="first"}' in numbers

    await_until(attempts_are_counted)


def test_prune_says_what_it_deleted(environ: dict[str, str]) -> None:
    told(environ, "migrate")
    assert pbxhub(environ, "prune").stdout == "Deleted 0 deliveries, 0 calls and 0 other rows.\n"


def test_old_tables_stop_the_start_of_a_single_service(environ: dict[str, str]) -> None:
    done = pbxhub(environ, "work")
    assert done.returncode == 1
    assert "Run: pbxhub migrate" in done.stderr
    assert pbxhub(environ, "migrate").stdout == "The database is up to date.\n"


def test_check_says_what_is_missing_and_what_to_do(environ: dict[str, str]) -> None:
    assert "Run: pbxhub migrate" in told(environ, "check")[1]
    told(environ, "migrate")
    assert "pbxhub pbx add" in told(environ, "check")[1]
    assert (
        told(environ, "pbx", "add", "--host", "127.0.0.1", "--port", "9", "--username", "hub", "--secret", "x")[0] == 0
    )
    done = pbxhub(environ, "check")
    assert done.returncode == 1
    assert "FAIL PBX Asterisk: Nothing accepts connections at 127.0.0.1:9." in done.stdout


def test_a_pbx_is_added_on_the_server_by_the_rules_of_the_pages(environ: dict[str, str]) -> None:
    add = partial(told, environ, "pbx", "add", "--host", "10.0.0.5", "--secret", "s3cret")
    code, said = add("--username", "hub]\npermit = 0.0.0.0/0.0.0.0")
    assert (code, "username: Asterisk would not read this user name as one word" in said) == (1, True)
    assert add("--username", "hub", "--cel", "relative.db")[0] == 1
    assert add("--username", "hub", "--context", "from-a", "--cel", "/var/cel/master.db")[0] == 0
    assert add("--username", "hub", "--project", "Other")[0] == 0
    code, said = add("--username", "hub", "--project", "Third", "--recordings", "PBXHUB_RECORDINGS")
    assert (code, "of the project My project uses this already" in said) == (1, True)
    database = open_database(f"sqlite:///{environ['PBXHUB_DATA_DIR']}/pbxhub.sqlite3")
    with database.read() as session:
        first, second = session.scalars(select(Pbx).order_by(Pbx.id))
        assert (first.any_network, first.cel_path, first.recordings) == (True, "/var/cel/master.db", COMMON_FOLDER)
        assert (second.any_network, second.cel_path, second.recordings) == (True, "", "")
        log = session.scalars(
            select(AuditEntry).where(AuditEntry.project_id.is_not(None)).order_by(AuditEntry.id)
        ).all()
        assert [entry.action for entry in log] == ["project added", "PBX added"] * 2
        assert {entry.who for entry in log} == {"command line"}
    database.close()


def test_the_server_makes_and_revokes_operators_and_keeps_the_last(environ: dict[str, str]) -> None:
    tell = partial(told, environ)
    tell("migrate")
    database = open_database(f"sqlite:///{environ['PBXHUB_DATA_DIR']}/pbxhub.sqlite3")
    with database.write() as session:
        for name in ("anna", "boris"):
            session.add(
                User(email=f"{name}@example.com", name=name.title(), password="hash", fs_uniquifier=name,
                     operator=name == "anna", created_on=datetime.now(UTC))
            )  # fmt: skip
    assert tell("user", "list")[1] == "anna@example.com\toperator\tAnna\nboris@example.com\tuser\tBoris\n"
    code, said = tell("user", "operator", "anna@example.com", "--revoke")
    assert (code, "last operator" in said) == (1, True)
    assert tell("user", "operator", "Boris@example.com")[0] == 0
    assert tell("user", "operator", "anna@example.com", "--revoke")[0] == 0
    assert "anna@example.com\tuser" in tell("user", "list")[1]
    assert tell("user", "operator", "nobody@example.com")[0] == 1
    code, link = tell("user", "link", "BORIS@example.com")
    assert (code, "/reset-password/" in link) == (0, True)
    assert tell("user", "link", "nobody@example.com")[0] == 1
    code, said = tell("setup-link")
    assert (code, "This hub has an owner" in said) == (1, True)
    with database.read() as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.id))
        assert [(entry.who, entry.action) for entry in entries] == [
            ("command line", "operator added"), ("command line", "operator removed")]  # fmt: skip
    database.close()


def test_replay_prints_one_json_object_per_stage(environ: dict[str, str]) -> None:
    answered = next(path for path in shipped() if path.stem == "answered")
    stages = [json.loads(line) for line in pbxhub(environ, "replay", str(answered)).stdout.splitlines()]
    assert [stage["stage"] for stage in stages] == [
        "incoming.before", "incoming.forward", "incoming.pickup", "incoming.after",
    ]  # fmt: skip
    assert {stage["call_id"] for stage in stages} == {stages[0]["call_id"]}
    assert stages[-1]["disposition"] == "ANSWERED"
    assert not Path(environ["PBXHUB_DATA_DIR"]).exists()
