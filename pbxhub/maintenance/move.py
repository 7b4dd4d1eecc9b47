"""Copies a whole database into another one, of either kind; interrupted, it goes on where it stopped.

Tables are copied in the order in which they refer to each other, rows in the order of their primary keys, a batch in
each transaction. So the last key in the target says how far a table is: no state is kept elsewhere.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Integer, Row, Table, func, insert, select, text, tuple_
from sqlalchemy.types import BigInteger

from pbxhub import __version__
from pbxhub.maintenance.backup_file import BackupError
from pbxhub.store.all_tables import metadata
from pbxhub.store.migrate import migrate
from pbxhub.store.schema_revision import is_known, revision_of, why_not_current
from pbxhub.store.session import Database

_BATCH = 2000  # rows
Progress = Callable[[str, int, int], None]
"""Called with the name of a table, its rows copied so far, and all its rows."""


def move(source: Database, target: Database, progress: Progress) -> dict[str, int]:
    """Copies everything, and returns the number of rows by table, the same in both. Nobody may write to the source
    meanwhile: on SQLite the move holds the write lock, on PostgreSQL it locks the tables against writers.

    Raises BackupError when the target holds another hub's rows or the tables of a newer version, or when the counts
    differ at the end.
    """
    if sentence := why_not_current(source):
        raise BackupError(sentence)
    _refuse_newer(target)
    migrate(target)
    tables = metadata.sorted_tables
    with _frozen(source, tables) as reading:
        _refuse_strangers(reading, target, tables)
        rows = {table.name: _copy(reading, target, table, progress) for table in tables}
        _compare(target, tables, rows)
    _set_sequences(target, tables)
    return rows


@contextmanager
def _frozen(source: Database, tables: Sequence[Table]) -> Iterator[Connection]:
    """A transaction that sees the source as it is now, and lets nobody change it."""
    with source.write() as session:
        connection = session.connection()
        if not source.is_sqlite:
            names = ", ".join(f'"{table.name}"' for table in tables)
            connection.exec_driver_sql(f"LOCK TABLE {names} IN EXCLUSIVE MODE")
            connection.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        yield connection


def _refuse_newer(target: Database) -> None:
    revision = revision_of(target)
    if revision is not None and not is_known(revision):
        raise BackupError(
            f"The target's tables were made by a newer version than this one, {__version__}: their revision {revision} "
            "is not known here. Name an empty database."
        )


def _refuse_strangers(reading: Connection, target: Database, tables: Sequence[Table]) -> None:
    """The target may hold a part of this very database, from a move that was interrupted, and nothing else."""
    with target.read() as session:
        for table in tables:
            first, other = _first(reading, table), _first(session.connection(), table)
            if other is not None and other != first:
                raise BackupError(
                    f"The target is not empty: its table {table.name} has rows that are not of this hub. "
                    "Name an empty database."
                )


def _first(connection: Connection, table: Table) -> tuple[Any, ...] | None:
    """The first row, as far as it never changes: its key and the moment it was made."""
    columns = [*table.primary_key.columns, *(column for column in table.columns if column.name == "created_on")]
    row = connection.execute(select(*columns).order_by(*table.primary_key.columns).limit(1)).first()
    return tuple(row) if row else None


def _copy(reading: Connection, target: Database, table: Table, progress: Progress) -> int:
    """Copies what is not there yet; returns how many rows the table has."""
    key = list(table.primary_key.columns)
    total = reading.scalar(select(func.count()).select_from(table)) or 0
    with target.read() as session:
        done = session.scalar(select(func.count()).select_from(table)) or 0
        newest = session.execute(select(*key).order_by(*(column.desc() for column in key)).limit(1)).first()
    last = tuple(newest) if newest else ()
    while True:
        progress(table.name, done, total)
        query = select(table).order_by(*key).limit(_BATCH)
        if last:
            query = query.where(tuple_(*key) > tuple_(*last) if len(key) > 1 else key[0] > last[0])
        rows = reading.execute(query).all()
        if not rows:
            return total
        with target.write() as writing:
            (_insert if target.is_sqlite else _copy_in)(writing.connection(), table, rows)
        last = tuple(getattr(rows[-1], column.name) for column in key)
        done += len(rows)


def _insert(connection: Connection, table: Table, rows: Sequence[Row[Any]]) -> None:
    connection.execute(insert(table), [dict(row._mapping) for row in rows])


def _copy_in(connection: Connection, table: Table, rows: Sequence[Row[Any]]) -> None:
    """By COPY, which costs PostgreSQL and this process less than half of what INSERT does (docs/benchmarks.md)."""
    dialect = connection.dialect
    processes = [column.type.dialect_impl(dialect).bind_processor(dialect) for column in table.columns]
    names = ", ".join(dialect.identifier_preparer.quote(column.name) for column in table.columns)
    into = f"COPY {dialect.identifier_preparer.format_table(table)} ({names}) FROM STDIN"
    driver: Any = connection.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(into.encode()) as copy:
            for row in rows:
                pairs = zip(row, processes, strict=True)
                copy.write_row([value if process is None else process(value) for value, process in pairs])
    except dialect.loaded_dbapi.Error as error:
        raise BackupError(f"Copying {table.name} failed: {error}. Run the command again; it continues.") from None


def _compare(target: Database, tables: Sequence[Table], rows: dict[str, int]) -> None:
    with target.read() as session:
        for table in tables:
            found = session.scalar(select(func.count()).select_from(table)) or 0
            if found != rows[table.name]:
                raise BackupError(
                    f"The copy of {table.name} has {found} rows, the original {rows[table.name]}. Somebody else writes "
                    "to the target: end that, and move into an empty database."
                )


def _set_sequences(target: Database, tables: Sequence[Table]) -> None:
    """On PostgreSQL numbers come from sequences, which know nothing of rows that were copied."""
    if target.is_sqlite:
        return
    with target.write() as session:
        for table in tables:
            [*key] = table.primary_key.columns
            if len(key) == 1 and isinstance(key[0].type, (Integer, BigInteger)) and not key[0].foreign_keys:
                session.execute(
                    text(
                        f'SELECT setval(seq, (SELECT coalesce(max({key[0].name}), 0) + 1 FROM "{table.name}"), false)'  # noqa: S608
                        f" FROM pg_get_serial_sequence('{table.name}', '{key[0].name}') AS seq WHERE seq IS NOT NULL"
                    )
                )
