"""Addresses of the hub's own pages that requests name: the card of a call, and the signed link of its recording."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from pbxhub.store.accounts import Project
from pbxhub.vault import Vault

CALLBACK = "/connections/callback"


@dataclass(frozen=True, slots=True)
class LinkRule:
    """How a project wants the links to its recordings. days: how long one is valid; 0: as long as its call is kept.
    series: how often all links were revoked."""

    days: int = 0
    series: int = 0


AS_LONG_AS_KEPT = LinkRule()


def link_rule(project: Project) -> LinkRule:
    """The settings of a project."""
    return LinkRule(project.recording_link_days, project.recording_link_series)


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

    def saved_filter(self, project_id: int, filter_id: int) -> str:
        """A list with a saved filter."""
        return f"{self._url}/projects/{project_id}/filters/{filter_id}"

    def outcome(self, number: int) -> str:
        """The page that says what an outcome means and what helps."""
        return f"{self._url}/errors/{number}"

    def recording(self, call_id: UUID, pbx_id: int | None, name: str, rule: LinkRule, now: datetime) -> str:
        """The signed address of a recording."""
        return self.recordings.make(call_id, pbx_id, name, rule, now)


class RecordingLinks:
    """Makes and checks the addresses of recordings: /recordings/CALL_ID?expires=UNIX_SECONDS&signature=…

    Without expires, a link is valid as long as its call is kept. A link says nothing about its series: that is part of
    what is signed, so a project that counts one up revokes every link made before.
    """

    def __init__(self, vault: Vault, public_url: str) -> None:
        self._url = public_url
        self._vault = vault
        self._key: bytes | None = None

    def make(self, call_id: UUID, pbx_id: int | None, name: str, rule: LinkRule, now: datetime) -> str:
        """For the recording that this PBX has reported under this name."""
        expires = str(int((now + timedelta(days=rule.days)).timestamp())) if rule.days else ""
        signature = self._sign(_signed(call_id, expires, pbx_id, name, rule.series))
        query = f"expires={expires}&signature={signature}" if expires else f"signature={signature}"
        return f"{self._url}/recordings/{call_id}?{query}"

    def is_of(
        self, call_id: UUID, pbx_id: int | None, name: str, series: int, expires: str, signature: str, now: datetime
    ) -> bool:
        """Whether the hub made this link for this recording, and it is still valid. expires: "" without one."""
        text = _signed(call_id, expires, pbx_id, name, series)
        return self._fits(text, signature) and _is_later(expires, now)

    def is_older(self, call_id: UUID, series: int, expires: str, signature: str, now: datetime) -> bool:
        """Whether version 0.1.0 made this link, which signed the call alone, and it is still valid."""
        fits = bool(expires) and not series and self._fits(f"{call_id}:{expires}", signature)
        return fits and _is_later(expires, now)

    def _fits(self, text: str, signature: str) -> bool:
        return hmac.compare_digest(self._sign(text), signature)

    def _sign(self, text: str) -> str:
        self._key = self._key or self._vault.derive("recording links")
        digest = hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:18]).decode()


def _signed(call_id: UUID, expires: str, pbx_id: int | None, name: str, series: int) -> str:
    """Before a project revokes its links, the text of earlier versions: their links go on."""
    begun = f"{series}/" if series else ""
    return f"{begun}{call_id}:{expires}:{pbx_id or ''}:{name}"


def _is_later(expires: str, now: datetime) -> bool:
    return not expires or now.timestamp() < int(expires)
