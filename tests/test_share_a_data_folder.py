"""Two listeners are given the same data folder: nothing that one keeps there is lost by the other."""

import subprocess
import sys
import threading
from pathlib import Path
from uuid import uuid4

import pytest
from click import ClickException
from sqlalchemy import select

from pbxhub.ami.publisher import Publisher
from pbxhub.ami.unwritten_stages import keep_unwritten, unwritten_file, write_unwritten
from pbxhub.delivery.call_rows import Reports
from pbxhub.delivery.outbox import publish
from pbxhub.demo.demo_project import Endpoints, prepare_demo
from pbxhub.opening import open_hub
from pbxhub.running import run_all
from pbxhub.store.accounts import Pbx
from pbxhub.store.clock import utc_now
from pbxhub.store.listeners import LeaseTokens
from pbxhub.store.only_listener import OtherListenerError, only_listener
from pbxhub.store.session import Database, open_database
from pbxhub.testing import await_until
from pbxhub.testing.processes import Program
from tests.support.hub import calls_of
from tests.support.outbox_world import BEFORE, World, context_of, report

_KEEP = """
import sys
from pathlib import Path
from pbxhub.ami.unwritten_stages import keep_unwritten
from tests.support.outbox_world import BEFORE, report
print("ready", flush=True)
for number in range(200):
    keep_unwritten(Path(sys.argv[1]), None, [report(f"{sys.argv[2]}.{number}", BEFORE)], {})
"""


def write(world: World, file: Path, before: object = lambda: None) -> None:
    def into_the_database(reports: Reports, tokens: LeaseTokens) -> None:
        before()  # type: ignore[operator]
        publish(context_of(world.database), reports, utc_now(), tokens)

    write_unwritten(file, world.pbx_id, None, world.database, Publisher(into_the_database))


def test_what_another_process_keeps_while_the_file_is_being_written_is_not_deleted(
    database: Database, tmp_path: Path
) -> None:
    world, file = World(database), unwritten_file(tmp_path, "1")
    keep_unwritten(file, None, [report("1.1", BEFORE)], {})
    others = iter(["1.2", "1.3"])

    def another_one_stops() -> None:
        if linkedid := next(others, None):
            keep_unwritten(file, None, [report(linkedid, BEFORE)], {})

    write(world, file, before=another_one_stops)
    assert [call.linkedid for call in calls_of(database)] == ["1.1", "1.2", "1.3"]
    assert not file.exists()


def test_the_end_of_a_full_disk_costs_one_line_and_not_the_next(database: Database, tmp_path: Path) -> None:
    world, file = World(database), unwritten_file(tmp_path, "1")
    file.write_text('{"linkedid": "1.0", "cut o')
    keep_unwritten(file, None, [report("1.1", BEFORE)], {})
    write(world, file)
    assert [call.linkedid for call in calls_of(database)] == ["1.1"]


@pytest.mark.slow
def test_processes_that_keep_and_write_at_once_lose_nothing(tmp_path: Path, database: Database) -> None:
    world, file = World(database), unwritten_file(tmp_path, "1")
    stopped = threading.Event()

    def write_all_the_time() -> None:
        while not stopped.is_set():
            write(world, file)

    writers = [threading.Thread(target=write_all_the_time) for _ in range(2)]
    keepers = [
        Program([sys.executable, "-c", _KEEP, str(file), str(number)], tmp_path / f"log-{number}", Path.cwd())
        for number in range(2)
    ]
    for thread in writers:
        thread.start()
    for keeper in keepers:
        keeper.wait(100)
    stopped.set()
    for thread in writers:
        thread.join()
    write(world, file)
    assert {call.linkedid for call in calls_of(database)} == {f"{who}.{n}" for who in range(2) for n in range(200)}


@pytest.mark.slow  # three processes
def test_on_sqlite_a_second_listener_is_refused_and_takes_over_after_a_kill(tmp_path: Path) -> None:
    settings = {"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_AGI": ""}
    command = [sys.executable, "-m", "pbxhub", "listen"]
    subprocess.run([*command[:-1], "migrate"], env=settings, check=True, capture_output=True)
    first = Program(command, tmp_path / f"log-{uuid4().hex}", environ=settings)
    lock = tmp_path / "pbxhub.sqlite3-listener"

    def second() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60)

    await_until(lambda: lock.exists(), "30s")
    refused = second()
    assert refused.returncode == 1
    assert refused.stderr == (
        f"Error: PBXHUB_DATABASE_URL: another process already listens to the PBXs of {tmp_path}/pbxhub.sqlite3: "
        "pbxhub run does, too. Stop it first; several listeners need PostgreSQL\n"
    )
    assert lock.stat().st_mode & 0o077 == 0
    first.kill()
    third = Program(command, tmp_path / f"log-{uuid4().hex}", environ=settings)
    assert third.running, third.last_lines()
    third.stop()


@pytest.mark.parametrize("demo", [True, False])
def test_a_second_hub_is_refused_before_it_adds_or_retires_the_demo(
    demo: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PBXHUB_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("PBXHUB_DATABASE_URL", raising=False)
    first = open_hub(migrating=True).context
    with first.database.write() as session:
        if not demo:
            prepare_demo(session, first.vault, Endpoints(5038, "hub", "secret", "http://127.0.0.1:9"), utc_now())
    with only_listener(first.database), pytest.raises(ClickException, match="another process already listens"):
        run_all(demo)
    with first.database.read() as session:
        assert [pbx.enabled for pbx in session.scalars(select(Pbx))] == ([] if demo else [True])
    first.database.close()


def test_the_lock_is_for_sqlite_alone(database: Database) -> None:
    with only_listener(database):
        if database.is_sqlite:
            with pytest.raises(OtherListenerError), only_listener(database):
                pass
        else:
            with only_listener(database):
                pass
    with only_listener(database):
        pass


def test_a_link_to_a_database_is_the_same_database(database: Database, tmp_path: Path) -> None:
    if not database.is_sqlite:
        return
    link = tmp_path / "link.sqlite3"
    link.symlink_to(str(database.engine.url.database))
    linked = open_database(f"sqlite:///{link}")
    with only_listener(database), pytest.raises(OtherListenerError), only_listener(linked):
        pass
    linked.close()
