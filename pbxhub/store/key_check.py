"""Checks whether the keys of a host belong to a database: a known value, encrypted with its key, is stored in it.

While `pbxhub rotate-key` runs, there are two, one for each key; a host needs the keys of both.
"""

from sqlalchemy import Connection, Integer, String, inspect, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.store.session import Base, Database
from pbxhub.vault import Vault

_KNOWN = "pbxhub"
_SEALED = (
    ("pbx", "secret_sealed"),
    ("webhook", "secret_sealed"),
    ("webhook", "tls_key_sealed"),
    ("webhook", "signing_sealed"),
    ("connection", "secret_sealed"),
    ("connection", "tokens_sealed"),
)


class WrongKeyError(Exception):
    """The key does not belong to the database, or there is none. The message says what to do."""


class KeyCheck(Base):
    """A row for each key with which secrets are sealed now: one, except while a rotation runs."""

    __tablename__ = "key_check"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    sealed: Mapped[str] = mapped_column(String(200))


def check_key(database: Database, key: bytes, where: str) -> bool:
    """True: the database has been used with this key. False: with none yet, so any will do. Changes nothing, and takes
    a database of any version, also one without tables. where: the host keeps its key, for the text of WrongKeyError.

    A database from before this check knows its key by what is sealed in it. Most of that must open: some may have been
    sealed by a host that had another key.
    """
    with database.engine.connect() as connection:
        tables = set(inspect(connection).get_table_names())
        known = connection.scalars(text("SELECT sealed FROM key_check")).all() if "key_check" in tables else ()
        sealed = known or _all_sealed(connection, tables)
    opened = sum(map(Vault(key).can_open, sealed)) if key else 0
    if opened == len(known) if known else 2 * opened > len(sealed):
        return True
    if not sealed:
        return False
    raise WrongKeyError(_advice(bool(key), where))


def remember_key(database: Database, key: bytes, where: str) -> None:
    """Writes the known value unless there is one. Raises WrongKeyError when another host has written one with another
    key first. The tables must be up to date."""
    if check_key(database, key, where) and _is_there(database):
        return
    try:
        with database.write() as session:
            session.add(KeyCheck(id=1, sealed=Vault(key).seal(_KNOWN)))
    except IntegrityError:
        check_key(database, key, where)


def add_check(database: Database, vault: Vault) -> None:
    """Writes the known value sealed with this key beside the one of another key."""
    with database.write() as session:
        rows = session.scalars(select(KeyCheck).order_by(KeyCheck.id)).all()
        if not any(vault.can_open(row.sealed) for row in rows):
            session.add(KeyCheck(id=max((row.id for row in rows), default=0) + 1, sealed=vault.seal(_KNOWN)))


def drop_other_checks(database: Database, vault: Vault) -> None:
    """From now on this key alone is needed."""
    with database.write() as session:
        for row in session.scalars(select(KeyCheck)):
            if not vault.can_open(row.sealed):
                session.delete(row)


def _is_there(database: Database) -> bool:
    with database.read() as session:
        return session.scalar(select(KeyCheck.id).limit(1)) is not None


def _all_sealed(connection: Connection, tables: set[str]) -> list[str]:
    found: list[str] = []
    for table, column in _SEALED:
        if table in tables:
            found += connection.scalars(text(f"SELECT {column} FROM {table} WHERE {column} <> ''"))  # noqa: S608
    return found


def _advice(has_key: bool, where: str) -> str:
    what = (
        "is not the one of this database (or, after pbxhub rotate-key, not every one of it)"
        if has_key
        else "is missing, and this database has been used with one"
    )
    return (
        f"PBXHUB_SECRET_KEY: the key of this host {what}. Set the variable to the key that the other hosts have, or "
        f"copy their file secret.key (from a backup, after a restore) to {where}. "
        "If the key is lost: pbxhub lost-key. Nothing was changed."
    )
