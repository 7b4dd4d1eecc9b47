"""A second host without the key, a restore without it, keys that were mixed up: nothing starts, nothing is lost."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import delete, select, update

from pbxhub.cli import main
from pbxhub.delivery.worker import Worker
from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.engine import Engine
from pbxhub.store.delivery_rows import PENDING, Delivery
from pbxhub.store.key_check import KeyCheck, WrongKeyError, check_key, remember_key
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.receivers.receiver import Receiver
from pbxhub.testing.waiting import await_until
from pbxhub.vault import Vault
from pbxhub.webhooks.spec import Auth, Retry
from tests.support.outbox_world import BEFORE, NOON, VAULT, World, context_of, report, spec

OTHER = Vault(b"o" * 32)
COMMANDS = (["run"], ["listen"], ["work"], ["agi"], ["web"], ["check"], ["prune"], ["migrate"], ["user", "list"])


def pbxhub(url: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    given = {name: value for name, value in os.environ.items() if not name.startswith("PBXHUB_")}
    given |= {"PBXHUB_DATABASE_URL": url, "PBXHUB_DATA_DIR": str(folder)}
    command = [sys.executable, "-m", "pbxhub", *arguments]
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=60)


def told(url: str, folder: Path, *arguments: str, key: str | None = None) -> tuple[int, str]:
    """As pbxhub() in this process: to start another one takes most of the time of a command."""
    variables = {"PBXHUB_DATABASE_URL": url, "PBXHUB_DATA_DIR": str(folder), "PBXHUB_SECRET_KEY": key}
    done = CliRunner().invoke(main, arguments, env=variables)
    return done.exit_code, done.output


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_host_without_the_key_starts_nothing_and_makes_none(
    database: Database, database_url: str, tmp_path: Path, command: list[str]
) -> None:
    remember_key(database, VAULT.key, "")
    code, said = told(database_url, tmp_path / "second", *command)
    assert code == 1
    assert "PBXHUB_SECRET_KEY: the key of this host is missing" in said
    assert f"copy their file secret.key (from a backup, after a restore) to {tmp_path}/second/secret.key" in said
    assert not (tmp_path / "second" / "secret.key").exists()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_another_key_is_refused_and_the_right_one_taken(database: Database, database_url: str, tmp_path: Path) -> None:
    remember_key(database, VAULT.key, "")
    code, said = told(database_url, tmp_path, "prune", key="b29v" * 10 + "b28=")
    assert (code, "is not the one of this database" in said) == (1, True)
    code, said = told(database_url, tmp_path, "prune", key="a2tr" * 10 + "a2s=")
    assert code == 0, said


def test_the_first_start_makes_a_key_and_the_next_ones_keep_it(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.sqlite3"
    for _ in range(2):
        assert pbxhub(url, tmp_path / "data", "migrate").returncode == 0
    assert (tmp_path / "data" / "secret.key").exists()


def test_everything_is_dropped_only_for_who_says_so(tmp_path: Path) -> None:
    url, data = f"sqlite:///{tmp_path}/new.sqlite3", tmp_path / "data"
    assert pbxhub(url, data, "migrate").returncode == 0
    refused = pbxhub(url, data, "migrate", "base")
    assert (refused.returncode, "pbxhub migrate base --yes-drop-everything" in refused.stderr) == (1, True)
    assert "tables are up to date" in pbxhub(url, data, "check").stdout
    assert pbxhub(url, data, "migrate", "base", "--yes-drop-everything").returncode == 0
    assert "tables are not up to date" in pbxhub(url, data, "check").stdout


def test_a_database_from_before_knows_its_key_by_what_is_sealed(database: Database) -> None:
    world = World(database)
    world.webhook(secret_sealed=VAULT.seal("token"))
    assert check_key(database, VAULT.key, "")
    for key in (OTHER.key, b""):
        with pytest.raises(WrongKeyError):
            check_key(database, key, "")
    remember_key(database, VAULT.key, "")
    with database.write() as session:
        session.execute(delete(Webhook))
        assert VAULT.open(session.scalars(select(KeyCheck.sealed)).one()) == "pbxhub"
    with pytest.raises(WrongKeyError):
        remember_key(database, OTHER.key, "")


@contextmanager
def working(database: Database) -> Iterator[None]:
    worker = Worker(context_of(database), Engine(AddressGuard((ip_network("127.0.0.0/8"),))))
    worker.start()
    yield
    worker.stop()


def test_a_secret_that_cannot_be_opened_leaves_its_delivery_pending_until_it_is_entered_again(
    database: Database,
) -> None:
    world = World(database)
    with Receiver() as receiver:
        what = spec(receiver.url, retry=Retry("none"))
        what = replace(what, request=replace(what.request, auth=Auth("bearer")))
        webhook_id = world.webhook(what=what, secret_sealed=OTHER.seal("token"))
        world.publish(report("1.1", BEFORE))
        with working(database):
            await_until(lambda: bool(world.deliveries()[0].message))
        (delivery,) = world.deliveries()
        (attempt,) = world.attempts(delivery)
        assert (delivery.state, delivery.tries, delivery.outcome) == (PENDING, 0, "")
        assert attempt.outcome == "secret_unreadable"
        assert attempt.finished_on
        with database.read() as session:
            assert session.get_one(Webhook, webhook_id).failures == 0
        assert receiver.count == 0
        with database.write() as session:
            session.get_one(Webhook, webhook_id).secret_sealed = VAULT.seal("token")
            touch_webhooks(session, world.project_id)
            session.execute(update(Delivery).values(due_at=NOON))  # ten minutes at most
        with working(database):
            await_until(lambda: receiver.count == 1)
        assert receiver.requests[0].header("authorization") == "Bearer token"
