"""The file of a SQLite database: readable by its owner only; the hub notices when it is removed or replaced.

SQLite continues to write to a deleted file; everything written then is lost when the hub stops.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError


class FileGoneError(Exception):
    """The opened file is no longer the file at the path."""

    def __init__(self) -> None:
        super().__init__(
            "the SQLite file was removed or replaced while the hub ran, so nothing more is accepted: restore the file, "
            "or restart the hub to continue with the file that is there now"
        )


class SqliteFile:
    """One per opened database. Its methods handle SQLAlchemy's events."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).absolute()
        self._opened: tuple[int, int] | None = None

    def prepare(self, *_event: Any) -> None:
        """Runs before a connection; creates the file before the first one. SQLite gives -wal and -shm the same mode."""
        self.check()
        if self._opened is None:
            with suppress(OSError):  # it is there; or SQLite says what is wrong
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._opened = self._identity()

    def check(self, *_event: Any) -> None:
        """Runs before a transaction and before its commit. Raises OperationalError if the file is gone."""
        if self._opened is not None and self._identity() != self._opened:
            raise OperationalError(None, None, FileGoneError())

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_dev, found.st_ino


def open_to_others(path: str) -> bool:
    """Whether users other than the owner of the file may read or change it."""
    return bool(os.stat(path).st_mode & 0o077)
