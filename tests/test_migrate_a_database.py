"""An operator brings a database up and down."""

from datetime import UTC, datetime

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from pbxhub.store.schema import is_current, metadata, migrate
from pbxhub.store.session import Database


def test_a_migrated_database_is_what_the_code_says(database: Database) -> None:
    assert is_current(database)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_down_leaves_nothing_and_up_again_is_current(database: Database) -> None:
    migrate(database, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    migrate(database)
    assert is_current(database)


def test_accounts_whose_addresses_become_one_all_go_on_to_sign_in(database: Database) -> None:
    """The one spelt right keeps the address, or the oldest with a password; the other gets one of its own. All keep
    their projects, and the audit log says who was renamed."""
    migrate(database, "0003")
    users = {
        1: ("ANNA@example.com", ""),
        2: ("\uff41nna@example.com", "hash"),
        3: ("bob@b\u00fccher.de", "hash"),
        4: ("bob@xn--bcher-kva.de", "hash"),
        5: ("carol@example.com", "hash"),
        6: ("no address", "hash"),
    }
    with database.engine.begin() as connection:
        connection.execute(text(_PROJECT), {"now": _now(database)})
        for user_id, (email, password) in users.items():
            row = {"id": user_id, "email": email, "password": password, "now": _now(database)}
            connection.execute(text(_USER), row)
            connection.execute(text(_MEMBER), row)
    migrate(database)
    with database.engine.connect() as connection:
        found = {row.id: row.email for row in connection.execute(text("SELECT id, email FROM user_account"))}
        members = connection.scalar(text("SELECT count(*) FROM membership"))
        subjects = connection.execute(text("SELECT subject FROM audit_entry ORDER BY subject")).scalars().all()
    assert found == {1: "anna+1@example.com", 2: "anna@example.com", 3: "bob+3@xn--bcher-kva.de",
                     4: "bob@xn--bcher-kva.de", 5: "carol@example.com", 6: "no address"}  # fmt: skip
    assert members == 6
    assert subjects == ["anna+1@example.com", "anna@example.com", "bob+3@xn--bcher-kva.de"]


_PROJECT = (
    "INSERT INTO project (id, name, time_zone, country, webhooks_revision, created_on) VALUES (1, 'p', '', '', 1, :now)"
)
_USER = """INSERT INTO user_account
           (id, email, name, password, active, fs_uniquifier, recovery_codes, language, created_on)
           VALUES (:id, :email, '', :password, true, 'u' || :id, '[]', '', :now)"""
_MEMBER = "INSERT INTO membership (id, project_id, user_id, role, created_on) VALUES (:id, 1, :id, 'owner', :now)"


def _now(database: Database) -> object:
    return 0 if database.is_sqlite else datetime.now(UTC)
