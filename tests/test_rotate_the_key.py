"""The key that seals the secrets is changed while the hub works, and the hub goes on after the key was lost."""

import os
import signal
import subprocess
import sys
import threading
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select, update

from pbxhub.cli import main
from pbxhub.delivery.outbox import publish
from pbxhub.delivery.worker import Worker
from pbxhub.maintenance.rotate_key import go_on_without, renew_root, rotate, sealed_tables
from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.engine import Engine
from pbxhub.sending.webhook_signatures import SigningKeys, open_keys, seal_keys
from pbxhub.settings import SettingsError, key_text, read_settings
from pbxhub.store.accounts import Pbx, User
from pbxhub.store.hub_keys import HubKeys, open_vault
from pbxhub.store.key_check import WrongKeyError, check_key, remember_key
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.testing.receivers.receiver import Receiver
from pbxhub.testing.waiting import await_until
from pbxhub.vault import Vault
from pbxhub.webhooks.spec import Auth
from tests.support.outbox_world import BEFORE, NOON, VAULT, World, context_of, report, spec

OLD, NEW = VAULT.key, b"n" * 32
BOTH = NEW + OLD
PURPOSES = ("sessions", "two-factor", "recording links", "agi tokens", "known device")


def quietly(_table: str, _done: int, _total: int) -> None:
    pass


@pytest.fixture
def world(database: Database) -> World:
    """A hub that has been used with the old key."""
    remember_key(database, OLD, "")
    open_vault(database, OLD)
    found = World(database)
    with database.write() as session:
        session.execute(update(Pbx).values(secret_sealed=VAULT.seal("ami"), cel_url_sealed=VAULT.seal("postgresql://")))
    return found


def fill(world: World, number: int, url: str = "http://127.0.0.1:9/hook") -> None:
    what = spec(url)
    what = replace(what, request=replace(what.request, auth=Auth("bearer")))
    for _ in range(number):
        world.webhook(
            what=what, secret_sealed=VAULT.seal("token"), signing_sealed=seal_keys(VAULT, SigningKeys("s" * 32))
        )


def opened_by(database: Database, key: bytes) -> set[str]:
    """Every secret of the database, as far as this key opens it."""
    vault = Vault(key)
    with database.read() as session:
        pbx = session.scalars(select(Pbx)).one()
        webhooks = session.scalars(select(Webhook)).all()
        sealed = [pbx.secret_sealed, pbx.cel_url_sealed, *(row.secret_sealed for row in webhooks)]
        sealed += [row.signing_sealed for row in webhooks]
    return {vault.open(one)[:20] if vault.can_open(one) else "" for one in sealed}


@pytest.mark.slow
def test_afterwards_the_new_key_alone_opens_everything_and_nothing_derived_has_changed(world: World) -> None:
    fill(world, 250)
    before = open_vault(world.database, OLD)
    done = rotate(world.database, open_vault(world.database, BOTH), quietly)
    assert done.sealed == {"hub_keys": 1, "pbx": 2, "webhook": 500}
    assert "" not in opened_by(world.database, NEW)
    assert opened_by(world.database, OLD) == {""}
    assert check_key(world.database, NEW, "")
    assert check_key(world.database, BOTH, "")
    with pytest.raises(WrongKeyError):
        check_key(world.database, OLD, "")
    after = open_vault(world.database, NEW)
    assert [after.derive(purpose) for purpose in PURPOSES] == [before.derive(purpose) for purpose in PURPOSES]
    assert after.password_salt == before.password_salt
    assert rotate(world.database, after, quietly).sealed == {}


def test_in_the_middle_a_host_needs_both_keys_and_a_second_run_finishes(world: World) -> None:
    fill(world, 5)

    def killed(table: str, _done: int, _total: int) -> None:
        if table == "webhook":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate(world.database, open_vault(world.database, BOTH), killed)
    for one in (OLD, NEW):
        with pytest.raises(WrongKeyError, match="after pbxhub rotate-key, not every one of it"):
            check_key(world.database, one, "")
    assert check_key(world.database, BOTH, "")
    rotate(world.database, open_vault(world.database, BOTH), quietly)
    assert "" not in opened_by(world.database, NEW)
    assert check_key(world.database, NEW, "")


def test_a_secret_that_no_key_opens_stops_the_rotation_before_it_begins(world: World) -> None:
    fill(world, 1)
    world.webhook(name="CRM", secret_sealed=Vault(b"x" * 32).seal("token"))
    done = rotate(world.database, open_vault(world.database, BOTH), quietly)
    [one] = done.unreadable
    assert (one.table, one.name, one.column) == ("webhook", "CRM", "secret_sealed")
    assert "" in opened_by(world.database, NEW)
    assert check_key(world.database, OLD, "")


