"""A PostgreSQL database that a test has used is emptied for the next one. Copying the template each time takes three
times as long, because PostgreSQL writes everything to the disk before and after each copy."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
from psycopg import Connection, sql

_SHAPE = """SELECT md5(concat(
    (SELECT string_agg(concat(relname, relkind, attname, atttypid, attnotnull), ',' ORDER BY attrelid, attnum)
     FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = 'public'::regnamespace),
    (SELECT string_agg(conname, ',' ORDER BY conname) FROM pg_constraint),
    (SELECT count(*) FROM pg_trigger), (SELECT count(*) FROM pg_proc), (SELECT count(*) FROM pg_statistic),
    (SELECT version_num FROM alembic_version)))"""
_TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
_END_ALL = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
_PAGES = "SELECT sum(relpages) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
_COUNT_ANEW = "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence"
_KEPT = "alembic_version"  # the only table with rows in a new database
_MOST_PAGES = 1500  # of 8 KB: indexes keep their size, and the planner would think of the many rows there were


class SpareDatabases:
    """Those of one process, all copies of the template, whose SQLAlchemy URL is given."""

    def __init__(self, template: str) -> None:
        self._server, _, self._template = template.rpartition("/")
        self._admin = self._connected("postgres")
        self._idle: list[str] = []
        with self._connected(self._template) as connection:
            self._tables = [sql.Identifier(name) for (name,) in connection.execute(_TABLES) if name != _KEPT]
            self._shape = connection.execute(_SHAPE).fetchone()

    @contextmanager
    def one(self) -> Iterator[str]:
        """URL of a database as new: without rows, ids begin at 1."""
        name = self._idle.pop() if self._idle else self._made()
        yield f"{self._server}/{name}"
        spare = self._taken_back(name)
        if self._emptied(spare):
            self._idle.append(spare)
        else:
            self._admin.execute(f"DROP DATABASE {spare} WITH (FORCE)")

    def close(self) -> None:
        self._admin.close()

    def _made(self) -> str:
        """Copied as files: through the log, as PostgreSQL does it otherwise, it takes twice as much CPU."""
        name = f"test_{uuid4().hex}"
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {self._template} STRATEGY FILE_COPY")
        return name

    def _taken_back(self, name: str) -> str:
        """Its new name. Threads that a test has left, and that connect again, do not find it, nor the next test."""
        spare = f"test_{uuid4().hex}"
        self._admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        self._admin.execute(_END_ALL, [name])
        self._admin.execute(f"ALTER DATABASE {name} RENAME TO {spare}")
        self._admin.execute(f"ALTER DATABASE {spare} ALLOW_CONNECTIONS true")
        return spare

    def _emptied(self, name: str) -> bool:
        """False: the test has changed more than rows, or wrote very many."""
        with self._connected(name) as connection:
            if connection.execute(_SHAPE).fetchone() != self._shape:
                return False
            looks = sql.SQL(", ").join(sql.SQL("EXISTS (SELECT FROM {})").format(table) for table in self._tables)
            filled = connection.execute(sql.SQL("SELECT {}").format(looks)).fetchone()
            assert filled is not None
            if used := [table for table, has_rows in zip(self._tables, filled, strict=True) if has_rows]:
                connection.execute("SET session_replication_role = replica")  # no foreign key is looked at
                connection.execute(sql.SQL("; ").join(sql.SQL("DELETE FROM {}").format(table) for table in used))
                connection.execute(sql.SQL("VACUUM {}").format(sql.SQL(", ").join(used)))
            connection.execute(_COUNT_ANEW)
            pages = connection.execute(_PAGES).fetchone()
            return pages is not None and pages[0] <= _MOST_PAGES

    def _connected(self, name: str) -> Connection:
        return psycopg.connect(f"{self._server}/{name}".replace("+psycopg", ""), autocommit=True)
