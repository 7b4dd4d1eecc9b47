"""The start of every command: settings, database and key. Each failure is one sentence that names the variable.

Commands that need no more, such as a backup or the list of users, load nothing else: opening.py adds what publishing
and sending work with.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.command_settings import load_settings
from pbxhub.settings import Settings, SettingsError, with_key
from pbxhub.store.hub_keys import open_vault
from pbxhub.store.key_check import WrongKeyError, check_key, remember_key
from pbxhub.store.other_processes import others_at_work
from pbxhub.store.schema_revision import changes_tables, goes_down, is_current, is_known, revision_of, why_not_current
from pbxhub.store.session import Database, open_database
from pbxhub.vault import Vault, VaultError


@dataclass(frozen=True, slots=True)
class HubDatabase:
    """The checked database of the hub, and what belongs to it."""

    settings: Settings
    database: Database
    vault: Vault


def database_of(settings: Settings) -> Database:
    """The database. Does not connect yet."""
    return open_database(settings.database_url, direct_url=settings.database_direct_url)


def open_hub_database(migrating: bool = False) -> HubDatabase:
    """Checks the database, with migrating=True migrates its tables, and finds the key that belongs to it."""
    settings = load_settings()
    database = database_of(settings)
    with database_named():
        refuse_wrong_key(settings, database)
        if migrating:
            _refuse_newer_tables(database)
            _refuse_beside_others(database)
            _migrate(database)
        refuse_other_tables(database)
        settings = settings_with_key(settings, database)
        return HubDatabase(settings, database, _vault_of(database, settings.secret_key))


def refuse_other_tables(database: Database) -> None:
    """Unless the tables are those of this version."""
    if sentence := why_not_current(database):
        raise click.ClickException(sentence)


@contextmanager
def database_named() -> Iterator[None]:
    """Turns a database error into a sentence."""
    try:
        yield
    except SQLAlchemyError as error:
        raise click.ClickException(f"PBXHUB_DATABASE_URL: the database cannot be opened: {_reason(error)}") from None


def refuse_wrong_key(settings: Settings, database: Database) -> None:
    """Call it before anything is written, even by a migration: a different key cannot decrypt the stored secrets, and
    would encrypt new ones so that the other hosts cannot read them."""
    try:
        check_key(database, settings.secret_key, str(settings.key_file))
    except WrongKeyError as error:
        raise click.ClickException(str(error)) from None


def _vault_of(database: Database, key: bytes) -> Vault:
    try:
        return open_vault(database, key)
    except VaultError as error:
        raise click.ClickException(f"PBXHUB_SECRET_KEY: {error}") from None


def settings_with_key(settings: Settings, database: Database) -> Settings:
    """The settings with the database's key. When the database has none, creates a key and stores its check value."""
    try:
        settings = with_key(settings)
        remember_key(database, settings.secret_key, str(settings.key_file))
    except (SettingsError, WrongKeyError) as error:
        raise click.ClickException(str(error)) from None
    return settings


def _refuse_beside_others(database: Database, revision: str = "head") -> None:
    if changes_tables(database, revision) and (others := others_at_work(database, is_current(database))):
        raise click.ClickException(
            "The migration would change tables that other processes still use:\n"
            + "".join(f"  {other}\n" for other in others)
            + "Stop every process of the hub, then start again. Nothing was changed. "
            "If these are not processes of the hub: pbxhub migrate --beside-others"
        )


def _refuse_newer_tables(database: Database) -> None:
    if (revision := revision_of(database)) and not is_known(revision):
        refuse_other_tables(database)


def _refuse_revision(database: Database, revision: str, losing: bool) -> None:
    if not is_known(revision):
        raise click.ClickException(f"There is no revision {revision}. Without one, the newest is taken: pbxhub migrate")
    current = revision_of(database)
    if goes_down(current, revision) and not losing:
        raise click.ClickException(
            f"The tables are at {current}. Those of {revision} have no room for what is newer: it would be deleted, "
            "and links, FastAGI addresses and second factors that depend on it would stop working. To go back to an "
            "older version, restore the backup that was made before the upgrade. "
            f"To lose it all the same: pbxhub migrate {revision} --yes-lose-newer-data"
        )


def _reason(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def migrate_database(revision: str, beside_others: bool = False, losing: bool = False) -> bool:
    """Brings the tables to the revision; "base" deletes them all. Whether they are the newest then.

    beside_others: also while other processes use the database. losing: also down, to tables that hold less.
    """
    settings = load_settings()
    database = database_of(settings)
    with database_named():
        if revision != "base":
            refuse_wrong_key(settings, database)
        _refuse_newer_tables(database)
        if revision not in ("base", "head"):
            _refuse_revision(database, revision, losing)
        if not beside_others:
            _refuse_beside_others(database, revision)
        _migrate(database, revision)
        current = is_current(database)
        if current:
            settings_with_key(settings, database)
    return current


def write_draft(message: str) -> None:
    """For developers: writes a migration to the tables in the code."""
    from pbxhub.store.migrate import draft_migration

    draft_migration(database_of(load_settings()), message)


def _migrate(database: Database, revision: str = "head") -> None:
    """Loads Alembic if there is something to do: with all tables that takes longer than most commands run."""
    if is_current(database) and not changes_tables(database, revision):
        return
    from pbxhub.store.migrate import migrate

    migrate(database, revision)
