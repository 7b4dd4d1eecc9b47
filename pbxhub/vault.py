"""Secrets at rest: encrypted with a key from the settings, decrypted only where they are used."""

import base64
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


class VaultError(Exception):
    """A secret cannot be decrypted: it was encrypted with another key."""


@dataclass(frozen=True, slots=True)
class Vault:
    """Encrypts and decrypts secrets. key: 32 bytes (Settings.secret_key)."""

    key: bytes

    def __post_init__(self) -> None:
        if len(self.key) != 32:
            raise ValueError("a vault needs a key of 32 bytes")

    def seal(self, secret: str) -> str:
        """Encrypts and authenticates the secret (Fernet); returns text for a column. An empty secret stays empty."""
        return self.fernet("secrets at rest").encrypt(secret.encode()).decode() if secret else ""

    def open(self, sealed: str) -> str:
        """Decrypts what seal() returned. Raises VaultError when it was encrypted with another key."""
        try:
            return self.fernet("secrets at rest").decrypt(sealed.encode()).decode() if sealed else ""
        except InvalidToken:
            raise VaultError(
                "a stored secret was encrypted with another PBXHUB_SECRET_KEY; restore the old key"
            ) from None

    def can_open(self, sealed: str) -> bool:
        """Whether the secret was encrypted with this key; True for an empty one."""
        try:
            self.open(sealed)
        except VaultError:
            return False
        return True

    def derive(self, purpose: str) -> bytes:
        """A 32-byte key for one purpose (sessions, links …), so that no key is used for two."""
        return HKDF(algorithm=SHA256(), length=32, salt=None, info=purpose.encode()).derive(self.key)

    def fernet(self, purpose: str) -> Fernet:
        """Encrypts for one purpose. Its tokens contain the time, so that old ones can be refused."""
        return Fernet(base64.urlsafe_b64encode(self.derive(purpose)))
