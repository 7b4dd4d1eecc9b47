"""An operator backs a hub up while it works, and restores it elsewhere."""

import base64
import errno
import json
import os
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select, text

from pbxhub.delivery.outbox import publish, resend_one
from pbxhub.maintenance.backup import back_up
from pbxhub.maintenance.backup_file import BackupError, open_backup
from pbxhub.maintenance.restore import restore
from pbxhub.settings import Settings, read_settings
from pbxhub.store.accounts import Pbx
from pbxhub.store.clock import utc_now
from pbxhub.store.delivery_rows import DELIVERED, FAILED, PENDING, Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.key_check import check_key, remember_key
from pbxhub.store.session import Database, open_database
from pbxhub.testing.receivers.receiver import Received, Receiver, Reply
from tests.support.outbox_world import AFTER, BEFORE, NOON, OK, VAULT, World, at, context_of, finish, report, spec, take
from tests.support.working import working

PASSPHRASE = "correct horse battery"


@pytest.fixture
def world(database: Database) -> World:
    remember_key(database, VAULT.key, "")
    return World(database)


@pytest.fixture
def elsewhere(world: World, tmp_path: Path) -> Iterator[Settings]:
    """The settings of a host without key, with an empty database of the same kind."""
    folder = tmp_path / "elsewhere"
    if world.database.is_sqlite:
        yield read_settings({"PBXHUB_DATA_DIR": str(folder)})
        return
    here = world.database.engine.url
    admin = create_engine(here.set(database="postgres"), isolation_level="AUTOCOMMIT")
    name = f"{here.database}_elsewhere"
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    url = here.set(database=name).render_as_string(hide_password=False)
    yield read_settings({"PBXHUB_DATA_DIR": str(folder), "PBXHUB_DATABASE_URL": url})
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


def backed_up(world: World, path: Path, passphrase: str = PASSPHRASE) -> Path:
    url = world.database.engine.url.render_as_string(hide_password=False)
    back_up(world.database, url, VAULT.key, passphrase, path, at(100))
    return path


def opened(settings: Settings) -> Database:
    return open_database(settings.database_url)


def test_what_was_sent_stays_sent_and_what_waited_is_a_persons_to_decide(
    world: World, elsewhere: Settings, tmp_path: Path
) -> None:
    world.webhook(BEFORE)
    with world.database.write() as session:
        session.get_one(Pbx, world.pbx_id).secret_sealed = VAULT.seal("amipass")
    context = context_of(world.database)
    publish(context, {world.pbx_id: [report("1.1", BEFORE)]}, NOON)
    finish(world.database, take(world.database, 1).claimed, OK, 2)
    for number in range(3):
        publish(context, {world.pbx_id: [report(f"2.{number}", BEFORE)]}, at(3 + number))
    take(world.database, 10, limit=1)  # one is in flight while the backup is made
    file = backed_up(world, tmp_path / "hub.tar")

    done = restore(file, elsewhere, PASSPHRASE, at(200))

    assert (done.made_on, done.held) == (at(100), 3)
    database = opened(elsewhere)
    assert check_key(database, read_settings(_variables(elsewhere)).secret_key, "")
    with database.read() as session:
        assert VAULT.open(session.query(Pbx).one().secret_sealed) == "amipass"
        rows = session.scalars(select(Delivery).order_by(Delivery.id)).all()
        assert [(row.state, row.outcome, row.claim_token) for row in rows] == [(DELIVERED, "ok", None)] + [
            (FAILED, "restored", None)
        ] * 3
    with database.write() as session:
        resend_one(context_of(database), session, rows[1].project_id, rows[1].id, at(300))
    assert [one.id for one in take(database, 301).claimed] == [rows[1].id]  # the id that the receiver may know
    database.close()


