"""Secrets at rest, and ids that sort by time."""

import traceback
from datetime import UTC, datetime

import pytest
from sqlalchemy import bindparam, text
from sqlalchemy.exc import IntegrityError

from pbxhub.store.accounts import Pbx, Project
from pbxhub.store.columns import UtcDateTime
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from pbxhub.vault import Vault, VaultError

NOW = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)


def test_a_sealed_secret_opens_with_its_key_only() -> None:
    vault = Vault(b"a" * 32)
    sealed = vault.seal("s3cret ключ")
    assert "s3cret" not in sealed
    assert vault.open(sealed) == "s3cret ключ"
    with pytest.raises(VaultError, match="another PBXHUB_SECRET_KEY"):
        Vault(b"b" * 32).open(sealed)


def test_no_secret_stays_no_secret() -> None:
    vault = Vault(b"a" * 32)
    assert vault.open(vault.seal("")) == ""


def test_the_database_never_holds_a_pbx_password_in_clear(database: Database) -> None:
    vault = Vault(b"a" * 32)
    with database.write() as session:
        project = Project(name="Acme", created_on=NOW)
        session.add(project)
        session.flush()
        session.add(
            Pbx(
                project_id=project.id,
                name="Main",
                host="127.0.0.1",
                username="hub",
                secret_sealed=vault.seal("amipass"),
                created_on=NOW,
            )
        )
    with database.read() as session:
        row = session.execute(text("SELECT * FROM pbx")).mappings().one()
        assert "amipass" not in str(dict(row))
        pbx = session.query(Pbx).one()
        assert vault.open(pbx.secret_sealed) == "amipass"
        assert pbx.created_on == NOW
        assert pbx.created_on.tzinfo is UTC


def test_a_database_that_refuses_never_repeats_what_it_was_given(database: Database) -> None:
    """Neither the parameters nor what PostgreSQL adds as DETAIL, in the message or in a traceback."""
    columns = "id, name, country, webhooks_revision, created_on"  # time_zone is missing
    refused = text(f"INSERT INTO project ({columns}) VALUES (1, :name, '', 1, :now)")
    with pytest.raises(IntegrityError) as caught, database.write() as session:
        session.execute(refused.bindparams(bindparam("now", NOW, UtcDateTime())), {"name": "s3" + "cret"})
    shown = "".join(traceback.format_exception(caught.value))
    assert "time_zone" in shown
    assert "s3cret" not in shown


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="without a zone"), database.write() as session:
        session.add(Project(name="Acme", created_on=datetime(2026, 1, 1)))  # noqa: DTZ001


def test_ids_sort_by_time_and_never_repeat() -> None:
    ids = [new_id() for _ in range(10_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    assert ids[0].version == 7
    assert ids[0].variant == "specified in RFC 4122"
