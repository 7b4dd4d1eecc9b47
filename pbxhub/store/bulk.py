"""Statements compiled once: what the outbox runs thousands of times a second.

They go to the driver past SQLAlchemy's work per execution and per row, which costs several times what the database
needs for them, but with SQLAlchemy's types, events and exceptions. Nothing of the session is flushed before them.
"""

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Insert, Select, TextClause, Update
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.orm import Session
from sqlalchemy.sql.expression import TextualSelect
from sqlalchemy.types import TypeEngine

Process = Callable[[Any], Any] | None


class Bulk:
    """An insert or update of many rows whose every value is a bindparam; rows are mappings from the names of those."""

    def __init__(self, statement: Insert | Update) -> None:
        self.statement = statement
        self._compile = lru_cache(maxsize=4)(self._compiled)

    def run(self, session: Session, rows: Iterable[Mapping[str, Any]]) -> None:
        connection = session.connection()
        text, pairs = self._compile(connection.dialect)
        values: list[Any]
        if connection.dialect.positional:
            values = [tuple([row[n] if p is None else p(row[n]) for n, p in pairs]) for row in rows]
        else:
            values = [{n: row[n] if p is None else p(row[n]) for n, p in pairs} for row in rows]
        if values:
            connection.exec_driver_sql(text, values)

    def _compiled(self, dialect: Dialect) -> tuple[str, tuple[tuple[str, Process], ...]]:
        compiled = self.statement.compile(dialect=dialect)
        names = compiled.positiontup or list(compiled.binds)
        return str(compiled), tuple((name, _binding(compiled.binds[name].type, dialect)) for name in names)


@dataclass(frozen=True, slots=True)
class _Made:
    """A query for one dialect and certain lengths of its lists. expansion: the names of a list's elements."""

    text: str
    names: tuple[str, ...]
    pairs: tuple[tuple[str, Process], ...]
    expansion: Mapping[str, list[str]]
    constants: dict[str, Any]


class Query:
    """A select, or a text with .columns() for those that need a type. Lists are for its expanding bindparams."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | TextualSelect | TextClause) -> None:
        self.statement = statement
        self._compile = lru_cache(maxsize=64)(self._compiled)
        self._describe = lru_cache(maxsize=4)(self._described)

    def all(self, session: Session, **values: Any) -> list[Any]:
        """The rows, as named tuples. An expanding list must not be empty."""
        connection = session.connection()
        lists = {name: _padded(value) for name, value in values.items() if isinstance(value, list)}
        made = self._compile(connection.dialect, tuple((name, len(value)) for name, value in lists.items()))
        given = made.constants | values
        for name, value in lists.items():
            given.update(zip(made.expansion[name], value, strict=True))
        bound = [given[name] if process is None else process(given[name]) for name, process in made.pairs]
        parameters = tuple(bound) if connection.dialect.positional else dict(zip(made.names, bound, strict=True))
        return self._fetch(connection, made.text, parameters)

    def first(self, session: Session, **values: Any) -> Any:
        """The first row; None without one."""
        return next(iter(self.all(session, **values)), None)

    def _fetch(self, connection: Connection, text: str, parameters: Any) -> list[Any]:
        cursor: DBAPICursor = connection.exec_driver_sql(text, parameters).cursor
        rows = cursor.fetchall()
        new, processes = self._describe(connection.dialect, tuple([column[0] for column in cursor.description]))
        cursor.close()
        if not any(processes):
            return [new(row) for row in rows]
        return [new([v if p is None else p(v) for v, p in zip(row, processes, strict=True)]) for row in rows]

    def _compiled(self, dialect: Dialect, sizes: tuple[tuple[str, int], ...]) -> "_Made":
        compiled = self.statement.compile(dialect=dialect)
        constants = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        missing = dict.fromkeys(compiled.binds)
        state = compiled.construct_expanded_state(missing | {name: [None] * size for name, size in sizes})
        of = {one: name for name, ones in state.parameter_expansion.items() for one in ones}
        names = tuple(state.positiontup or state.parameters)
        pairs = tuple((name, _binding(compiled.binds[of.get(name, name)].type, dialect)) for name in names)
        return _Made(state.statement, names, pairs, state.parameter_expansion, constants)

    def _described(
        self, dialect: Dialect, columns: tuple[str, ...]
    ) -> tuple[Callable[[Iterable[Any]], Any], list[Process]]:
        row = namedtuple("Row", columns)  # type: ignore[misc]
        if isinstance(self.statement, TextClause):
            return row._make, [None] * len(columns)
        types: dict[str, TypeEngine[Any]] = {str(column.key): column.type for column in self.statement.selected_columns}
        return row._make, [_reading(types[name], dialect) if name in types else None for name in columns]


def _binding(kind: TypeEngine[Any], dialect: Dialect) -> Process:
    return kind.dialect_impl(dialect).bind_processor(dialect)


def _reading(kind: TypeEngine[Any], dialect: Dialect) -> Process:
    return kind.dialect_impl(dialect).result_processor(dialect, None)


def _padded(values: list[Any]) -> list[Any]:
    """Repeats the last one up to a power of four: one statement to compile and to prepare for many lengths."""
    size = 1
    while size < len(values):
        size *= 4
    return values + values[-1:] * (size - len(values))
