"""Secrets at rest: sealed with a key from the settings, opened only where they are used."""

import base64
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class VaultError(Exception):
    """A sealed secret cannot be opened: the key in the settings is not the one it was sealed with."""


@dataclass(frozen=True, slots=True)
class Vault:
    """Seals and opens secrets. key: 32 bytes (Settings.secret_key)."""

    key: bytes

    def __post_init__(self) -> None:
        if len(self.key) != 32:
            raise ValueError("a vault needs a key of 32 bytes")

    def seal(self, secret: str) -> str:
        """The secret encrypted and authenticated (Fernet), as text for a column. An empty secret stays empty."""
        return self.fernet("secrets at rest").encrypt(secret.encode()).decode() if secret else ""

    def open(self, sealed: str) -> str:
        """The secret behind seal(). Raises VaultError when the key is another one."""
        try:
            return self.fernet("secrets at rest").decrypt(sealed.encode()).decode() if sealed else ""
        except InvalidToken:
            raise VaultError(
                "a stored secret was sealed with another PBXHUB_SECRET_KEY; put the old key back"
            ) from None

    def can_open(self, sealed: str) -> bool:
        """Whether it was sealed with this key; nothing sealed is fine, too."""
        try:
            self.open(sealed)
        except VaultError:
            return False
        return True

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose (sessions, links …), so that no key serves two."""
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(self.key)

    def fernet(self, purpose: str) -> Fernet:
        """Encrypts for one purpose; what it made carries the time, so that a reader can refuse what is old."""
        return Fernet(base64.urlsafe_b64encode(self.derive(purpose)))