def test_what_tells_of_calls_from_before_a_restore_may_have_been_sent_already(
    world: World, elsewhere: Settings, tmp_path: Path
) -> None:
    """The end of a call that was in progress, and a whole call that CEL brings back: the lost hub has told of both."""
    world.webhook(BEFORE)
    world.webhook(AFTER)
    world.publish(report("1.1", BEFORE))
    finish(world.database, take(world.database, 1).claimed, OK, 2)
    restore(backed_up(world, tmp_path / "hub.tar"), elsewhere, PASSPHRASE, at(200))
    database = opened(elsewhere)
    ended, from_cel = report("1.1", AFTER, ended=201), report("1.2", BEFORE, AFTER, started_on=at(150), ended=160)
    later = report("1.3", BEFORE, AFTER, started_on=at(210), ended=220)
    publish(context_of(database), {world.pbx_id: [ended, from_cel, later]}, at(230))
    with database.read() as session:
        rows = session.execute(
            select(Call.linkedid, StageEvent.stage, Delivery.state, Delivery.outcome)
            .join(StageEvent, StageEvent.id == Delivery.stage_event_id)
            .join(Call, Call.id == Delivery.call_id)
            .order_by(Call.linkedid, StageEvent.id)
        ).all()
    database.close()
    assert [tuple(row) for row in rows] == [
        ("1.1", BEFORE, DELIVERED, "ok"), ("1.1", AFTER, FAILED, "restored"),
        ("1.2", BEFORE, FAILED, "restored"), ("1.2", AFTER, FAILED, "restored"),
        ("1.3", BEFORE, PENDING, ""), ("1.3", AFTER, PENDING, ""),
    ]  # fmt: skip


def _variables(settings: Settings) -> dict[str, str]:
    return {"PBXHUB_DATA_DIR": str(settings.data_dir), "PBXHUB_DATABASE_URL": settings.database_url}


@contextmanager
def calls_come_in(world: World, a_second: int) -> Iterator[list[str]]:
    """The ids of the calls whose stage is committed, as it grows. What came during a commit is in the next one, as
    with the listener, so that a busy machine has as many calls a second, in larger groups."""
    acknowledged, stop = list[str](), threading.Event()

    def publish_in_time() -> None:
        began = time.monotonic()
        while not stop.wait(max(0.0, began + len(acknowledged) / a_second - time.monotonic())):
            come = max(int((time.monotonic() - began) * a_second), len(acknowledged) + 1)
            group = [f"3.{number}" for number in range(len(acknowledged), come)]
            report_calls(world.database, world.pbx_id, *group)
            acknowledged.extend(group)

    publisher = threading.Thread(target=publish_in_time)
    publisher.start()
    try:
        yield acknowledged
    finally:
        stop.set()
        publisher.join()


def report_calls(database: Database, pbx_id: int, *linkedids: str) -> None:
    now = utc_now()
    told = [report(one, BEFORE, started_on=now, values={"call_id": one}) for one in linkedids]
    publish(context_of(database), {pbx_id: told}, now)


def sent(requests: Iterable[Received]) -> set[tuple[str, str, str]]:
    """The path, the call and the webhook-id of each request."""
    return {(one.path, json.loads(one.body)["call_id"], one.header("webhook-id") or "") for one in requests}


