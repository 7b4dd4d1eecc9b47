"""The file of a SQLite database: made for its owner alone, and noticed when it is removed or replaced under the hub.

SQLite goes on writing into a file that no path leads to any more: all that is acknowledged then is lost at the end.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError


class FileGoneError(Exception):
    """What was opened is not what lies there now."""

    def __init__(self) -> None:
        super().__init__(
            "the SQLite file was removed or replaced while the hub ran, nothing more is accepted: put that file back, "
            "or restart the hub to go on with what lies there now"
        )


class SqliteFile:
    """One per opened database. Its methods are handlers of SQLAlchemy's events and take what these give."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._opened: tuple[int, int] | None = None

    def prepare(self, *_event: Any) -> None:
        """Before a connection: makes the file at the first one. SQLite gives -wal and -shm the mode of the file."""
        self.check()
        if self._opened is None:
            with suppress(OSError):  # it is there; or SQLite says what is wrong
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._opened = self._identity()

    def check(self, *_event: Any) -> None:
        """Before a transaction and before its commit. Raises OperationalError: the database is away."""
        if self._opened is not None and self._identity() != self._opened:
            raise OperationalError(None, None, FileGoneError())

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


def open_to_others(path: str) -> bool:
    """Whether others than the owner of the file may read or change it."""
    return bool(os.stat(path).st_mode & 0o077)
