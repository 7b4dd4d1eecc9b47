"""Recordings: the folder of each PBX on this host, and the signed link that plays one without signing in.

A recording belongs to the PBX that reported it: its name is looked for in the folder of that PBX and nowhere else. What
leads out of it, by .., a link or an absolute path, does not exist; nor does what lies in a folder of another PBX
inside it.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.store.accounts import COMMON_FOLDER, Pbx
from pbxhub.vault import Vault

RECORDING_LIFETIME = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class RecordingFolder:
    """Where the recordings of one PBX lie. others: folders of other PBXs inside it."""

    path: Path
    others: tuple[Path, ...] = ()

    def find(self, name: str) -> Path | None:
        """The file of this name, relative or absolute as the PBX reported it; None when there is none here."""
        try:
            path = (self.path / name).resolve()
            here = path.is_relative_to(self.path) and not any(path.is_relative_to(other) for other in self.others)
            return path if here and path.is_file() else None
        except (OSError, ValueError):  # a name no file can have
            return None


def folder_of(session: Session, pbx_id: int | None, common: Path | None) -> RecordingFolder | None:
    """The folder of a PBX; None when it has none, or is gone. common: Settings.recordings."""
    folders: dict[int, Path] = {}
    for each, text in session.execute(select(Pbx.id, Pbx.recordings).where(Pbx.recordings != "")):
        if path := common if text == COMMON_FOLDER else Path(text):
            folders[each] = path.resolve()
    own = folders.get(pbx_id or 0)
    if own is None:
        return None
    inside = {other for other in folders.values() if other != own and other.is_relative_to(own)}
    return RecordingFolder(own, tuple(inside))


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
