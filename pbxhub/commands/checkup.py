"""The checks of `pbxhub check`."""

import platform
from collections.abc import Iterator
from datetime import UTC, datetime

from sqlalchemy.exc import SQLAlchemyError

from pbxhub import __version__
from pbxhub.account.strange_contexts import strange_contexts
from pbxhub.ami.pbx_check import check_row
from pbxhub.ami.pbx_rows import read_rows
from pbxhub.commands.installation_checks import check_clock, check_disk, check_files, check_writes
from pbxhub.delivery.wakeup import wake_trouble
from pbxhub.finding import Finding
from pbxhub.settings import Settings
from pbxhub.store.accounts import Pbx
from pbxhub.store.key_check import WrongKeyError, check_key
from pbxhub.store.schema_revision import why_not_current
from pbxhub.store.session import Database, open_database
from pbxhub.store.sqlite_file import open_to_others
from pbxhub.vault import Vault


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
    if trouble := wake_trouble(database):
        yield "database", Finding(False, trouble)
    key = _key(settings, database)
    yield "secret key", key
    if not outdated and settings.secret_key and key.well:
        yield from _check_pbxs(settings, database)


def _schema(outdated: str, dialect: str) -> Finding:
    return Finding(not outdated, outdated or f"Reached ({dialect}); the tables are up to date.")


def _key(settings: Settings, database: Database) -> Finding:
    try:
        known = check_key(database, settings.secret_key, str(settings.key_file))
    except WrongKeyError as error:
        return Finding(False, str(error))
    return Finding(True, "It is the one of this database." if known else "The first start stores it in the database.")


def _check_pbxs(settings: Settings, database: Database) -> Iterator[tuple[str, Finding]]:
    rows = read_rows(database, Vault(settings.secret_key))
    if not rows:
        yield "PBX", Finding(False, "No PBX is set up. Add one on the page PBX, or run: pbxhub pbx add")
    with database.read() as session:
        names = {pbx.id: pbx.name for pbx in session.query(Pbx)}
    for row in rows.values():
        for finding in (*check_row(row, operator=True), *_contexts(database, row.id)):
            yield f"PBX {names[row.id]}", finding


def _contexts(database: Database, pbx_id: int) -> list[Finding]:
    """Where calls from outside may come in without the hub knowing."""
    with database.read() as session:
        found = strange_contexts(session, session.get_one(Pbx, pbx_id), datetime.now(UTC))
    return [
        Finding(
            False,
            f"{each.calls} call(s) today came in the context {each.context}, which is not an incoming one. If it is a "
            "trunk's, make it one on the page of the PBX; if it is a phone's, put its endpoint on the employee's card.",
        )
        for each in found
    ]
