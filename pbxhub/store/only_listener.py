"""On SQLite one process listens to the PBXs: it has no leases that would share them (listeners.py)."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from pbxhub.store.session import Database


class OtherListenerError(Exception):
    """Another process listens to the PBXs of this SQLite file. The message says what to do."""


@contextmanager
def only_listener(database: Database) -> Iterator[None]:
    """While the block runs, no other process may listen to the PBXs of this database. Does nothing on PostgreSQL.

    Two listeners would overwrite each other's notes on the calls in progress. The lock is on a file beside that of the
    database and ends with the process, however it ends. The file stays: were it deleted, a third process could lock
    a new one while the second still waits for the old one. A symbolic link to the database is the same
    database. Raises OtherListenerError, or OSError.
    """
    if not database.is_sqlite or not database.engine.url.database:
        yield
        return
    file = os.open(f"{os.path.realpath(database.engine.url.database)}-listener", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise OtherListenerError(
            f"another process already listens to the PBXs of {database.engine.url.database}: pbxhub run does, too. "
            "Stop it first; several listeners need PostgreSQL"
        ) from None
    try:
        yield
    finally:
        os.close(file)
