"""Column types of our own: aware UTC times and JSON that is read into a frozen dataclass."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import JSON, BigInteger, ColumnElement, DateTime, Dialect
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

JsonColumn = JSON().with_variant(JSONB(), "postgresql")


def unindexed(column: Any) -> ColumnElement[Any]:
    """A number's column, hidden from the planner. SQLite keeps no statistics: it would take the index that begins with
    this column, and read a whole project, where another one leads to a few rows."""
    hidden: ColumnElement[Any] = column + 0
    return hidden


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, to the microsecond: timestamptz on PostgreSQL, microseconds since 1970 on SQLite.

    A naive datetime is refused: it says nothing about when.
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
        return dialect.type_descriptor(JSONB() if dialect.name == "postgresql" else JSON())

    def process_bind_param(self, value: T | None, dialect: Dialect) -> Any:
        return None if value is None else self._dump(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> T | None:
        return None if value is None else self._load(value)
