"""The address a PBX asks at: agi://HOST:4573/PBX_ID/TOKEN. The token is the hub's own, one for each PBX."""

import base64
import hashlib
import hmac

from pbxhub.vault import Vault


class Tokens:
    """Makes and knows the tokens; nothing is stored, the key of the settings says it all."""

    def __init__(self, vault: Vault) -> None:
        self._key = vault.derive("agi tokens")

    def path(self, pbx_id: int) -> str:
        """What follows agi://HOST:4573/ for this PBX."""
        return f"{pbx_id}/{self._token(pbx_id)}"

    def pbx_of(self, path: str) -> int | None:
        """The PBX that a path names, None when it is not one of ours."""
        number, _, token = path.partition("/")
        if not number.isascii() or not number.isdigit() or len(number) > 18:
            return None
        pbx_id = int(number)
        return pbx_id if hmac.compare_digest(self._token(pbx_id).encode(), token.encode()) else None

    def _token(self, pbx_id: int) -> str:
        digest = hmac.digest(self._key, str(pbx_id).encode(), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:18]).decode()
