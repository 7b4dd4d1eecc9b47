"""Migrates a database to the newest schema. Imports every table."""

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from pbxhub.paths import MIGRATIONS
from pbxhub.store import (
    accounts,
    api,
    call_events,
    connections,
    delivery_rows,
    dial_addresses,
    events,
    guess_delays,
    history,
    hub_keys,
    key_check,
    listeners,
    notices,
    ordered_calls,
    parts,
    questions,
    resends,
    webhooks,
)
from pbxhub.store.session import Base, Database

metadata = Base.metadata
TABLES = (
    accounts,
    webhooks,
    connections,
    history,
    delivery_rows,
    questions,
    resends,
    notices,
    ordered_calls,
    dial_addresses,
    parts,
    events,
    api,
    call_events,
    guess_delays,
    hub_keys,
    key_check,
    listeners,
)


def migrate(database: Database, revision: str = "head") -> None:
    """Migrates the database to `revision` (default: the newest; "base" deletes all tables)."""
    with database.engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        newest = ScriptDirectory.from_config(config).get_heads()
        going_down = revision != "head" and revision not in newest
        (command.downgrade if going_down else command.upgrade)(config, revision)


def draft_migration(database: Database, message: str) -> None:
    """Writes a draft of a migration from the database's schema to the tables in the code, to be reviewed and edited."""
    with database.engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        number = len(list((MIGRATIONS / "versions").glob("*.py"))) + 1
        command.revision(config, message=message, autogenerate=True, rev_id=f"{number:04d}")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    return config
