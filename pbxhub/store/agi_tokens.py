"""The FastAGI address of a PBX: agi://HOST:4573/PBX_ID-SALT/TOKEN. Each PBX has its own token.

SQLite gives the id of a deleted PBX to the next one. The salt differs, so an Asterisk that still has the address of the
deleted one cannot ask as the new one. PBXs of 0.1.0 have no salt, and keep the address in their dialplan.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass

from pbxhub.store.accounts import Pbx
from pbxhub.vault import Vault


@dataclass(frozen=True, slots=True)
class AgiAddress:
    """Which PBX an address is of. Whether the salt is that of the PBX is for the reader of the PBX to check."""

    pbx_id: int
    salt: str

    def __str__(self) -> str:
        return f"{self.pbx_id}-{self.salt}" if self.salt else str(self.pbx_id)


class Tokens:
    """Creates and checks the tokens. They are derived from the secret key, so none is stored."""

    def __init__(self, vault: Vault) -> None:
        self._key = vault.derive("agi tokens")

    def path(self, pbx: Pbx) -> str:
        """The part after agi://HOST:4573/ for this PBX."""
        address = AgiAddress(pbx.id, pbx.agi_salt)
        return f"{address}/{self._token(str(address))}"

    def address_of(self, path: str) -> AgiAddress | None:
        """Which PBX this path is of; None when the path is invalid."""
        owner, _, token = path.partition("/")
        number, _, salt = owner.partition("-")
        if not number.isascii() or not number.isdigit() or len(number) > 18:
            return None
        if not hmac.compare_digest(self._token(owner).encode(), token.encode()):
            return None
        return AgiAddress(int(number), salt)

    def _token(self, owner: str) -> str:
        digest = hmac.digest(self._key, owner.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:18]).decode()
