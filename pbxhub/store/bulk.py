"""The fast path beside SQLAlchemy: statements compiled once, for what the outbox runs thousands of times a second.

They go to the driver past SQLAlchemy's work for each execution and each row, but with its types, events and exceptions.
Nothing of the session is flushed before them.

Why it is there: publishing, claiming and recording one delivery by SQLAlchemy alone costs 20 to 70 % more CPU on SQLite
and 60 to 80 % more on PostgreSQL (bench/fast_path.py: with and without, in turns, SQLAlchemy 2.1). It reads what
SQLAlchemy has compiled and calls one private method for exceptions, so the dependency is pinned below the next minor.
tests/test_write_many_rows.py tries all of it on both databases.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import chain
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Dialect, Select, Table, TextClause
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import TextualSelect
from sqlalchemy.types import TypeEngine

from pbxhub.store.session import CONNECTION

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Process = Callable[[Any], Any] | None
_MOST_ROWS = 256  # of one statement: SQLite takes 32,766 values


class _Many:
    """Many rows: mappings from column names, or objects of the dataclass whose fields the columns are.

    On SQLite by few statements, for as many rows as a power of two each: a statement is one step of the database, and
    for each step Python's lock is given back and fought for. On PostgreSQL by the driver's pipeline of prepared
    statements for one row, which costs it less than a long text.
    """

    def __init__(self, table: Table, columns: "Sequence[str] | type[DataclassInstance]") -> None:
        self._table = table
        if isinstance(columns, type):
            self._names = tuple(field.name for field in fields(columns))
            self._values_of: Callable[[Any], tuple[Any, ...]] = attrgetter(*self._names)
        else:
            self._names = tuple(columns)
            self._values_of = itemgetter(*self._names)
        self._text = lru_cache(maxsize=64)(self._written)
        self._processes = lru_cache(maxsize=4)(self._processing)

    def run(self, session: Session, rows: Iterable[Any]) -> None:
        connection = _connection(session)
        processes = self._processes(connection.dialect)
        values = [
            [value if process is None else process(value) for value, process in zip(given, processes, strict=True)]
            for given in map(self._values_of, rows)
        ]
        if len(values) > 1 and not connection.dialect.positional:
            _execute(connection, self._text(connection.dialect, 1), values, many=True).close()
            return
        start = 0
        while start < len(values):
            size = min(_MOST_ROWS, 1 << (len(values) - start).bit_length() - 1)
            flat = tuple(chain.from_iterable(values[start : start + size]))
            _execute(connection, self._text(connection.dialect, size), flat).close()
            start += size

    def _processing(self, dialect: Dialect) -> tuple[Process, ...]:
        return tuple(_binding(self._table.c[name].type, dialect) for name in self._names)

    def _written(self, dialect: Dialect, number: int) -> str:
        """The statement for that many rows."""
        raise NotImplementedError


class Insert(_Many):
    """constants: SQL for columns that have the same in every row."""

    def __init__(
        self,
        table: Table,
        columns: "Sequence[str] | type[DataclassInstance]",
        constants: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(table, columns)
        self._constants = constants or {}

    def _written(self, dialect: Dialect, number: int) -> str:
        columns = ", ".join(map(dialect.identifier_preparer.quote, (*self._names, *self._constants)))
        row = ", ".join([_place(dialect)] * len(self._names) + list(self._constants.values()))
        table = dialect.identifier_preparer.format_table(self._table)
        return f"INSERT INTO {table} ({columns}) VALUES {', '.join([f'({row})'] * number)}"  # noqa: S608


class Upsert(Insert):
    """keys: the columns that say which row it is; of one that is there already the others are set."""

    def __init__(self, table: Table, keys: Sequence[str], names: Sequence[str]) -> None:
        super().__init__(table, (*keys, *names))
        self._keys, self._set = tuple(keys), tuple(names)

    def _written(self, dialect: Dialect, number: int) -> str:
        quote = dialect.identifier_preparer.quote
        what = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in self._set)
        keys = ", ".join(map(quote, self._keys))
        return f"{super()._written(dialect, number)} ON CONFLICT ({keys}) DO UPDATE SET {what}"


class Delete(_Many):
    """The rows with these keys, where there are any."""

    def _written(self, dialect: Dialect, number: int) -> str:
        quote, table = dialect.identifier_preparer.quote, dialect.identifier_preparer.format_table(self._table)
        one = " AND ".join(f"{quote(name)} = {_place(dialect)}" for name in self._names)
        return f"DELETE FROM {table} WHERE {' OR '.join([f'({one})'] * number)}"  # noqa: S608


class Update(_Many):
    """keys: the columns that say which row it is; names: those that are set."""

    def __init__(self, table: Table, keys: Sequence[str], names: Sequence[str]) -> None:
        super().__init__(table, (*names, *keys))
        self._keys, self._set = tuple(keys), tuple(names)

    def _written(self, dialect: Dialect, number: int) -> str:
        quote, table = dialect.identifier_preparer.quote, dialect.identifier_preparer.format_table(self._table)
        place = _place(dialect)
        if number == 1:
            what = ", ".join(f"{quote(name)} = {place}" for name in self._set)
            which = " AND ".join(f"{quote(name)} = {place}" for name in self._keys)
            return f"UPDATE {table} SET {what} WHERE {which}"  # noqa: S608
        rows = ", ".join([f"({', '.join([place] * len(self._names))})"] * number)
        given = ", ".join(map(quote, self._names))
        what = ", ".join(f"{quote(name)} = given.{quote(name)}" for name in self._set)
        which = " AND ".join(f"{table}.{quote(name)} = given.{quote(name)}" for name in self._keys)
        return f"WITH given({given}) AS (VALUES {rows}) UPDATE {table} SET {what} FROM given WHERE {which}"  # noqa: S608


def _place(dialect: Dialect) -> str:
    return "?" if dialect.positional else "%s"


@dataclass(frozen=True, slots=True)
class _Made:
    """A query for one dialect. constants: the values it has been given once for all."""

    text: str
    pairs: tuple[tuple[str, Process], ...]
    constants: dict[str, Any]


class Query:
    """A select, or a text with .columns() for those that need a type. For lists: one_of and ListOf of store/columns."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | TextualSelect | TextClause) -> None:
        self.statement = statement
        self._compile = lru_cache(maxsize=4)(self._compiled)
        self._describe = lru_cache(maxsize=4)(self._described)

    def all(self, session: Session, **values: Any) -> list[Any]:
        """The rows, as named tuples."""
        connection = _connection(session)
        made = self._compile(connection.dialect)
        given = made.constants | values
        bound = [(name, given[name] if process is None else process(given[name])) for name, process in made.pairs]
        positional = connection.dialect.positional
        return self._fetch(connection, made.text, tuple([value for _, value in bound]) if positional else dict(bound))

    def first(self, session: Session, **values: Any) -> Any:
        """The first row; None without one."""
        return next(iter(self.all(session, **values)), None)

    def _fetch(self, connection: Connection, text: str, parameters: Any) -> list[Any]:
        cursor = _execute(connection, text, parameters)
        rows = cursor.fetchall()
        new, processes = self._describe(connection.dialect, tuple([column[0] for column in cursor.description]))
        cursor.close()
        if not any(processes):
            return [new(row) for row in rows]
        return [new([v if p is None else p(v) for v, p in zip(row, processes, strict=True)]) for row in rows]

    def _compiled(self, dialect: Dialect) -> "_Made":
        compiled = self.statement.compile(dialect=dialect)
        constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        state = compiled.construct_expanded_state(dict.fromkeys(compiled.binds) | constants)
        names = tuple(state.positiontup or state.parameters)
        pairs = tuple((name, _binding(compiled.binds[name].type, dialect)) for name in names)
        return _Made(state.statement, pairs, constants)

    def _described(
        self, dialect: Dialect, columns: tuple[str, ...]
    ) -> tuple[Callable[[Iterable[Any]], Any], list[Process]]:
        row = namedtuple("Row", columns)  # type: ignore[misc]
        if isinstance(self.statement, TextClause):
            return row._make, [None] * len(columns)
        types: dict[str, TypeEngine[Any]] = {str(column.key): column.type for column in self.statement.selected_columns}
        return row._make, [_reading(types[name], dialect) if name in types else None for name in columns]


def _connection(session: Session) -> Connection:
    known: Connection | None = session.info.get(CONNECTION)
    return known or session.connection()


def _execute(connection: Connection, text: str, parameters: Any, many: bool = False) -> DBAPICursor:
    """One execution without SQLAlchemy's context and result, 35 µs each; who listens for statements hears of it."""
    cursor = connection.connection.cursor()
    try:
        for listener in connection.dispatch.before_cursor_execute:
            listener(connection, cursor, text, parameters, None, many)
        if many:
            cursor.executemany(text, parameters)
        else:
            cursor.execute(text, parameters)
    except connection.dialect.loaded_dbapi.Error as error:
        # the one way to SQLAlchemy's own exceptions, its handle_error events and the end of a broken connection
        connection._handle_dbapi_exception(error, text, parameters, cursor, None)
    return cursor


def _binding(kind: TypeEngine[Any], dialect: Dialect) -> Process:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _reading(kind: TypeEngine[Any], dialect: Dialect) -> Process:
    return kind.dialect_impl(dialect).result_processor(dialect, None)
