"""Backs the database up while the hub runs: one consistent state of it, in one file."""

import sqlite3
import tempfile
from datetime import datetime
from pathlib import Path

from sqlalchemy import text

from pbxhub import __version__
from pbxhub.maintenance.backup_file import BackupError, Manifest, seal_key, write_backup
from pbxhub.maintenance.postgres_tools import run_tool
from pbxhub.store.schema_revision import revision_of
from pbxhub.store.session import Database


def back_up(database: Database, url: str, key: bytes, passphrase: str, path: Path, now: datetime) -> Manifest:
    """Writes a backup to `path`. url: of the database. passphrase: seals the key into the file; "" leaves the key out.

    Everything that was committed before the call is in it. Needs room for a second copy of the database beside `path`.
    Raises BackupError.
    """
    if path.is_dir() or not path.parent.is_dir():
        raise BackupError(f"{path} is not a file in an existing folder. Give a file name, /var/backups/pbxhub.tar.")
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".pbxhub-backup-") as folder:
        copy = Path(folder) / "database"
        try:
            _copy_sqlite(database, copy) if database.is_sqlite else run_tool("pg_dump", url, "-Fc", "-f", str(copy))
            manifest = _manifest(database, now)
            write_backup(path, manifest, copy, seal_key(key, passphrase) if passphrase else b"")
        except OSError as error:
            raise BackupError(f"{path} cannot be written: {error.strerror or error}") from None
    return manifest


def _copy_sqlite(database: Database, copy: Path) -> None:
    """SQLite's online backup in one step: one state of the database, while writers go on (WAL). In several steps it
    would begin again with every commit of the hub."""
    source = database.engine.raw_connection()
    try:
        target = sqlite3.connect(copy)
        try:
            source.driver_connection.backup(target, pages=-1)  # type: ignore[union-attr]
            target.execute("PRAGMA journal_mode=DELETE")  # one file, without -wal beside it
        finally:
            target.close()
    finally:
        source.close()


def _manifest(database: Database, now: datetime) -> Manifest:
    with database.engine.connect() as connection:
        canary = connection.scalar(text("SELECT sealed FROM key_check")) or ""
    return Manifest(
        "sqlite" if database.is_sqlite else "postgresql",
        __version__,
        revision_of(database) or "",
        now.isoformat(),
        str(canary),
    )
