"""What transactions wait for on PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event, text
from sqlalchemy.engine import ExceptionContext

from pbxhub.store.session import Database


def waiting_for_locks(database: Database) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with database.engine.connect() as connection:
        return connection.scalar(text(query))


@contextmanager
def errors_of_the_impatient(database: Database) -> Iterator[list[str]]:
    """Transactions that begin here on this database wait for a lock 0.2 s instead of 10. Yields the errors they met."""
    met: list[str] = []

    def hurry(connection: Connection) -> None:
        connection.exec_driver_sql("SET LOCAL lock_timeout=200")

    def note(context: ExceptionContext) -> None:
        met.append(str(context.original_exception))

    event.listen(database.engine, "begin", hurry)
    event.listen(database.engine, "handle_error", note)
    try:
        yield met
    finally:
        event.remove(database.engine, "begin", hurry)
        event.remove(database.engine, "handle_error", note)


@contextmanager
def waiting_for_nobody(database: Database) -> Iterator[None]:
    """Fails if anything here waits for a lock that is kept, however slow the machine is."""
    with errors_of_the_impatient(database) as met:
        yield
    assert met == []
