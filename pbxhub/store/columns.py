"""Column types: aware UTC times, JSON that is read into a frozen dataclass, lists as one parameter."""

import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import orjson
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ColumnElement,
    DateTime,
    Dialect,
    FromClause,
    Index,
    Integer,
    Text,
    Uuid,
    bindparam,
    column,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

T = TypeVar("T")
Id = BigInteger().with_variant(Integer, "sqlite")  # counts up by itself on both databases
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _jsonb() -> TypeEngine[Any]:
    """Loads all of PostgreSQL's dialect, asyncio with it: what a command on SQLite never needs."""
    from sqlalchemy.dialects.postgresql import JSONB

    return JSONB()


class _Json(TypeDecorator[Any]):
    """Any JSON: jsonb on PostgreSQL, text on SQLite. None is the JSON null."""

    impl = JSON
    cache_ok = True
    should_evaluate_none = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(_jsonb() if dialect.name == "postgresql" else JSON())


JsonColumn = _Json()


def partial_index(name: str, *columns: Any, where: str | ColumnElement[bool], unique: bool = False) -> Index:
    """An index over the rows that meet a condition, on both databases. The condition is kept for the reader and for
    drafts of migrations (migrations/env.py): to give it to SQLAlchemy would load PostgreSQL's dialect, which is a tenth
    of the start of a command on SQLite."""
    return Index(name, *columns, unique=unique, info={"where": str(where)})


def unindexed(column: Any) -> ColumnElement[Any]:
    """A numeric column, hidden from the planner. SQLite keeps no statistics: it would use the index that begins with
    this column and read a whole project, although another index leads to a few rows."""
    hidden: ColumnElement[Any] = column + 0
    return hidden


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, to the microsecond: timestamptz on PostgreSQL, microseconds since 1970 on SQLite.

    A naive datetime is refused, because it does not name a point in time.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a datetime without a zone cannot be stored")
        if dialect.name != "sqlite":
            return value
        delta = value - _EPOCH
        return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name != "sqlite":
            moment: datetime = value
            return moment.astimezone(UTC)
        return datetime.fromtimestamp(value // 1_000_000, UTC).replace(microsecond=value % 1_000_000)


class TypedJson(TypeDecorator[T], Generic[T]):
    """JSON in the table, a frozen dataclass in Python. load and dump are the pair of functions between them."""

    impl = JSON
    cache_ok = False

    def __init__(self, load: Callable[[Any], T], dump: Callable[[T], Any]) -> None:
        super().__init__(none_as_null=True)
        self._load = load
        self._dump = dump

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(_jsonb() if dialect.name == "postgresql" else JSON())

    def process_bind_param(self, value: T | None, dialect: Dialect) -> Any:
        return None if value is None else self._dump(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> T | None:
        return None if value is None else self._load(value)


class ListOf(TypeDecorator[Collection[Any]]):
    """A list of any length as one parameter: an array on PostgreSQL, JSON on SQLite. Never a column's type.

    A statement with a parameter for each element is another statement for each length, and fails beyond the 65,535
    parameters of PostgreSQL and the 32,766 of SQLite.
    """

    impl = Text
    cache_ok = True

    def __init__(self, of: TypeEngine[Any]) -> None:
        super().__init__()
        self.of = of

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(Text())
        from sqlalchemy.dialects.postgresql import ARRAY

        return dialect.type_descriptor(ARRAY(self.of))

    def process_bind_param(self, value: Collection[Any] | None, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return None if value is None else list(value)
        bind = self.of.dialect_impl(dialect).bind_processor(dialect)
        bound = [one if bind is None else bind(one) for one in value]
        try:
            return orjson.dumps(bound).decode()
        except TypeError:  # half a character, or a number beyond 64 bits
            return json.dumps(bound)


AMONG = {"postgresql": "= ANY(:{})", "sqlite": "IN (SELECT value FROM json_each(:{}))"}
"""For SQL texts: the condition after a column; format it with the name of a bindparam of type ListOf."""


RAW_IDS = {"postgresql": ListOf(Uuid()), "sqlite": ListOf(Text())}
"""The type of ids as the driver returned them, for a statement that takes them back."""


class _OneOf(FunctionElement[bool]):
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """Leaves the condition as it is: SQLAlchemy would add "= 1" on SQLite, which then uses no index."""
        return self


@compiles(_OneOf, "postgresql")
def _in_array(element: _OneOf, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(_OneOf)
def _in_json(element: _OneOf, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608


def one_of(column: Any, values: Collection[Any] | str) -> ColumnElement[bool]:
    """The condition that the column is one of the values, however many; or of those bound later under that name."""
    kind = ListOf(column.type)
    return _OneOf(column, bindparam(values, type_=kind) if isinstance(values, str) else bindparam(None, values, kind))


class _EachOf(FunctionElement[Any]):
    name = "each_of"
    inherit_cache = True


@compiles(_EachOf, "postgresql")
def _each_of_array(element: _EachOf, compiler: Any, **options: Any) -> str:
    return f"unnest({compiler.process(element.clauses, **options)})"


@compiles(_EachOf)
def _each_of_json(element: _EachOf, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


def each_of(values: Collection[Any], kind: TypeEngine[Any]) -> FromClause:
    """A table of the values, in its only column, "value". Unlike VALUES it is compiled once, whatever is in it."""
    rows = _EachOf(bindparam(None, values, ListOf(kind))).table_valued(column("value", kind))
    return rows.alias("value")  # PostgreSQL names the column of a function like its alias
