"""Alembic's entry: one history for SQLite and PostgreSQL."""

from typing import Any

from alembic import context
from sqlalchemy import Connection, text

from pbxhub.store.all_tables import metadata
from pbxhub.store.columns import JsonColumn, TypedJson, UtcDateTime


def _render(kind: str, item: Any, autogen_context: Any) -> str | bool:
    """How our own column types are written in a migration: as they are now, whatever the code makes of them later."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return 'sa.DateTime(timezone=True).with_variant(sa.BigInteger(), "sqlite")'
    if kind == "type" and (isinstance(item, TypedJson) or item is JsonColumn):
        autogen_context.imports.add("from sqlalchemy.dialects.postgresql import JSONB")
        return 'sa.JSON().with_variant(JSONB(), "postgresql")'
    return False


def _give_indexes_their_conditions() -> None:
    """A draft writes them from there; see partial_index."""
    for table in metadata.tables.values():
        for index in table.indexes:
            if where := index.info.get("where"):
                index.dialect_kwargs.update({"sqlite_where": text(where), "postgresql_where": text(where)})


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=metadata, render_as_batch=True, compare_type=True, render_item=_render
    )
    with context.begin_transaction():
        context.run_migrations()


_give_indexes_their_conditions()
_run(context.config.attributes["connection"])
