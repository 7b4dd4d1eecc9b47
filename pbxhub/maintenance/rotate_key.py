"""Seals every secret with the first key of PBXHUB_SECRET_KEY, while the hub works; and goes on after a lost key.

Rows are walked in the order of their primary keys, a batch in each transaction. What the first key opens is done, so an
interrupted rotation is run again: it finds what is left. A row that somebody changed meanwhile keeps the change, and is
looked at in the next round. Rounds are made until one finds nothing.

The check of keys (store/key_check.py) has two rows while a rotation runs, one for each key, and a host needs the keys
of all rows to start:

1. The row of the new key is written first: from now on a host without it, which could not read what is sealed anew,
   does not start.
2. The secrets are sealed anew; hosts that run have both keys.
3. The row of the old key is deleted last: from now on the new key alone is enough, and the old one alone is refused.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Table, delete, func, or_, select, update
from sqlalchemy.orm import Session

from pbxhub.store.accounts import User
from pbxhub.store.all_tables import metadata
from pbxhub.store.hub_keys import HubKeys, new_row, random_root
from pbxhub.store.key_check import KeyCheck, add_check, drop_other_checks
from pbxhub.store.session import Database
from pbxhub.store.sign_in_rows import KeptForm
from pbxhub.vault import Vault

_BATCH = 100  # rows in one transaction
Progress = Callable[[str, int, int], None]
"""Called with the name of a table, the rows looked at so far, and all its rows."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A secret that no key of this host opens. name: of its row, "" where it has none."""

    table: str
    id: object
    name: str
    column: str


@dataclass(frozen=True, slots=True)
class Rotated:
    """sealed: secrets that were sealed anew, by table. unreadable: then nothing was changed."""

    sealed: dict[str, int]
    unreadable: tuple[Unreadable, ...] = ()


def rotate(database: Database, vault: Vault, progress: Progress) -> Rotated:
    """Seals everything with the first key. Does nothing when there is a secret that no key opens."""
    if unreadable := tuple(find_unreadable(database, vault)):
        return Rotated({}, unreadable)
    first = Vault(vault.keys[0])
    add_check(database, first)
    total: dict[str, int] = {}
    while found := {table.name: done for table in sealed_tables() if (done := _seal(database, vault, table, progress))}:
        for name, done in found.items():
            total[name] = total.get(name, 0) + done
    drop_other_checks(database, first)
    return Rotated(total)


def find_unreadable(database: Database, vault: Vault) -> Iterator[Unreadable]:
    """Every secret that no key of the vault opens."""
    for table in sealed_tables():
        for rows in _batches(database, table):
            for row in rows:
                for column in _sealed_columns(table):
                    if not vault.can_open(row[column.name]):
                        yield Unreadable(table.name, row[_key(table).name], row.get("name", ""), column.name)


def go_on_without(database: Database, vault: Vault) -> list[str]:
    """After a lost key: from now on the key of this host is the one of the database. What the lost key sealed stays,
    and is held until somebody enters it again, or the lost key is found and added. Second factors are removed; returns
    whose. Passwords stay."""
    with database.write() as session:
        kept = session.get(HubKeys, 1, with_for_update=True)
        fresh = new_row(vault, random_root())
        if kept is None:
            session.add(fresh)
        elif not vault.can_open(kept.root_sealed):
            kept.root_sealed = fresh.root_sealed
        names = _end_second_factors(session)
    add_check(database, Vault(vault.keys[0]))
    drop_other_checks(database, Vault(vault.keys[0]))
    return names


def renew_root(database: Database, vault: Vault) -> list[str]:
    """After a stolen key: what was derived from the former root is no longer valid. Second factors are removed;
    returns whose. Passwords stay. Processes of the hub use the new root after a restart."""
    with database.write() as session:
        session.get_one(HubKeys, 1, with_for_update=True).root_sealed = vault.seal(random_root().hex())
        return _end_second_factors(session)


def _end_second_factors(session: Session) -> list[str]:
    """Deletes what is encrypted with a key derived from the former root; returns the users' e-mail addresses."""
    factors = or_(User.tf_totp_secret.is_not(None), User.tf_primary_method.is_not(None))
    users = session.scalars(select(User).where(factors).order_by(User.email)).all()
    for user in users:
        user.tf_primary_method = user.tf_totp_secret = None
        user.recovery_codes = []
    session.execute(delete(KeptForm))  # what was typed when a session ended: nobody can read it now
    return [user.email for user in users]


def sealed_tables() -> list[Table]:
    """The tables with secrets: in every column named "sealed" or "…_sealed"."""
    return [t for t in metadata.sorted_tables if _sealed_columns(t) and t.name != KeyCheck.__tablename__]


def _sealed_columns(table: Table) -> list[Column[Any]]:
    return [c for c in table.columns if c.name == "sealed" or c.name.endswith("_sealed")]


def _key(table: Table) -> Column[Any]:
    (key,) = table.primary_key.columns
    return key


def _batches(database: Database, table: Table) -> Iterator[Sequence[dict[str, Any]]]:
    """The rows with a secret, oldest first, with their key, their secrets, and their name where they have one."""
    key, columns = _key(table), _sealed_columns(table)
    named = [table.columns["name"]] if "name" in table.columns else []
    query = select(key, *named, *columns).where(or_(*(column != "" for column in columns))).order_by(key).limit(_BATCH)
    last: Any = None
    while True:
        with database.read() as session:
            found = session.execute(query if last is None else query.where(key > last)).mappings().all()
        if not found:
            return
        yield [dict(row) for row in found]
        last = found[-1][key.name]


def _seal(database: Database, vault: Vault, table: Table, progress: Progress) -> int:
    """How many secrets of this table were sealed anew."""
    first, key, done, seen = Vault(vault.keys[0]), _key(table), 0, 0
    with database.read() as session:
        total = session.scalar(select(func.count()).select_from(table)) or 0
    for rows in _batches(database, table):
        old = [(row[key.name], column, row[column.name]) for row in rows for column in _sealed_columns(table)]
        old = [each for each in old if not first.can_open(each[2])]
        if old:
            with database.write() as session:
                for row_id, column, sealed in old:
                    unchanged = update(table).where(key == row_id, column == sealed)
                    session.execute(unchanged.values({column.name: first.seal(vault.open(sealed))}))
        done += len(old)
        seen += len(rows)
        progress(table.name, seen, total)
    return done
