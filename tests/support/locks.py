"""What transactions wait for on PostgreSQL."""

from sqlalchemy import text

from pbxhub.store.session import Database


def waiting_for_locks(database: Database) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with database.engine.connect() as connection:
        return connection.scalar(text(query))
