"""CEL in SQLite, as cel_sqlite3_custom of Asterisk writes it."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from pbxhub.calls.cel_rows import CelRow

COLUMNS = (
    "eventtype, eventtime, cidname, cidnum, ciddnid, exten, context, channame, appname, appdata, uniqueid, linkedid"
)


def new_cel(path: Path) -> Path:
    """An empty file as cel_sqlite3_custom makes it."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE cel (AcctId INTEGER PRIMARY KEY, {COLUMNS}, peer, userfield, eventextra)")
        connection.commit()
    return path


def write_call(path: Path, first: str, leg: str, began: float, rows: slice = slice(None)) -> None:
    """The rows that Asterisk 22 wrote for an answered call that the caller ended; or some of them."""
    trunk = ("", "79161234567", "5550201", "5550201", "from-trunk", "PJSIP/trunk-00000000")
    agent = ("Agent One", "101", "", "s", "from-internal", "PJSIP/101-00000001")
    by = '{"hangupcause":16,"hangupsource":"PJSIP/trunk-00000000"}'
    whole = [
        ("CHAN_START", began, *trunk, "", "", first, first, ""),
        ("CHAN_START", began + 0.1, *agent, "", "", leg, first, ""),
        ("ANSWER", began + 2, *agent, "AppDial", "(Outgoing Line)", leg, first, ""),
        ("ANSWER", began + 2.1, *trunk, "Dial", "PJSIP/101,30", first, first, ""),
        ("HANGUP", began + 9, *trunk, "", "", first, first, by),
        ("CHAN_END", began + 9, *trunk, "", "", first, first, ""),
        ("HANGUP", began + 9.1, *agent, "", "", leg, first, by),
        ("CHAN_END", began + 9.1, *agent, "", "", leg, first, ""),
        ("LINKEDID_END", began + 9.1, *agent, "", "", leg, first, ""),
    ]
    with closing(sqlite3.connect(path)) as connection:
        marks = ", ".join("?" * 13)
        connection.executemany(f"INSERT INTO cel ({COLUMNS}, eventextra) VALUES ({marks})", whole[rows])
        connection.commit()


def write_recorded(path: Path, rows: Iterable[CelRow]) -> None:
    """Rows of a recording; an event that the dialplan defined has its name as its type."""
    names = [name.strip() for name in COLUMNS.split(",")] + ["peer", "userfield", "eventextra"]
    marks = ", ".join(f":{name}" for name in names)
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            f"INSERT INTO cel ({', '.join(names)}) VALUES ({marks})",
            [asdict(row) | {"eventtype": row.userdeftype or row.eventtype} for row in rows],
        )
        connection.commit()


def keep_first(path: Path, count: int) -> None:
    """Takes out all but the first rows."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DELETE FROM cel WHERE AcctId > ?", (count,))
        connection.commit()
