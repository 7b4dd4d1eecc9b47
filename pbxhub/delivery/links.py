"""Addresses of the hub's own pages that requests name: the card of a call, and the signed link of its recording."""

import base64
import hashlib
import hmac
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from pbxhub.vault import Vault

CALLBACK = "/connections/callback"
RECORDING_LIFETIME = timedelta(days=7)


class Links:
    """Makes them; and knows the folder where recordings lie by default."""

    def __init__(self, vault: Vault, public_url: str, recordings: Path | None = None) -> None:
        """recordings: Settings.recordings; None where no webhook is rendered."""
        self.common_folder = recordings
        self.recordings = RecordingLinks(vault, public_url)
        self._url = public_url

    @property
    def consent_callback(self) -> str:
        """Where a provider sends the browser back when a user has agreed to a connection."""
        return f"{self._url}{CALLBACK}"

    def call_card(self, call_id: UUID) -> str:
        return f"{self._url}/calls/{call_id}"

    def recording(self, call_id: UUID, pbx_id: int | None, name: str, now: datetime) -> str:
        """The signed address of a recording."""
        return self.recordings.make(call_id, pbx_id, name, now)


class RecordingLinks:
    """Makes and checks the addresses of recordings: /recordings/CALL_ID?expires=UNIX_SECONDS&signature=…"""

    def __init__(self, vault: Vault, public_url: str) -> None:
        self._url = public_url
        self._vault = vault
        self._key: bytes | None = None

    def make(self, call_id: UUID, pbx_id: int | None, name: str, now: datetime) -> str:
        """Valid for RECORDING_LIFETIME, for the recording that this PBX has reported under this name."""
        expires = int((now + RECORDING_LIFETIME).timestamp())
        signature = self._sign(f"{call_id}:{expires}:{pbx_id or ''}:{name}")
        return f"{self._url}/recordings/{call_id}?expires={expires}&signature={signature}"

    def is_of(self, call_id: UUID, pbx_id: int | None, name: str, expires: int, signature: str, now: datetime) -> bool:
        """Whether the hub made this link for this recording, and it is still valid."""
        return self._fits(f"{call_id}:{expires}:{pbx_id or ''}:{name}", signature) and now.timestamp() < expires

    def is_older(self, call_id: UUID, expires: int, signature: str, now: datetime) -> bool:
        """Whether version 0.1.0 made this link, which signed the call alone, and it is still valid."""
        return self._fits(f"{call_id}:{expires}", signature) and now.timestamp() < expires

    def _fits(self, text: str, signature: str) -> bool:
        return hmac.compare_digest(self._sign(text), signature)

    def _sign(self, text: str) -> str:
        self._key = self._key or self._vault.derive("recording links")
        digest = hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:18]).decode()