def test_nothing_acknowledged_is_missing_and_nothing_is_sent_twice_unmarked(
    world: World, elsewhere: Settings, tmp_path: Path
) -> None:
    """100 calls a second, a worker, a quick receiver and one that is behind; the hub goes on after the backup."""
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    with_passphrase = ("--passphrase-file", str(tmp_path / "passphrase"))
    seconds = {"/quick": 0.0, "/slow": 0.3}
    with Receiver(lambda received: Reply(delay=seconds[received.path]), keep=100_000) as receiver:
        for path in seconds:
            world.webhook(BEFORE, spec(receiver.url + path))
        with working(world.database, receiver), calls_come_in(world, 100) as acknowledged:
            receiver.wait_for(50)
            before = len(acknowledged)
            status, said = _run(_here(world, tmp_path), "backup", "hub.tar", *with_passphrase, cwd=tmp_path)
            assert status == 0, said
            receiver.wait_for(receiver.count + 200)  # of these the backup knows nothing
        of_old_hub = sent(receiver.requests)
        status, said = _run(_variables(elsewhere), "restore", "hub.tar", *with_passphrase, cwd=tmp_path)
        assert status == 0, said
        seconds["/slow"] = 0.0
        database, requests_before = opened(elsewhere), receiver.count
        with database.read() as session:
            assert set(acknowledged[:before]) <= set(session.scalars(select(Call.linkedid)))
            rows = session.scalars(select(Delivery)).all()
        assert {(row.state, row.outcome) for row in rows} == {(DELIVERED, "ok"), (FAILED, "restored")}
        held = [row.id for row in rows if row.state == FAILED]
        assert {str(row.id) for row in rows if row.state == DELIVERED} <= {one for *_, one in of_old_hub}
        sent_since = {one for *_, one in of_old_hub}
        twice = [one for one in held if str(one) in sent_since][:100]
        again = twice + [one for one in held if str(one) not in sent_since][:100]
        assert twice  # sent after the backup
        with working(database, receiver):
            report_calls(database, world.pbx_id, "4.1")
            new = receiver.wait_for(requests_before + 2)[requests_before:]
            assert {(path, call) for path, call, _ in sent(new)} == {("/quick", "4.1"), ("/slow", "4.1")}
            with database.write() as session:
                for one in again:  # the person sends them again
                    resend_one(context_of(database), session, world.project_id, one, utc_now())
            receiver.wait_for(requests_before + 2 + len(again))
        database.close()
        told = sent(receiver.requests)
        assert len({(path, call) for path, call, _ in told}) == len(told)  # whatever came twice has its id


def test_a_backup_is_for_its_owner_alone_and_holds_no_open_key(world: World, tmp_path: Path) -> None:
    os.umask(0o022)
    file = backed_up(world, tmp_path / "hub.tar")
    assert file.stat().st_mode & 0o777 == 0o600
    assert VAULT.key not in file.read_bytes()
    assert list(tmp_path.glob(".pbxhub-backup-*")) == []
    with tarfile.open(file) as tar:
        assert {(entry.mode, entry.uid, entry.uname) for entry in tar} == {(0o600, 0, "")}
    backed_up(world, file, passphrase="")
    with open_backup(file) as backup:
        assert backup.sealed_key == b""


@pytest.mark.parametrize(
    ("passphrase", "key", "sentence"),
    [
        ("another passphrase", b"", "The passphrase does not open the key of this backup."),
        ("", b"", "The key of this backup is missing on this host. Give the passphrase of the backup."),
        ("", b"x" * 32, "The key of this host is not the one of the backup."),
        (PASSPHRASE, b"x" * 32, "This host has another key than the backup."),
    ],
)
def test_a_wrong_key_is_refused_before_anything_is_touched(
    world: World, elsewhere: Settings, tmp_path: Path, passphrase: str, key: bytes, sentence: str
) -> None:
    file = backed_up(world, tmp_path / "hub.tar")
    with pytest.raises(BackupError, match=sentence.replace(".", r"\.")):
        restore(file, replace(elsewhere, secret_key=key), passphrase, at(200))
    assert not elsewhere.key_file.exists()
    restore(file, elsewhere, PASSPHRASE, at(200))  # nothing was left in the way


def test_a_database_with_rows_is_never_overwritten(world: World, elsewhere: Settings, tmp_path: Path) -> None:
    file = backed_up(world, tmp_path / "hub.tar")
    restore(file, elsewhere, PASSPHRASE, at(200))
    again = read_settings(_variables(elsewhere))
    with pytest.raises(BackupError, match=r"already|not empty"):
        restore(file, again, "", at(300))


