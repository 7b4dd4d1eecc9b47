"""Reading a CEL table that Asterisk fills over the network (cel_pgsql, or cel_odbc) from a PostgreSQL.

One connection is kept and only read from. The rows come in the order of `id`: Asterisk inserts them one by one over one
connection, so no row becomes visible behind a later one.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from pbxhub.ami.cel_file import CHUNK, CelUnreadableError, behind, numbered
from pbxhub.calls.cel_calls import Place
from pbxhub.calls.cel_rows import CelRow
from pbxhub.store.cel_url import CelUrl
from pbxhub.store.postgresql import NETWORK_TIMEOUTS

_OPTIONS = {
    "options": "-c statement_timeout=5000 -c default_transaction_read_only=on -c timezone=UTC",
    "application_name": "pbxhub CEL",
}
_NAMES = {"cid_name": "cidname", "cid_num": "cidnum", "cid_dnid": "ciddnid", "extra": "eventextra"}
_NEWEST = sql.SQL("SELECT * FROM {} ORDER BY id DESC LIMIT 1")
_NEXT = sql.SQL("SELECT * FROM {} WHERE id >= %s ORDER BY id LIMIT %s")


class CelTable:
    """A table with the columns of cel_pgsql and a growing `id`. eventtype is text; eventtime is a double precision
    (seconds), a timestamp with time zone, or one without in UTC (usegmtime of cel_pgsql.conf)."""

    def __init__(self, url: CelUrl) -> None:
        self.name = url.name
        self._url = url
        self._connection: psycopg.Connection[dict[str, Any]] | None = None
        self._closed = False

    def last_place(self) -> Place | None:
        """The place of the newest row; None while there is none. Raises CelUnreadableError."""
        rows = self._select(_NEWEST)
        return rows[0][0] if rows else None

    def rows_after(self, place: Place) -> list[tuple[Place, CelRow]] | None:
        """The next rows in the order written, each with its place, at most CHUNK. None when the place belongs to rows
        that are no more: the table was emptied and begun anew. Raises CelUnreadableError."""
        return behind(place, self._select(_NEXT, place.number, CHUNK + 1))

    def close(self) -> None:
        """Ends the connection. A reading that still goes on in another thread ends its own."""
        self._closed = True
        self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _select(self, statement: sql.SQL, *values: int) -> list[tuple[Place, CelRow]]:
        wanted = statement.format(sql.Identifier(*self._url.table))
        try:
            rows = self._execute(wanted, values)
            return [numbered(int(row["id"]), _columns(row)) for row in rows]
        except (psycopg.Error, KeyError, ValueError) as error:
            self._disconnect()
            raise CelUnreadableError(self.name, _reason(error)) from None
        finally:
            if self._closed:
                self._disconnect()

    def _execute(self, wanted: sql.Composed, values: tuple[int, ...]) -> list[dict[str, Any]]:
        """On the connection there is; when it has broken meanwhile, on another one.

        Without NETWORK_TIMEOUTS: 1. the link to several PBXs goes down; 2. a read of each waits for
        a quarter of an hour or more; 3. they hold all threads, and the stages of all other PBXs wait, too.
        """
        if self._connection is not None:
            try:
                return self._connection.execute(wanted, values).fetchall()
            except psycopg.OperationalError:
                self._disconnect()
        conninfo = make_conninfo(self._url.conninfo, **NETWORK_TIMEOUTS, **_OPTIONS)
        self._connection = psycopg.connect(conninfo, autocommit=True, row_factory=dict_row)
        return self._connection.execute(wanted, values).fetchall()


def _columns(row: Mapping[str, Any]) -> dict[str, object]:
    """As cel_sqlite3_custom has them; a time as seconds."""
    columns = {_NAMES.get(name, name): value for name, value in row.items()}
    time, kind = columns.get("eventtime"), columns.get("eventtype")
    if not isinstance(kind, str):
        raise ValueError("the column eventtype must be text, so that Asterisk writes names into it")
    if isinstance(time, datetime):
        columns["eventtime"] = f"{(time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp():.6f}"
    elif isinstance(time, float):
        columns["eventtime"] = f"{time:.6f}"
    return columns


def _reason(error: Exception) -> Exception:
    return ValueError("the table has no column id that grows with every row") if isinstance(error, KeyError) else error