def test_a_secret_that_is_changed_meanwhile_keeps_the_change(world: World) -> None:
    fill(world, 3)
    changed: list[int] = []

    def change(table: str, _done: int, _total: int) -> None:
        if table == "webhook" and not changed:
            changed.append(world.webhooks[0])
            with world.database.write() as session:
                session.get_one(Webhook, changed[0]).secret_sealed = VAULT.seal("newer")

    rotate(world.database, open_vault(world.database, BOTH), change)
    with world.database.read() as session:
        assert Vault(NEW).open(session.get_one(Webhook, changed[0]).secret_sealed) == "newer"


@contextmanager
def working(database: Database) -> Iterator[None]:
    """A worker that was started with both keys."""
    context = replace(context_of(database), vault=Vault(BOTH))
    worker = Worker(context, Engine(AddressGuard((ip_network("127.0.0.0/8"),))))
    worker.start()
    yield
    worker.stop()


def rotating(url: str, folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PBXHUB_")}
    variables |= {"PBXHUB_DATABASE_URL": url, "PBXHUB_DATA_DIR": str(folder), "PBXHUB_SECRET_KEY": key_text(BOTH)}
    command = [sys.executable, "-m", "pbxhub", "rotate-key", *arguments]
    return subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_deliveries_go_on_while_a_rotation_is_killed_and_run_again(
    world: World, database_url: str, tmp_path: Path
) -> None:
    with Receiver() as receiver, working(world.database):
        fill(world, 10, receiver.url)
        fill_others(world, 3000)
        stop, calls = threading.Event(), []

        def call_in() -> None:
            while not stop.wait(0.05):
                calls.append(f"{len(calls)}.1")
                publish(context_of(world.database), {world.pbx_id: [report(calls[-1], BEFORE)]}, NOON)

        calling = threading.Thread(target=call_in)
        calling.start()
        first = rotating(database_url, tmp_path)
        assert first.stderr
        for line in first.stderr:
            if line.startswith("webhook: ") and not line.startswith("webhook: 0"):
                break
        first.send_signal(signal.SIGKILL)
        first.communicate()
        assert opened_by(world.database, NEW) & {""}, "it was killed too late to be in the middle"
        second = rotating(database_url, tmp_path)
        said, trouble = second.communicate(timeout=200)
        assert second.returncode == 0, trouble
        assert "every stored secret is encrypted with it now" in said
        stop.set()
        calling.join()
        await_until(lambda: receiver.count == 10 * len(calls), "100s")
        assert {request.header("authorization") for request in receiver.requests} == {"Bearer token"}
    assert "" not in opened_by(world.database, NEW)
    assert check_key(world.database, NEW, "")
    assert len(calls) > 5


def fill_others(world: World, number: int) -> None:
    """Webhooks of another stage: only their secrets matter here."""
    sealed = VAULT.seal("token")
    with world.database.write() as session:
        template = session.get_one(Webhook, world.webhooks[0])
        columns = {c.name: getattr(template, c.name) for c in Webhook.__table__.columns if c.name != "id"}
        session.execute(
            Webhook.__table__.insert(),
            [{**columns, "stage": "incoming.after", "enabled": False, "secret_sealed": sealed} for _ in range(number)],
        )


def test_every_sealed_column_is_one_the_rotation_finds() -> None:
    """A column is found by its name: whatever else is sealed must be named so."""
    found = {f"{table.name}.{column.name}" for table in sealed_tables() for column in table.columns}
    assert {"pbx.secret_sealed", "pbx.cel_url_sealed", "webhook.signing_sealed", "hub_keys.root_sealed"} <= found
    assert all(len(table.primary_key.columns) == 1 for table in sealed_tables())


def test_two_keys_are_given_by_the_variable_or_in_the_file(tmp_path: Path) -> None:
    one, two = (urlsafe_b64encode(key).decode() for key in (NEW, OLD))
    given = read_settings({"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_SECRET_KEY": f"{one}, {two}"})
    (tmp_path / "secret.key").write_text(f"{one},{two}\n")
    assert given.secret_key == read_settings({"PBXHUB_DATA_DIR": str(tmp_path)}).secret_key == BOTH
    with pytest.raises(SettingsError, match="several keys are separated by commas"):
        read_settings({"PBXHUB_DATA_DIR": str(tmp_path), "PBXHUB_SECRET_KEY": f"{one},"})


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_after_a_lost_key_passwords_stay_and_secrets_are_entered_again(
    world: World, database_url: str, tmp_path: Path
) -> None:
    fill(world, 1)
    salt = open_vault(world.database, OLD).password_salt
    with world.database.write() as session:
        session.add(User(email="anna@example.com", password="hash", fs_uniquifier="anna", created_on=NOON,
                         tf_primary_method="authenticator", tf_totp_secret="sealed",
                         recovery_codes=["sealed"]))  # fmt: skip

    def tell(*arguments: str, key: bytes = b"") -> tuple[int, str]:
        variables = {"PBXHUB_DATABASE_URL": database_url, "PBXHUB_DATA_DIR": str(tmp_path / "data")}
        variables |= {"PBXHUB_SECRET_KEY": key_text(key)} if key else {}
        done = CliRunner().invoke(main, arguments, env=variables)
        return done.exit_code, done.output

    assert "If the key is lost: pbxhub lost-key." in tell("user", "list")[1]
    code, said = tell("lost-key")
    assert (code, "pbxhub lost-key --yes-go-on-without" in said) == (1, True), said
    assert not (tmp_path / "data" / "secret.key").exists()
    code, said = tell("lost-key", "--yes-go-on-without", key=OLD)
    assert (code, "is the one of the database. Nothing was changed." in said) == (1, True), said
    code, said = tell("lost-key", "--yes-go-on-without")
    assert code == 0, said
    assert "Second factor removed: anna@example.com" in said
    assert "Enter these 4 secrets again:\n  pbx office (secret)\n  pbx office (cel_url)\n" in said
    assert tell("user", "list")[1] == "anna@example.com\tuser\t\n"
    key = read_settings({"PBXHUB_DATA_DIR": str(tmp_path / "data")}).secret_key
    assert open_vault(world.database, key).password_salt == salt
    code, said = tell("rotate-key")
    assert (code, "4 secrets cannot be decrypted with any key of this host" in said) == (1, True), said
    found_again = key + OLD
    assert "Second factor removed" not in tell("rotate-key", "--new-root")[1], "it refuses before that"
    assert rotate(world.database, open_vault(world.database, found_again), quietly).unreadable == ()
    assert "" not in opened_by(world.database, key)
    with world.database.write() as session:
        session.scalars(select(User)).one().tf_totp_secret = "sealed"
    code, said = tell("rotate-key", "--new-root")
    assert (code, "Second factor removed: anna@example.com" in said) == (0, True), said


def test_a_lost_key_of_a_hub_that_never_kept_its_root_is_replaced(world: World) -> None:
    with world.database.write() as session:
        session.delete(session.get_one(HubKeys, 1))
    assert go_on_without(world.database, Vault(NEW)) == []
    assert_derived_from_neither(open_vault(world.database, NEW), OLD, NEW)
    with world.database.read() as session:
        assert session.scalar(select(func.count()).select_from(HubKeys)) == 1


def test_a_hub_of_an_earlier_version_that_starts_with_both_keys_keeps_its_passwords(world: World) -> None:
    with world.database.write() as session:
        session.delete(session.get_one(HubKeys, 1))
    vault = open_vault(world.database, BOTH)
    assert (vault.password_salt, vault.derive("sessions")) == (VAULT.password_salt, VAULT.derive("sessions"))


def assert_derived_from_neither(vault: Vault, *keys: bytes) -> None:
    for key in keys:
        assert not {*map(vault.derive, PURPOSES)} & {*map(Vault(key).derive, PURPOSES)}


def test_who_stole_the_key_of_a_new_hub_can_derive_nothing_from_it(database: Database) -> None:
    remember_key(database, OLD, "")
    vault = open_vault(database, OLD)
    assert_derived_from_neither(vault, OLD)
    assert open_vault(database, OLD) == vault


def test_a_new_root_after_a_theft_ends_what_was_derived_and_keeps_passwords(world: World) -> None:
    with world.database.write() as session:
        session.delete(session.get_one(HubKeys, 1))
        session.add(User(email="anna@example.com", password="hash", fs_uniquifier="anna", created_on=NOON,
                         tf_primary_method="authenticator", tf_totp_secret="sealed",
                         recovery_codes=["sealed"]))  # fmt: skip
    rotate(world.database, open_vault(world.database, BOTH), quietly)
    before = open_vault(world.database, NEW)
    assert before.derive("sessions") == VAULT.derive("sessions"), "as on every hub of 0.1.0"
    assert renew_root(world.database, before) == ["anna@example.com"]
    after = open_vault(world.database, NEW)
    assert_derived_from_neither(after, OLD, NEW)
    assert after.password_salt == before.password_salt
    with world.database.read() as session:
        user = session.scalars(select(User)).one()
        assert (user.tf_totp_secret, user.recovery_codes) == (None, [])


def test_signing_keys_survive(world: World) -> None:
    fill(world, 1)
    rotate(world.database, open_vault(world.database, BOTH), quietly)
    with world.database.read() as session:
        keys = open_keys(Vault(NEW), session.scalars(select(Webhook)).one().signing_sealed)
    assert keys is not None
    assert keys.current == "s" * 32
