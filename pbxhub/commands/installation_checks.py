"""Checks of this host for `pbxhub check`: disk, owner of the files, a database that takes no writes, and clocks."""

import os
import pwd
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select, text
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.finding import Finding
from pbxhub.settings import Settings
from pbxhub.store.accounts import Pbx
from pbxhub.store.clock import MOST_APART
from pbxhub.store.database_errors import reason
from pbxhub.store.parts import PartSeen
from pbxhub.store.session import Database

LEAST_FREE_BYTES = 500 * 1024 * 1024
_FUTURE = timedelta(minutes=1)


def check_disk(folder: Path, least_bytes: int = LEAST_FREE_BYTES) -> Finding:
    """Whether there is room for what the hub writes."""
    free = shutil.disk_usage(folder).free
    if free < least_bytes:
        return Finding(
            False,
            f"Only {free / 1e6:.0f} MB are free at {folder}; when the disk is full, no call is saved. Free some space, "
            "or keep less: PBXHUB_KEEP_DELIVERED, PBXHUB_KEEP_CALLS, then pbxhub prune.",
        )
    return Finding(True, f"{free / 1e9:.1f} GB are free at {folder}.")


def check_files(settings: Settings, database: Database) -> Iterator[Finding]:
    """Files that the user of the hub cannot write, and a key that others can read.

    They come from commands that ran as another user, as root above all: that user owns what SQLite and the hub made
    then. Whose they should be is said by the owner of the data folder.
    """
    folder = settings.data_dir
    if not folder.is_dir():
        return  # on PostgreSQL, with the key in the settings, nothing has to be kept there
    owner = folder.stat().st_uid
    files = [*_database_files(database), *sorted(path for path in folder.iterdir() if path.is_file())]
    strange = [path for path in dict.fromkeys(files) if path.stat().st_uid != owner or not os.access(path, os.W_OK)]
    if not os.access(folder, os.W_OK | os.X_OK):
        strange.insert(0, folder)
    for path in strange:
        yield Finding(
            False,
            f"{path} belongs to {_user(path.stat().st_uid)}, and this is the hub of {_user(owner)}. Stop the hub, run "
            f"chown -R {_user(owner)} {path if path.is_dir() else path.parent}, and run commands as {_user(owner)}.",
        )
    key = settings.key_file
    if key.exists() and key.stat().st_mode & 0o077:
        yield Finding(False, f"Other users of this host may read the secret key. Run: chmod 600 {key}")


def check_writes(database: Database) -> Finding | None:
    """A database that answers and takes no writes; None when it does."""
    try:
        with database.write() as session:
            session.execute(text("UPDATE part_seen SET seen_on = seen_on WHERE name = ''"))
    except SQLAlchemyError as error:
        where = "" if database.is_sqlite else " It may be a standby, or set to default_transaction_read_only."
        return Finding(
            False,
            f"The database takes no writes: {reason(error).strip().splitlines()[0]}.{where} Calls are kept in the "
            "memory of the listener until it does; see docs/operations/repair.md.",
        )
    return None


def check_clock(database: Database, now: datetime | None = None) -> Finding | None:
    """A clock that differs from the database's, or was set back since the hub last wrote; None when it is right."""
    now = now or datetime.now(UTC)
    with database.read() as session:
        if not database.is_sqlite:
            difference = abs(session.execute(text("SELECT now()")).scalar_one() - now)
            if difference > MOST_APART:
                return Finding(
                    False,
                    f"The clocks of this host and of the database differ by {difference.total_seconds():.0f} s. "
                    "Run NTP on both.",
                )
        seen = [session.scalar(select(func.max(column))) for column in (PartSeen.seen_on, Pbx.seen_on)]
    newest = max((moment for moment in seen if moment), default=None)
    if newest and newest - now > _FUTURE:
        return Finding(
            False,
            f"The hub last wrote at {newest:%Y-%m-%d %H:%M:%S} UTC, and here it is {now:%Y-%m-%d %H:%M:%S} UTC: the "
            "clock was set back, or another host's is ahead. Run NTP on every host. Retries wait until "
            "the later time, or for Send on the Webhook error check.",
        )
    return None


def _database_files(database: Database) -> list[Path]:
    if not database.is_sqlite:
        return []
    path = str(database.engine.url.database)
    return [found for end in ("", "-wal", "-shm", "-listener") if (found := Path(path + end)).exists()]


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
