"""The FastAGI address of a PBX: agi://HOST:4573/KEY/TOKEN, with the key of the PBX. Each PBX has its own token."""

import base64
import hashlib
import hmac
from dataclasses import dataclass

from pbxhub.store.accounts import Pbx
from pbxhub.vault import Vault


@dataclass(frozen=True, slots=True)
class AgiAddress:
    """Which PBX an address is of. If the PBX with this id has another key, the address is of a deleted one."""

    pbx_id: int
    key: str


class Tokens:
    """Creates and checks the tokens. They are derived from the secret key, so none is stored."""

    def __init__(self, vault: Vault) -> None:
        self._key = vault.derive("agi tokens")

    def path(self, pbx: Pbx) -> str:
        """The part after agi://HOST:4573/ for this PBX."""
        return f"{pbx.key}/{self._token(pbx.key)}"

    def address_of(self, path: str) -> AgiAddress | None:
        """Which PBX this path is of; None when the path is invalid."""
        key, _, token = path.partition("/")
        number = key.partition("-")[0]
        if not number.isascii() or not number.isdigit() or len(number) > 18:
            return None
        if not hmac.compare_digest(self._token(key).encode(), token.encode()):
            return None
        return AgiAddress(int(number), key)

    def _token(self, key: str) -> str:
        digest = hmac.digest(self._key, key.encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:18]).decode()
