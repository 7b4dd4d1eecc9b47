"""Reading Asterisk's CEL file (cel_sqlite3_custom, same host) in short read-only transactions.

If a read lock lasts over a second, Asterisk loses its own rows (busy_timeout). While Asterisk writes, the hub waits.
Row numbers start again when the file is rotated or emptied, so a place is identified by the content of its row.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from pbxhub.calls.cel import CelRow, read_row
from pbxhub.calls.cel_calls import LONGEST_MARK, Place

_CHUNK = 1_000  # rows read in one transaction, about 6 ms
_PATIENCE = 1.0  # seconds to wait for Asterisk to unlock the file


class CelUnreadableError(Exception):
    """The CEL file cannot be read; the message says why. busy: Asterisk is writing to it, so try again."""

    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(f"{path}: {error}")
        self.busy = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def last_place(path: str) -> Place | None:
    """The place of the newest row; None while the file is empty. Raises CelUnreadableError."""
    rows = _select(path, "SELECT * FROM cel ORDER BY AcctId DESC LIMIT 1", {})
    return _numbered(rows[0])[0] if rows else None


def rows_after(path: str, place: Place) -> list[tuple[Place, CelRow]] | None:
    """The next rows in the order written, each with its place, at most a thousand. None when the place belongs to
    another file; deleting rows does not make it another file. Raises CelUnreadableError."""
    statement = "SELECT * FROM cel WHERE AcctId >= :number ORDER BY AcctId LIMIT :most"
    rows = [_numbered(row) for row in _select(path, statement, {"number": place.number, "most": _CHUNK + 1})]
    if not place.in_a_file:
        return rows
    if not rows or (rows[0][0].number == place.number and place.mark not in ("", rows[0][0].mark)):
        return None
    return rows[1:] if rows[0][0].number == place.number else rows


def _numbered(row: sqlite3.Row) -> tuple[Place, CelRow]:
    read = read_row(dict(row))
    return Place(int(row["AcctId"]), f"{read.eventtime} {read.eventtype} {read.uniqueid}"[:LONGEST_MARK]), read


def _select(path: str, statement: str, values: dict[str, int]) -> list[sqlite3.Row]:
    try:
        address = f"{Path(path).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE)) as connection:
            connection.row_factory = sqlite3.Row
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            return connection.execute(statement, values).fetchall()
    except (sqlite3.Error, OSError) as error:
        raise CelUnreadableError(path, error) from None
