"""An operator upgrades a hub: a filled database of each release, whose hub was killed in the middle of a call.

tests/support/fill_release.py made the dumps with the release itself.
tests/test_migrate_a_database.py tries each migration.
"""

import gzip
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest
import requests
from flask_security import hash_password
from sqlalchemy import func, select, text

from pbxhub.delivery.context import open_context
from pbxhub.settings import read_settings
from pbxhub.store.accounts import User
from pbxhub.store.delivery_rows import PENDING, Delivery
from pbxhub.store.history import Call
from pbxhub.store.schema_revision import is_current
from pbxhub.store.session import Database, open_database
from pbxhub.testing import await_until
from pbxhub.testing.processes import Program, free_port
from pbxhub.vault import Vault
from pbxhub.web import create_app
from tests.support.fill_release import API_KEY, SECRET_KEY
from tests.support.people import PASSWORD, Browser

DUMPS = Path(__file__).parent / "releases"
KEPT = ("call", "stage_event", "delivery", "attempt", "event", "webhook", "employee", "number", "subscriber")
YEARS = str(365 * 99)  # days: the history of the dump is not pruned, however old it has become
PORT = free_port(2)  # of the hub; the demo's receiver has the next one

pytestmark = pytest.mark.slow


@pytest.fixture(params=sorted(path.name for path in DUMPS.glob("*.sql.gz")))
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database as the release left it, but for the address that its webhooks send to."""
    with gzip.open(DUMPS / request.param, "rt") as dump:
        script = re.sub(r"(?<=http://127\.0\.0\.1:)\d+", str(PORT + 1), dump.read())
    if ".sqlite." in request.param:
        with closing(sqlite3.connect(tmp_path / "pbxhub.sqlite3")) as connection:
            connection.executescript(script)
        return f"sqlite:///{tmp_path}/pbxhub.sqlite3"
    there: str = request.getfixturevalue("empty_postgres_url")
    with psycopg.connect(there.replace("+psycopg", "")) as server:
        server.execute(script.encode())
    return there


@pytest.fixture
def environ(url: str, tmp_path: Path) -> dict[str, str]:
    return {
        "PBXHUB_DATABASE_URL": url, "PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_SECRET_KEY": SECRET_KEY,
        "PBXHUB_PORT": str(PORT), "PBXHUB_AGI": "", "PBXHUB_KEEP_DELIVERED": YEARS, "PBXHUB_KEEP_FAILED": YEARS,
        "PBXHUB_KEEP_CALLS": YEARS,
    }  # fmt: skip


@contextmanager
def upgraded(environ: dict[str, str], folder: Path) -> Iterator[Program]:
    """The hub of today, which migrates the database at its start; the demo's PBX and receiver are back with it."""
    hub = Program([sys.executable, "-m", "pbxhub", "run", "--demo"], folder / "log", None, environ)

    def answers() -> None:
        try:
            assert requests.get(f"http://127.0.0.1:{PORT}/health", timeout=5).ok
        except requests.ConnectionError:
            raise AssertionError(hub.last_lines()) from None

    await_until(answers, "60s")
    yield hub
    assert hub.stop(15) == 0, hub.last_lines()


def rows(database: Database) -> dict[str, int]:
    with database.read() as session:
        return {name: session.scalar(text(f'SELECT count(*) FROM "{name}"')) or 0 for name in KEPT}


def test_nothing_is_lost_and_everything_goes_on(url: str, environ: dict[str, str], tmp_path: Path) -> None:
    database = open_database(url)
    before = rows(database)
    assert min(before.values()) > 0
    database.close()  # a migration is refused while others have the file open
    with upgraded(environ, tmp_path) as hub:
        assert is_current(database)
        what_was_pending_is_sent(database)
        a_call_that_was_going_on_ends(database)
        new_calls_are_delivered(database, before["call"])
        after = rows(database)
        assert {name: (count, after[name]) for name, count in before.items() if after[name] < count} == {}
        programs_go_on()
        assert "Traceback" not in hub.last_lines(100_000)
    every_page_opens(environ, database)
    database.close()


def what_was_pending_is_sent(database: Database) -> None:
    """But for those that the demo's broken receiver refuses: they are tried again, or have failed."""

    def sent() -> None:
        with database.read() as session:
            waiting = session.scalars(select(Delivery.url).where(Delivery.state == PENDING, Delivery.attempts == 0))
            assert waiting.all() == []

    await_until(sent, "30s")


def a_call_that_was_going_on_ends(database: Database) -> None:
    def ended() -> None:
        with database.read() as session:
            first = session.scalars(select(Call).order_by(Call.started_on).limit(20)).all()
            open_ones = [call.linkedid for call in first if call.ended_on is None]
            assert open_ones == []

    await_until(ended, "30s")


def new_calls_are_delivered(database: Database, calls_before: int) -> None:
    def delivered() -> None:
        with database.read() as session:
            assert (session.scalar(select(func.count()).select_from(Call)) or 0) > calls_before
            newest = select(Delivery).order_by(Delivery.id.desc()).limit(1)
            assert session.scalars(newest).one().state == "delivered"

    await_until(delivered, "30s")


def programs_go_on() -> None:
    """With the key of then, whatever a program reads."""
    session = requests.Session()
    session.headers["X-API-KEY"] = API_KEY
    lists = {}
    for name in ("projects", "pbxs", "webhooks", "deliveries", "calls", "employees", "numbers", "events", "resthooks"):
        answer = session.get(f"http://127.0.0.1:{PORT}/api/v1/{name}", timeout=20)
        assert answer.ok, f"{name}: {answer.text}"
        lists[name] = answer.json()["items"]
    assert [name for name, items in lists.items() if not items] == []
    event = {"stage": "form.sent", "key": "after the upgrade", "fields": {"email": "b@example.com"}}
    assert session.post(f"http://127.0.0.1:{PORT}/api/v1/events/in", json=event, timeout=20).status_code == 201


def every_page_opens(environ: dict[str, str], database: Database) -> None:
    settings = read_settings(environ | {"PBXHUB_PUBLIC_URL": "http://localhost"})
    app = create_app(settings, open_context(settings, database, Vault(settings.secret_key)))
    with app.app_context(), database.write() as session:
        session.query(User).filter_by(email="anna@example.com").one().password = hash_password(PASSWORD)
    browser = Browser(app.test_client())
    browser.sign_in("anna@example.com", PASSWORD)
    browser.walk("/projects/1/dashboard")
