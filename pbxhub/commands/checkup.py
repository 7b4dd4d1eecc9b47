"""The checks of `pbxhub check`. What asks the PBXs is loaded where there is one: it takes longer than all the rest."""

import platform
from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from pbxhub import __version__
from pbxhub.commands.installation_checks import check_clock, check_disk, check_files, check_writes
from pbxhub.finding import Finding
from pbxhub.settings import Settings
from pbxhub.store.accounts import Pbx
from pbxhub.store.key_check import WrongKeyError, check_key
from pbxhub.store.schema_revision import why_not_current
from pbxhub.store.session import Database, open_database
from pbxhub.store.sqlite_file import open_to_others


def check_hub(settings: Settings) -> Iterator[tuple[str, Finding]]:
    """Yields the subject and result of each check. The settings have been read before."""
    yield "pbxhub", Finding(True, f"Version {__version__} on Python {platform.python_version()}.")
    yield "settings", Finding(True, f"Read; data in {settings.data_dir}.")
    if settings.data_dir.is_dir():
        yield "disk", check_disk(settings.data_dir)
    database = open_database(settings.database_url, direct_url=settings.database_direct_url)
    try:
        yield from _check_database(settings, database)
    finally:
        database.close()


def _check_database(settings: Settings, database: Database) -> Iterator[tuple[str, Finding]]:
    try:
        outdated = why_not_current(database)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        yield "database", Finding(False, f"PBXHUB_DATABASE_URL cannot be reached: {reason}")
        return
    yield "database", _schema(outdated, database.engine.dialect.name)
    if database.is_sqlite and open_to_others(path := str(database.engine.url.database)):
        yield "database", Finding(False, f"Other users of this host may read it. Run: chmod 600 {path}*")
    for finding in check_files(settings, database):
        yield "files", finding
    for wrong in (check_writes(database), check_clock(database)) if not outdated else ():
        if wrong:
            yield "database", wrong
    if not database.is_sqlite:
        yield from _check_wakeups(database)
    key = _key(settings, database)
    yield "secret key", key
    if not outdated and settings.secret_key and key.well:
        yield from _check_pbxs(settings, database)


def _check_wakeups(database: Database) -> Iterator[tuple[str, Finding]]:
    from pbxhub.delivery.wakeup import wake_trouble

    if trouble := wake_trouble(database):
        yield "database", Finding(False, trouble)


def _schema(outdated: str, dialect: str) -> Finding:
    return Finding(not outdated, outdated or f"Reached ({dialect}); the tables are up to date.")


def _key(settings: Settings, database: Database) -> Finding:
    try:
        known = check_key(database, settings.secret_key, str(settings.key_file))
    except WrongKeyError as error:
        return Finding(False, str(error))
    return Finding(True, "It is the one of this database." if known else "The first start stores it in the database.")


def _check_pbxs(settings: Settings, database: Database) -> Iterator[tuple[str, Finding]]:
    with database.read() as session:
        found = session.scalar(select(Pbx.id).where(Pbx.enabled).limit(1))
    if found is None:
        yield "PBX", Finding(False, "No PBX is set up. Add one on the page PBX, or run: pbxhub pbx add")
        return
    from pbxhub.commands.pbx_checks import check_pbxs

    yield from check_pbxs(settings, database)
