"""Puts a backup in the place of an empty database, with the key that opens its secrets.

Everything that can be refused is refused before anything is written: the wrong kind of database, one that is not empty,
a version that is too old, a passphrase or a key that is not the right one.
"""

import os
import sqlite3
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import inspect
from sqlalchemy.engine import make_url

from pbxhub.delivery.outbox.restored import fail_restored
from pbxhub.maintenance.backup_file import BackupError, BackupFile, Manifest, open_backup, open_key
from pbxhub.maintenance.postgres_tools import run_tool
from pbxhub.settings import Settings, key_text
from pbxhub.store.migrate import migrate
from pbxhub.store.schema_revision import is_known
from pbxhub.store.session import open_database
from pbxhub.vault import Vault, split_keys


@dataclass(frozen=True, slots=True)
class Restored:
    """made_on: when the backup was made. held: deliveries that waited then, and are on the error check now."""

    made_on: datetime
    held: int


def restore(path: Path, settings: Settings, passphrase: str, now: datetime) -> Restored:
    """Restores into settings.database_url. passphrase: of the backup's key; "" when the host has the key.

    Raises BackupError; nothing was changed then, unless the text says otherwise.
    """
    with open_backup(path) as backup:
        manifest = backup.manifest
        if not is_known(manifest.revision):
            raise BackupError(
                f"This backup was made by pbxhub {manifest.version}, whose tables this version does not know. "
                f"Install version {manifest.version} or a newer one."
            )
        _refuse_other_kind(manifest, settings.database_url)
        _refuse_filled(settings)
        key = _key(backup, settings, passphrase)
        _place(backup, settings)
        if not settings.secret_key:
            _keep_key(settings.key_file, key)
    database = open_database(settings.database_url, direct_url=settings.database_direct_url)
    try:
        migrate(database)
        with database.write() as session:
            return Restored(manifest.made_on, fail_restored(session, now))
    finally:
        database.close()


def _refuse_other_kind(manifest: Manifest, url: str) -> None:
    kind = "sqlite" if url.startswith("sqlite:") else "postgresql"
    if kind != manifest.kind:
        names = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
        raise BackupError(
            f"This is a backup of a {names[manifest.kind]} database, and PBXHUB_DATABASE_URL names a {names[kind]} "
            f"one. Restore it into {names[manifest.kind]}, then run: pbxhub move --to URL"
        )


def _refuse_filled(settings: Settings) -> None:
    """SQLite: there must be no file yet. PostgreSQL: a database without tables."""
    if settings.database_url.startswith("sqlite:"):
        file = _sqlite_path(settings.database_url)
        if file.exists():
            raise BackupError(f"There is a database at {file} already. Stop the hub and move that file away first.")
        return
    database = open_database(settings.database_url, direct_url=settings.database_direct_url)
    try:
        with database.engine.connect() as connection:
            if inspect(connection).get_table_names():
                raise BackupError("The database of PBXHUB_DATABASE_URL is not empty. Create a new one and name that.")
    finally:
        database.close()


def _key(backup: BackupFile, settings: Settings, passphrase: str) -> bytes:
    """The key that opens the secrets of the backup."""
    sealed, known = backup.sealed_key, settings.secret_key
    if passphrase and not sealed:
        raise BackupError("This backup holds no key, so no passphrase is needed. Put its key into PBXHUB_SECRET_KEY.")
    key = open_key(sealed, passphrase) if passphrase else known
    if not key:
        advice = "Give the passphrase of the backup." if sealed else "Set PBXHUB_SECRET_KEY to the key of that hub."
        raise BackupError(f"The key of this backup is missing on this host. {advice}")
    if not Vault(key).can_open(backup.manifest.canary):
        raise BackupError(
            "The key of this host is not the one of the backup. Set PBXHUB_SECRET_KEY to the key of that hub"
            + (", or give the passphrase of the backup. " if sealed and not passphrase else ". ")
            + "Nothing was changed."
        )
    if known and not {*split_keys(key)} <= {*split_keys(known)}:
        raise BackupError(
            "This host has another key than the backup. Take PBXHUB_SECRET_KEY out of the settings, or move "
            f"{settings.key_file} away: the restore puts the right key there. Nothing was changed."
        )
    return key


def _place(backup: BackupFile, settings: Settings) -> None:
    if backup.manifest.kind == "sqlite":
        _place_sqlite(backup, _sqlite_path(settings.database_url))
        return
    with tempfile.TemporaryDirectory(prefix="pbxhub-restore-") as folder:
        dump = Path(folder) / "database.dump"
        backup.extract_database(dump)
        run_tool(
            "pg_restore", settings.database_direct_url or settings.database_url, "--single-transaction",
            "--exit-on-error", "--no-owner", "--no-privileges", "--dbname", _name_of(settings.database_url), str(dump),
        )  # fmt: skip


def _place_sqlite(backup: BackupFile, target: Path) -> None:
    """Appears whole or not at all."""
    draft = target.with_name(f".{target.name}.restoring")
    draft.unlink(missing_ok=True)
    try:
        backup.extract_database(draft)
        connection = sqlite3.connect(draft)
        try:
            found = connection.execute("PRAGMA integrity_check").fetchone()[0]
        finally:
            connection.close()
        if found != "ok":
            raise BackupError(f"The database in this backup is damaged ({found}). Take another backup.")
        os.replace(draft, target)
    except sqlite3.DatabaseError as error:
        raise BackupError(f"The database in this backup is damaged ({error}). Take another backup.") from None
    except OSError as error:
        raise BackupError(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        draft.unlink(missing_ok=True)


def _keep_key(path: Path, key: bytes) -> None:
    with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(key_text(key).encode())
        file.flush()
        os.fsync(file.fileno())


def _sqlite_path(url: str) -> Path:
    return Path(make_url(url).database or "")


def _name_of(url: str) -> str:
    return make_url(url).database or ""
