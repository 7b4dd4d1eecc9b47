"""Reading Asterisk's CEL file (cel_sqlite3_custom, same host) in short read-only transactions.

A read lock over a second makes Asterisk lose its own rows (busy_timeout); while it writes, reading has to wait.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from pbxhub.calls.cel import CelRow, read_row

BEFORE_ALL = -1  # a number before that of the first row
_CHUNK = 1_000  # rows read in one transaction, about 6 ms
_PATIENCE = 1.0  # seconds to wait for Asterisk to unlock the file


class CelUnreadableError(Exception):
    """The CEL file cannot be read; the text says why. busy: Asterisk writes to it, try again."""

    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(f"{path}: {error}")
        self.busy = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


def last_row(path: str) -> int:
    """The AcctId of the newest row, -1 when there is none yet. Raises CelUnreadableError."""
    (row,) = _select(path, "SELECT max(AcctId) AS newest FROM cel", {})
    return int(row["newest"] or BEFORE_ALL)


def rows_after(path: str, number: int) -> list[tuple[int, CelRow]]:
    """The next rows in the order they were written, a thousand at most. Raises CelUnreadableError."""
    statement = "SELECT * FROM cel WHERE AcctId > :number ORDER BY AcctId LIMIT :most"
    rows = _select(path, statement, {"number": number, "most": _CHUNK})
    return [(int(row["AcctId"]), read_row(dict(row))) for row in rows]


def _select(path: str, statement: str, values: dict[str, int]) -> list[sqlite3.Row]:
    try:
        address = f"{Path(path).absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=_PATIENCE)) as connection:
            connection.row_factory = sqlite3.Row
            connection.text_factory = lambda text: text.decode("utf-8", "replace")
            return connection.execute(statement, values).fetchall()
    except (sqlite3.Error, OSError) as error:
        raise CelUnreadableError(path, error) from None
