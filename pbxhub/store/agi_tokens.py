"""The FastAGI address of a PBX: agi://HOST:4573/PBX_ID/TOKEN. Each PBX has its own token."""

import base64
import hashlib
import hmac

from pbxhub.vault import Vault


class Tokens:
    """Creates and checks the tokens. They are derived from the secret key, so none is stored."""

    def __init__(self, vault: Vault) -> None:
        self._key = vault.derive("agi tokens")

    def path(self, pbx_id: int) -> str:
        """The part after agi://HOST:4573/ for this PBX."""
        return f"{pbx_id}/{self._token(pbx_id)}"

    def pbx_of(self, path: str) -> int | None:
        """The id of the PBX of this path; None when the path is invalid."""
        number, _, token = path.partition("/")
        if not number.isascii() or not number.isdigit() or len(number) > 18:
            return None
        pbx_id = int(number)
        return pbx_id if hmac.compare_digest(self._token(pbx_id).encode(), token.encode()) else None

    def _token(self, pbx_id: int) -> str:
        digest = hmac.digest(self._key, str(pbx_id).encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:18]).decode()
