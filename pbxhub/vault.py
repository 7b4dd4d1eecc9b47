"""Secrets at rest: encrypted with a key from the settings, decrypted only where they are used."""

import base64
from dataclasses import dataclass, field

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_BYTES = 32


class VaultError(Exception):
    """A secret cannot be decrypted: it was encrypted with another key."""


@dataclass(frozen=True, slots=True)
class Vault:
    """Encrypts and decrypts secrets. key: 32 bytes, or several keys one after the other (Settings.secret_key): the
    first encrypts, all decrypt.

    root: what the keys for sessions, links and one-time codes are derived from, so that they stay when the secrets are
    sealed with another key; by default the first key. salt: of passwords; by default derived as well
    (store/hub_keys.py keeps both).
    """

    key: bytes = field(repr=False)
    root: bytes = field(default=b"", repr=False)
    salt: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.key or len(self.key) % KEY_BYTES:
            raise ValueError("a vault needs keys of 32 bytes")

    @property
    def keys(self) -> tuple[bytes, ...]:
        return split_keys(self.key)

    @property
    def password_salt(self) -> str:
        """Mixed into passwords before they are hashed; the hash has a salt of its own, too."""
        return self.salt or self.derive("passwords").hex()

    def seal(self, secret: str) -> str:
        """Encrypts and authenticates the secret (Fernet); returns text for a column. An empty secret stays empty."""
        return _sealing(self.keys[0]).encrypt(secret.encode()).decode() if secret else ""

    def open(self, sealed: str) -> str:
        """Decrypts what seal() returned. Raises VaultError when it was encrypted with another key."""
        try:
            return MultiFernet([*map(_sealing, self.keys)]).decrypt(sealed.encode()).decode() if sealed else ""
        except InvalidToken:
            raise VaultError(
                "a stored secret was encrypted with another PBXHUB_SECRET_KEY; restore the old key"
            ) from None

    def can_open(self, sealed: str) -> bool:
        """Whether the secret was encrypted with one of these keys; True for an empty one."""
        try:
            self.open(sealed)
        except VaultError:
            return False
        return True

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose (sessions, links …), so that no key is used for two."""
        return _derived(self.root or self.keys[0], purpose)

    def fernet(self, purpose: str) -> Fernet:
        """Encrypts for one purpose. Its tokens contain the time, so that old ones can be refused."""
        return Fernet(base64.urlsafe_b64encode(self.derive(purpose)))


def split_keys(joined: bytes) -> tuple[bytes, ...]:
    """The keys in Settings.secret_key."""
    return tuple(joined[start : start + KEY_BYTES] for start in range(0, len(joined), KEY_BYTES))


def _sealing(key: bytes) -> Fernet:
    return Fernet(base64.urlsafe_b64encode(_derived(key, "secrets at rest")))


def _derived(key: bytes, purpose: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(key)
