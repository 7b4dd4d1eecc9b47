"""The file of a backup: a tar with manifest.json, the database, and the key sealed with a passphrase (or no key).

The manifest comes first, so that a restore can refuse before it reads the rest. The database is a SQLite file or what
pg_dump writes in its custom format.
"""

import base64
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

_FORMAT = 1
_MANIFEST, _KEY = "manifest.json", "secret.key.sealed"
_MOST_MANIFEST = 64 * 1024  # bytes
_DATABASE = {"sqlite": "database.sqlite3", "postgresql": "database.dump"}
# RFC 7914: 128 * r * n = 64 MB of memory for each guess
_SCRYPT = {"n": 2**16, "r": 8, "p": 1}
Kind = Literal["sqlite", "postgresql"]


class BackupError(Exception):
    """A backup cannot be written, read or restored. The text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. version: of the hub that made it. revision: of its tables. created_on: ISO 8601, UTC.

    canary: a known value sealed with the key of the database, by which a restore recognises the right key.
    """

    kind: Kind
    version: str
    revision: str
    created_on: str
    canary: str
    format: int = _FORMAT

    @property
    def made_on(self) -> datetime:
        return datetime.fromisoformat(self.created_on)


def write_backup(path: Path, manifest: Manifest, database: Path, sealed_key: bytes) -> None:
    """Writes the file, readable by its owner alone. It appears whole or not at all; one of that name is replaced."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w") as tar:
                _add(tar, _MANIFEST, json.dumps(asdict(manifest), indent=1).encode())
                if sealed_key:
                    _add(tar, _KEY, sealed_key)
                tar.add(database, _DATABASE[manifest.kind], filter=_anonymous)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        Path(draft).unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o600
    tar.addfile(entry, io.BytesIO(data))


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o600
    return entry


class BackupFile:
    """An open backup; see open_backup()."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.manifest = self._read_manifest()

    @property
    def sealed_key(self) -> bytes:
        """The key as it was sealed; empty when the backup was made without one."""
        return self._read(_KEY) if _KEY in self._tar.getnames() else b""

    def extract_database(self, target: Path) -> None:
        """Writes the database to a new file, readable by its owner alone."""
        name = _DATABASE[self.manifest.kind]
        source = self._tar.extractfile(name) if name in self._tar.getnames() else None
        if source is None:
            raise BackupError("This backup holds no database. Take another one.")
        with source, os.fdopen(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            while part := source.read(1 << 20):
                file.write(part)
            file.flush()
            os.fsync(file.fileno())

    def _read_manifest(self) -> Manifest:
        try:
            found = json.loads(self._read(_MANIFEST))
            if found.get("format") != _FORMAT:
                raise BackupError(
                    f"This backup has format {found.get('format')}; this version of pbxhub reads format {_FORMAT}. "
                    f"Install the version that made it: {found.get('version', 'unknown')}."
                )
            manifest = Manifest(**found)
            if manifest.kind not in _DATABASE:
                raise ValueError
            return manifest
        except (KeyError, TypeError, ValueError, AttributeError):
            raise BackupError("This is not a backup of pbxhub: it has no readable manifest.json.") from None

    def _read(self, name: str) -> bytes:
        source = self._tar.extractfile(name)
        if source is None:
            raise KeyError(name)
        return source.read(_MOST_MANIFEST)


@contextmanager
def open_backup(path: Path) -> Iterator[BackupFile]:
    """Opens a backup for reading. Raises BackupError."""
    try:
        with tarfile.open(path, "r:") as tar:
            yield BackupFile(tar)
    except tarfile.TarError as error:
        raise BackupError(f"{path} cannot be read as a backup: {error}. It may be cut off: take another one.") from None
    except FileNotFoundError:
        raise BackupError(f"There is no file {path}.") from None


def seal_key(key: bytes, passphrase: str) -> bytes:
    """The key encrypted under a passphrase (scrypt, Fernet), with its salt before it."""
    salt = os.urandom(16)
    return base64.b64encode(salt) + b"." + _fernet(passphrase, salt).encrypt(key)


def open_key(sealed: bytes, passphrase: str) -> bytes:
    """The key behind seal_key(). Raises BackupError when the passphrase is another one."""
    salt, _, token = sealed.partition(b".")
    try:
        return _fernet(passphrase, base64.b64decode(salt)).decrypt(token)
    except (InvalidToken, ValueError):
        raise BackupError("The passphrase does not open the key of this backup. Nothing was changed.") from None


def _fernet(passphrase: str, salt: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(Scrypt(salt=salt, length=32, **_SCRYPT).derive(passphrase.encode())))
