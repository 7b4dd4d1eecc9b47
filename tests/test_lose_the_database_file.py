"""Somebody removes or replaces the file of a running hub: nothing is acknowledged that nobody will find again."""

import shutil
import stat
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy.exc import OperationalError

from pbxhub.commands.checkup import check_hub
from pbxhub.delivery.context import open_context
from pbxhub.settings import read_settings, with_key
from pbxhub.store.database_errors import is_away
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.vault import Vault
from pbxhub.web import create_app
from tests.support.outbox_world import BEFORE, OK, World, finish, report, take

ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
GONE = "the SQLite file was removed or replaced"


@pytest.fixture
def file(database: Database) -> Path:
    return Path(str(database.engine.url.database))


@ON_SQLITE
@pytest.mark.parametrize("replaced", [False, True])
def test_a_removed_file_is_an_outage_and_nothing_is_lost_when_it_is_back(
    database: Database, file: Path, tmp_path: Path, replaced: bool
) -> None:
    world = World(database)
    world.webhook()
    world.publish(report("1.1", BEFORE))
    claimed = take(database, 0).claimed
    kept = tmp_path / "kept"
    file.rename(kept)
    if replaced:
        shutil.copy(kept, file)
    for work in (
        lambda: world.publish(report("1.2", BEFORE)),
        lambda: finish(database, claimed, OK, 1),
        lambda: world.deliveries(),
    ):
        with pytest.raises(OperationalError, match=GONE) as caught:
            work()
        assert is_away(caught.value)
    assert file.exists() == replaced  # no empty one is made in its place
    kept.rename(file)
    finish(database, claimed, OK, 2)
    assert [row.state for row in world.deliveries()] == ["delivered"]


@ON_SQLITE
def test_what_was_written_while_the_file_went_is_not_acknowledged(
    database: Database, file: Path, tmp_path: Path
) -> None:
    world = World(database)

    def write() -> None:
        with database.write() as session:
            session.connection().exec_driver_sql("UPDATE project SET name = 'never'")
            file.rename(tmp_path / "kept")

    with pytest.raises(OperationalError, match=GONE):
        write()
    (tmp_path / "kept").rename(file)
    with database.read() as session:
        name = session.connection().exec_driver_sql("SELECT name FROM project").scalar()
    assert (name, world.project_id) == ("Flower shop", 1)


@ON_SQLITE
def test_the_health_page_says_so(database: Database, database_url: str, file: Path, tmp_path: Path) -> None:
    settings = with_key(read_settings({"PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_DATABASE_URL": database_url}))
    client: FlaskClient = create_app(
        settings, open_context(settings, database, Vault(settings.secret_key))
    ).test_client()
    assert client.get("/health").status_code == 200
    file.unlink()
    answer = client.get("/health")
    assert (answer.status_code, answer.json["database"].startswith(GONE)) == (503, True)


@pytest.mark.slow
def test_a_new_file_and_its_journal_are_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.sqlite3"
    database = open_database(f"sqlite:///{path}")
    migrate(database)
    with database.write() as session:
        session.connection().exec_driver_sql("UPDATE project SET name = ''")
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in tmp_path.iterdir()}
    assert modes == {"new.sqlite3": 0o600, "new.sqlite3-wal": 0o600, "new.sqlite3-shm": 0o600}
    database.close()


@ON_SQLITE
def test_check_tells_of_a_file_that_others_may_read(
    database: Database, database_url: str, file: Path, tmp_path: Path
) -> None:
    settings = with_key(read_settings({"PBXHUB_DATA_DIR": str(tmp_path / "data"), "PBXHUB_DATABASE_URL": database_url}))
    said = f"Other users of this host may read it. Run: chmod 600 {file}*"
    for mode, told in ((0o644, True), (0o600, False)):
        file.chmod(mode)
        assert (said in [finding.sentence for _, finding in check_hub(settings)]) == told
