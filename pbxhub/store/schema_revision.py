"""Which schema a database has, and which ones this version of the hub knows. Commands ask that do not migrate, so it
does without Alembic, which takes longer to load than most of them run.

A migration's file begins with its revision, and each follows the one before: migrations/versions/0031_….py.
"""

from functools import cache

from sqlalchemy import Connection, inspect, text

from pbxhub import __version__
from pbxhub.paths import MIGRATIONS
from pbxhub.store.session import Database


def is_current(database: Database) -> bool:
    """Whether the schema is the newest one."""
    return revision_of(database) == _known()[-1]


def why_not_current(database: Database) -> str:
    """What is wrong with the schema and what an operator does about it; "" when it is the newest one."""
    revision = revision_of(database)
    if revision == _known()[-1]:
        return ""
    if revision is None or is_known(revision):
        return "The database's tables are not up to date. Run: pbxhub migrate"
    return (
        f"The database's tables were made by a newer version than this one, {__version__}: their revision {revision} "
        f"is not known here. Install the newer version on this host. "
        f"To go back to {__version__}, restore the backup that was made before the upgrade."
    )


def goes_down(current: str | None, revision: str) -> bool:
    """Whether a migration from the current revision to that one ("head", "base" or a known one) takes tables back."""
    return revision != "head" and (revision == "base" or (current or "") > revision)


def changes_tables(database: Database, revision: str = "head") -> bool:
    """Whether a migration to the revision, up or down, would change tables that others may be using."""
    return revision_of(database) not in (None, _known()[-1] if revision == "head" else revision)


def is_known(revision: str) -> bool:
    """Whether this version of the hub can bring a database of that revision up to date."""
    return revision in _known()


def revision_of(database: Database) -> str | None:
    """Of its last migration. None: it has no tables yet."""
    with database.engine.connect() as connection:
        return revision_on(connection)


def revision_on(connection: Connection) -> str | None:
    """The same, as this connection sees it."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def next_revision() -> str:
    """Of the next migration to write. Some numbers were never used, so the files cannot be counted."""
    return f"{int(_known()[-1]) + 1:04d}"


@cache
def _known() -> list[str]:
    return sorted(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))
