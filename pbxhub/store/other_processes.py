"""Which other processes use the database now: a migration must not change the tables under an older version.

The older version would fail at its next statement: 0.1.0 writes calls and deliveries without columns that later tables
require. The order of events without this check: 1. an old listener hears a call; 2. the migration commits; 3. the old
listener cannot write the call, keeps it in memory, and loses it when it is killed. tests/test_upgrade_beside_others.py
"""

import sqlite3
from contextlib import closing
from datetime import UTC

from sqlalchemy import text

from pbxhub.store.postgresql import CLIENT_NAME
from pbxhub.store.session import Database

_PATIENCE = 2.0  # seconds for a short read of SQLite to end
_SESSIONS = text("""
    SELECT count(*) AS number, coalesce(host(client_addr), 'a socket') AS place, min(backend_start) AS since
      FROM pg_stat_activity
     WHERE datname = current_database() AND usename = current_user AND backend_type = 'client backend'
       AND pid <> pg_backend_pid() AND application_name IS DISTINCT FROM CAST(:own AS text)
       AND (application_name = '' OR application_name LIKE 'pbxhub%')
       AND (state <> 'idle' OR state_change > now() - interval '1 minute')
     GROUP BY place ORDER BY since
""")


def others_at_work(database: Database, of_this_version: bool = False) -> list[str]:
    """What tells of other processes that seem to be a hub at work; nothing when there are none. of_this_version: those
    count as well, because the tables are theirs; with older tables, they only wait for the migration.

    PostgreSQL: sessions of our user that were used in the last minute, without a name of their own (such as psql's).
    Older ones may be leftovers of a pooler. SQLite: whoever has the file open, whatever it is.
    """
    if database.is_sqlite or of_this_version:
        database.engine.dispose()  # our own connections would count
    if database.is_sqlite:
        return _with_the_file_open(str(database.engine.url.database))
    with database.engine.connect() as connection:
        rows = connection.execute(_SESSIONS, {"own": None if of_this_version else CLIENT_NAME}).all()
    return [
        f"{row.number} session(s) from {row.place}, since {row.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        for row in rows
    ]


def _with_the_file_open(path: str) -> list[str]:
    """With this mode, SQLite opens a file with a WAL only while nobody else has it open."""
    try:
        with closing(sqlite3.connect(path, timeout=_PATIENCE)) as connection:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            return []  # whoever migrates finds out, and says so
        return [f"{path} is open (see: fuser -v {path})"]
    return []
