"""What sign-in, links and FastAGI addresses hang on: kept in the database, so that it outlives the sealing key."""

import os
from dataclasses import replace

from sqlalchemy import Integer, String, literal, select, table
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from pbxhub.store.key_check import KeyCheck
from pbxhub.store.session import Base, Database
from pbxhub.vault import KEY_BYTES, Vault


class HubKeys(Base):
    """One row, written at the first start. The root is random, so that a stolen sealing key alone derives nothing; only
    a hub of 0.1.0 keeps the sealing key of that time as its root. root_sealed is sealed like any other secret, so
    `pbxhub rotate-key` seals it anew and changes nothing that is derived from it. password_salt is no secret (each hash
    has a salt of its own): with a lost key, passwords still open the hub."""

    __tablename__ = "hub_keys"
    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    root_sealed: Mapped[str] = mapped_column(String(200))
    password_salt: Mapped[str] = mapped_column(String(100))


def open_vault(database: Database, key: bytes) -> Vault:
    """The vault of this database; its key was checked before (key_check.py). The tables must be up to date."""
    with database.read() as session:
        row = session.get(HubKeys, 1)
    if row is None:
        return _first_vault(database, Vault(key))
    return Vault(key, bytes.fromhex(Vault(key).open(row.root_sealed)), row.password_salt)


def new_row(vault: Vault, root: bytes) -> HubKeys:
    """Keeps this root, sealed with the first key."""
    salt = replace(vault, root=root).derive("passwords").hex()
    return HubKeys(id=1, root_sealed=vault.seal(root.hex()), password_salt=salt)


def random_root() -> bytes:
    """Depends on no sealing key."""
    return os.urandom(KEY_BYTES)


def _first_vault(database: Database, vault: Vault) -> Vault:
    """A hub of 0.1.0, which had no such row, keeps the key that it was used with as its root: its passwords, sessions
    and FastAGI addresses hang on it. It has a user or a PBX."""
    try:
        with database.write() as session:
            checks = session.scalars(select(KeyCheck.sealed)).all()
            used = [key for key in vault.keys if any(map(Vault(key).can_open, checks))]
            key = used[0] if used else vault.keys[0]
            # by name: to load these tables takes longer than the rest of most commands
            rows = [select(literal(1)).select_from(table(name)).limit(1) for name in ("user_account", "pbx")]
            session.add(new_row(Vault(key), key if any(map(session.scalar, rows)) else random_root()))
    except IntegrityError:  # another process was first
        pass
    return open_vault(database, vault.key)