def test_what_is_no_backup_is_refused_in_words(world: World, elsewhere: Settings, tmp_path: Path) -> None:
    file = backed_up(world, tmp_path / "hub.tar")
    whole = file.read_bytes()
    cases = {
        "cut.tar": (whole[: len(whole) // 2], "damaged|cut off|failed"),
        "text.tar": (b"hello", "cannot be read as a backup"),
        "empty.tar": (b"", "cannot be read as a backup|not a backup"),
    }
    for name, (content, sentence) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BackupError, match=sentence):
            restore(tmp_path / name, elsewhere, PASSPHRASE, at(200))
    with pytest.raises(BackupError, match="There is no file"):
        restore(tmp_path / "missing.tar", elsewhere, PASSPHRASE, at(200))
    restore(file, elsewhere, PASSPHRASE, at(200))


def test_a_backup_without_its_database_is_refused_in_words(world: World, elsewhere: Settings, tmp_path: Path) -> None:
    file = backed_up(world, tmp_path / "hub.tar")
    with tarfile.open(file) as whole, tarfile.open(tmp_path / "less.tar", "w") as less:
        for entry in whole.getmembers():
            if not entry.name.startswith("database"):
                less.addfile(entry, whole.extractfile(entry))
    with pytest.raises(BackupError, match="holds no database"):
        restore(tmp_path / "less.tar", elsewhere, PASSPHRASE, at(200))


def test_a_backup_of_a_newer_version_says_what_to_install(
    world: World, elsewhere: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    monkeypatch.setattr("pbxhub.maintenance.backup.__version__", "9.9.0")
    file = backed_up(world, tmp_path / "hub.tar")
    with pytest.raises(BackupError, match=r"made by pbxhub 9\.9\.0.*Install version 9\.9\.0 or a newer one"):
        restore(file, elsewhere, PASSPHRASE, at(200))


def test_the_commands_save_and_restore(world: World, elsewhere: Settings, tmp_path: Path) -> None:
    """As an operator types them, with the passphrase in a file."""
    (tmp_path / "passphrase").write_text(f"{PASSPHRASE}\n")
    here = _here(world, tmp_path)
    with_passphrase = ("--passphrase-file", str(tmp_path / "passphrase"))
    assert _run(here, "backup", "hub.tar", cwd=tmp_path)[0] == 2  # neither a passphrase nor --without-key
    status, said = _run(here, "backup", "hub.tar", *with_passphrase, cwd=tmp_path)
    assert status == 0, said
    status, said = _run(_variables(elsewhere), "restore", "hub.tar", *with_passphrase, cwd=tmp_path)
    assert status == 0, said
    assert "Restored the backup of" in said
    status, said = _run(_variables(elsewhere), "restore", "hub.tar", *with_passphrase, cwd=tmp_path)
    assert status == 1
    assert "Traceback" not in said


def _here(world: World, tmp_path: Path) -> dict[str, str]:
    return {
        "PBXHUB_DATA_DIR": str(tmp_path / "here"),
        "PBXHUB_DATABASE_URL": world.database.engine.url.render_as_string(hide_password=False),
        "PBXHUB_SECRET_KEY": base64.urlsafe_b64encode(VAULT.key).decode(),
    }


def _run(variables: dict[str, str], *arguments: str, cwd: Path) -> tuple[int, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PBXHUB_")}
    command = [sys.executable, "-m", "pbxhub", *arguments]
    done = subprocess.run(
        command, env={**clean, **variables}, cwd=cwd, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    return done.returncode, done.stdout + done.stderr


def test_a_backup_that_cannot_be_written_leaves_the_old_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = backed_up(world, tmp_path / "hub.tar")
    before = file.read_bytes()
    with pytest.raises(BackupError, match="existing folder"):
        backed_up(world, tmp_path / "nowhere" / "hub.tar")

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pbxhub.maintenance.backup_file.os.fsync", full)
    with pytest.raises(BackupError, match="No space left on device"):
        backed_up(world, file)
    assert file.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir() if "hub.tar" in path.name} == {"hub.tar"}
