"""`pbxhub check` on a host with a full disk, files of another user, a database without writes, and a wrong clock."""

import os
import pwd
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from pbxhub import __version__
from pbxhub.cli import main
from pbxhub.commands.checkup import check_hub
from pbxhub.commands.installation_checks import check_clock, check_disk, check_files, check_writes
from pbxhub.settings import read_settings, with_key
from pbxhub.store.parts import beat
from pbxhub.store.session import Database, open_database
from tests.support.outbox_world import NOON, at

NOBODY = pwd.getpwnam("nobody").pw_uid
needs_root = pytest.mark.skipif(  # in CI it fails instead
    os.geteuid() != 0 and os.environ.get("CI") != "true", reason="only root gives files to another user"
)


def sentences(findings: object) -> str:
    return "\n".join(finding.sentence for finding in findings)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_healthy_host_says_its_version_and_room(tmp_path: Path) -> None:
    variables = {"PBXHUB_DATA_DIR": str(tmp_path)}
    assert CliRunner().invoke(main, ["migrate"], env=variables).exit_code == 0
    said = CliRunner().invoke(main, ["check"], env=variables).output
    assert f"ok   pbxhub: Version {__version__} on Python 3." in said
    assert "GB are free at" in said
    assert said.count("FAIL") == 1
    assert "FAIL PBX: No PBX is set up" in said


def test_a_disk_that_is_nearly_full_is_named_with_the_way_out(tmp_path: Path) -> None:
    finding = check_disk(tmp_path, least_bytes=1 << 60)
    assert not finding.well
    assert f"MB are free at {tmp_path}; when the disk is full, no call is saved." in finding.sentence
    assert "pbxhub prune" in finding.sentence


@needs_root
def test_files_that_root_made_in_the_folder_of_the_service_are_named(tmp_path: Path) -> None:
    settings = with_key(read_settings({"PBXHUB_DATA_DIR": str(tmp_path)}))
    database = open_database(settings.database_url)
    with database.engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    os.chown(tmp_path, NOBODY, -1)
    os.chown(settings.key_file, NOBODY, -1)
    [finding] = check_files(settings, database)
    assert f"{tmp_path}/pbxhub.sqlite3 belongs to root, and this is the hub of nobody." in finding.sentence
    assert f"chown -R nobody {tmp_path}" in finding.sentence
    os.chown(tmp_path / "pbxhub.sqlite3", NOBODY, -1)
    assert list(check_files(settings, database)) == []
    settings.key_file.chmod(0o640)
    assert f"chmod 600 {settings.key_file}" in sentences(check_files(settings, database))
    database.close()


def test_a_database_that_takes_no_writes_is_named(database: Database) -> None:
    assert check_writes(database) is None
    if database.is_sqlite:
        refused = open_database(str(database.engine.url))
        with refused.engine.connect() as connection:  # the same connection is used again
            connection.exec_driver_sql("PRAGMA query_only = ON")
    else:
        url = database.engine.url.update_query_dict({"options": "-c default_transaction_read_only=on"})
        refused = open_database(url.render_as_string(hide_password=False))
    finding = check_writes(refused)
    refused.close()
    assert finding is not None
    assert "The database takes no writes: " in finding.sentence
    assert ("standby" in finding.sentence) is not database.is_sqlite


def test_a_clock_that_was_set_back_is_named(database: Database) -> None:
    with database.write() as session:
        beat(session, ["worker"], at(3600))
    if database.is_sqlite:
        assert check_clock(database, at(3600)) is None
        finding = check_clock(database, NOON)
        assert finding is not None
        assert (
            "The hub last wrote at 2026-05-14 13:00:00 UTC, and here it is 2026-05-14 12:00:00 UTC" in finding.sentence
        )
        return
    finding = check_clock(database, NOON)
    assert finding is not None
    assert "The clocks of this host and of the database differ by " in finding.sentence
    assert check_clock(database) is None


def test_the_check_goes_through_all_of_them(database: Database, database_url: str, tmp_path: Path) -> None:
    settings = with_key(read_settings({"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_DATABASE_URL": database_url}))
    assert [subject for subject, finding in check_hub(settings) if not finding.well] == ["PBX"]
    with database.write() as session:
        beat(session, ["worker"], at(10**9))
    failed = [
        finding.sentence for subject, finding in check_hub(settings) if not finding.well and subject == "database"
    ]
    assert len(failed) == 1
    assert "the clock was set back" in failed[0]
