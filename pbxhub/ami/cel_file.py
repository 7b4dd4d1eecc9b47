"""Reading Asterisk's CEL file (cel_sqlite3_custom, same host) in short read-only transactions.

If a read lock lasts over a second, Asterisk loses its own rows (busy_timeout). While Asterisk writes, the hub waits. A
busy Asterisk locks the file for each row anew and leaves it open for moments only, so the hub tries again and again:
SQLite's own waiting (busy_timeout) tries ten times a second, and got no row for seconds.
Row numbers start again when the file is rotated or emptied, so a place is identified by the content of its row.
"""

import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Protocol

from pbxhub.calls.cel_calls import LONGEST_MARK, Place
from pbxhub.calls.cel_rows import CelRow, read_row
from pbxhub.calls.charsets import decode

CHUNK = 1_000  # rows read in one transaction, about 6 ms
_LOCK_TIMEOUT = 2.0  # seconds to wait for Asterisk to unlock the file
_BETWEEN = 0.002  # seconds between two tries


class CelUnreadableError(Exception):
    """CEL cannot be read; the message says why. busy: Asterisk is writing to it, so try again."""

    def __init__(self, name: str, error: Exception) -> None:
        super().__init__(f"{name}: {str(error).strip()}")
        self.busy = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


class CelSource(Protocol):
    """Where the rows of CEL are: a file, or a table over the network (cel_table.py)."""

    name: str

    def last_place(self) -> Place | None: ...

    def rows_after(self, place: Place) -> list[tuple[Place, CelRow]] | None: ...

    def close(self) -> None: ...


class CelFile:
    """A file. charset: of names in it that are not UTF-8."""

    def __init__(self, path: str, charset: str) -> None:
        self.name = path
        self._charset = charset

    def last_place(self) -> Place | None:
        """The place of the newest row; None while there is none. Raises CelUnreadableError."""
        rows = self._select("SELECT * FROM cel ORDER BY AcctId DESC LIMIT 1", {})
        return rows[0][0] if rows else None

    def rows_after(self, place: Place) -> list[tuple[Place, CelRow]] | None:
        """The next rows in the order written, each with its place, at most CHUNK. None when the place belongs to
        another file; deleting rows does not make it another file. Raises CelUnreadableError."""
        statement = "SELECT * FROM cel WHERE AcctId >= :number ORDER BY AcctId LIMIT :most"
        return behind(place, self._select(statement, {"number": place.number, "most": CHUNK + 1}))

    def close(self) -> None:
        """Nothing is open between two readings."""

    def _select(self, statement: str, values: dict[str, int]) -> list[tuple[Place, CelRow]]:
        try:
            address = f"{Path(self.name).absolute().as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, uri=True, timeout=0)) as connection:
                connection.row_factory = sqlite3.Row
                connection.text_factory = lambda text: decode(text, self._charset)
                rows = _patiently(connection, statement, values)
        except (sqlite3.Error, OSError) as error:
            raise CelUnreadableError(self.name, error) from None
        return [numbered(int(row["AcctId"]), dict(row)) for row in rows]


def _patiently(connection: sqlite3.Connection, statement: str, values: dict[str, int]) -> list[sqlite3.Row]:
    """The rows, as soon as the file is unlocked. Raises sqlite3.OperationalError when that takes too long."""
    ends = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            return connection.execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
        time.sleep(_BETWEEN)


def numbered(number: int, columns: Mapping[str, object]) -> tuple[Place, CelRow]:
    """A row with its place."""
    row = read_row(columns)
    return Place(number, f"{row.eventtime} {row.eventtype} {row.uniqueid}"[:LONGEST_MARK]), row


def behind(place: Place, rows: list[tuple[Place, CelRow]]) -> list[tuple[Place, CelRow]] | None:
    """The rows behind a place, of those from its number on; None when that number has another row by now."""
    if not place.in_a_file:
        return rows
    if not rows or (rows[0][0].number == place.number and place.mark not in ("", rows[0][0].mark)):
        return None
    return rows[1:] if rows[0][0].number == place.number else rows
