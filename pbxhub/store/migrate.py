"""Migrates a database to the newest schema."""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from pbxhub.paths import MIGRATIONS
from pbxhub.store.schema_revision import goes_down, next_revision, revision_on
from pbxhub.store.session import Database

_MIGRATING = 0x7062786D  # of the advisory lock; any number that nothing else uses


def migrate(database: Database, revision: str = "head") -> None:
    """Migrates the database to `revision` (default: the newest; "base" deletes all tables). A second migration waits
    for the first one, and then finds nothing to do."""
    with database.engine.begin() as connection:
        if not database.is_sqlite:
            _wait_for_others(connection)
        config = _config()
        config.attributes["connection"] = connection
        going_down = goes_down(revision_on(connection), revision)
        (command.downgrade if going_down else command.upgrade)(config, revision)


def _wait_for_others(connection: Connection) -> None:
    """Until the end of the transaction no other one may migrate. As long as it takes: the first one may copy tables."""
    chosen = connection.scalar(text("SELECT current_setting('lock_timeout')"))
    setting = text("SELECT set_config('lock_timeout', :limit, true)")
    connection.execute(setting, {"limit": "0"})
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATING})
    connection.execute(setting, {"limit": chosen})


def draft_migration(database: Database, message: str) -> None:
    """Writes a draft of a migration from the database's schema to the tables in the code, to be reviewed and edited."""
    with database.engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.revision(config, message=message, autogenerate=True, rev_id=next_revision())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
