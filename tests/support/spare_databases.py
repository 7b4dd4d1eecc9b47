"""A PostgreSQL database that a test has used is emptied for the next one: a new one costs six times the CPU."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

from sqlalchemy import Connection, NullPool, create_engine, text

_SHAPE = text(
    "SELECT md5(concat("
    " (SELECT string_agg(concat(relname, relkind, attname, atttypid, attnotnull), ',' ORDER BY attrelid, attnum)"
    "  FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = 'public'::regnamespace),"
    " (SELECT string_agg(conname, ',' ORDER BY conname) FROM pg_constraint),"
    " (SELECT count(*) FROM pg_trigger), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_statistic),"
    " (SELECT version_num FROM alembic_version)))"
)
_TABLES = text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
_END_ALL = text("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = :name")
_PAGES = text("SELECT sum(relpages) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
_COUNT_ANEW = text("SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence")
_KEPT = "alembic_version"  # the only table with rows in a new database
_MOST_PAGES = 1500  # of 8 KB: indexes keep their size, and the planner would think of the many rows there were


class SpareDatabases:
    """Those of one process, all copies of the template."""

    def __init__(self, template: str) -> None:
        self._server, _, self._template = template.rpartition("/")
        self._admin = create_engine(f"{self._server}/postgres", isolation_level="AUTOCOMMIT", pool_pre_ping=True)
        self._idle: list[str] = []
        with self._connected(self._template) as connection:
            self._shape = connection.scalar(_SHAPE)

    @contextmanager
    def one(self) -> Iterator[str]:
        """URL of a database as new: without rows, ids begin at 1."""
        name = self._idle.pop() if self._idle else self._made()
        yield f"{self._server}/{name}"
        spare = self._taken_back(name)
        if self._emptied(spare):
            self._idle.append(spare)
        else:
            with self._admin.connect() as admin:
                admin.execute(text(f"DROP DATABASE {spare} WITH (FORCE)"))

    def _made(self) -> str:
        """Copied as files: through the log, as PostgreSQL does it otherwise, it takes twice as much CPU."""
        name = f"test_{uuid4().hex}"
        with self._admin.connect() as admin:
            admin.execute(text(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY FILE_COPY"))
        return name

    def _taken_back(self, name: str) -> str:
        """Its new name. Threads that a test has left, and that connect again, do not find it, nor the next test."""
        spare = f"test_{uuid4().hex}"
        with self._admin.connect() as admin:
            admin.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
            admin.execute(_END_ALL, {"name": name})
            admin.execute(text(f"ALTER DATABASE {name} RENAME TO {spare}"))
            admin.execute(text(f"ALTER DATABASE {spare} ALLOW_CONNECTIONS true"))
        return spare

    def _emptied(self, name: str) -> bool:
        """False: the test has changed more than rows, or wrote very many."""
        with self._connected(name) as connection:
            if connection.scalar(_SHAPE) != self._shape:
                return False
            tables = [f'"{table}"' for table in connection.scalars(_TABLES) if table != _KEPT]
            filled = connection.execute(text("SELECT " + ", ".join(f"EXISTS (SELECT FROM {one})" for one in tables)))
            if used := [table for table, has_rows in zip(tables, filled.one(), strict=True) if has_rows]:
                connection.execute(text("SET session_replication_role = replica"))  # no foreign key is looked at
                connection.execute(text("; ".join(f"DELETE FROM {table}" for table in used)))
                connection.execute(text(f"VACUUM {', '.join(used)}"))
            connection.execute(_COUNT_ANEW)
            return bool(connection.scalar(_PAGES) <= _MOST_PAGES)

    def close(self) -> None:
        self._admin.dispose()

    @contextmanager
    def _connected(self, name: str) -> Iterator[Connection]:
        engine = create_engine(f"{self._server}/{name}", isolation_level="AUTOCOMMIT", poolclass=NullPool)
        with engine.connect() as connection:
            yield connection
