"""Where a PBX writes its CEL over the network: the URL of a PostgreSQL table, as operators give it."""

import re
from dataclasses import dataclass, field

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

LONGEST = 1000
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?", re.ASCII)
_OPTIONS = frozenset({"table", "sslmode", "sslrootcert"})


@dataclass(frozen=True, slots=True)
class CelUrl:
    """conninfo: for the driver. table: its name, with a schema or without. name: all of it without the password."""

    conninfo: str = field(repr=False)
    table: tuple[str, ...]
    name: str


def read_cel_url(text: str) -> CelUrl | None:
    """postgresql://USER:PASSWORD@HOST:PORT/DATABASE?table=cel&sslmode=verify-full; None when it is no such URL.

    The table is `cel` unless given.
    """
    try:
        url = make_url(text) if len(text) <= LONGEST and text.isprintable() else None
    except (ArgumentError, ValueError):
        return None
    if url is None or url.drivername != "postgresql" or not (url.host and url.database and url.username):
        return None
    options = {name: value for name, value in url.query.items() if isinstance(value, str)}
    if len(options) < len(url.query) or not options.keys() <= _OPTIONS:  # given twice, or another one
        return None
    table = options.pop("table", "cel")
    if not _TABLE.fullmatch(table):
        return None
    driver = url.set(query=options)
    shown = f"{_place(driver)} {table}"
    return CelUrl(driver.render_as_string(hide_password=False), tuple(table.split(".")), shown)


def _place(url: URL) -> str:
    return f"{url.host}:{url.port or 5432}/{url.database}"
