"""Signatures by the Standard Webhooks specification (standardwebhooks.com), with an overlap when a key is rotated."""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from pbxhub.vault import Vault

OVERLAP = timedelta(hours=24)
_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 64  # bytes of a key


class SigningKeyError(Exception):
    """A text is not a signing key. The message says what one looks like."""


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """current signs. Until previous_until, previous signs as well, so that the receiver can switch keys."""

    current: str
    previous: str = ""
    previous_until: datetime | None = None

    def valid(self, now: datetime) -> tuple[str, ...]:
        """The keys to sign with at that moment, the newest first."""
        is_overlap = self.previous and self.previous_until and now < self.previous_until
        return (self.current, self.previous) if is_overlap else (self.current,)


def new_key() -> str:
    """whsec_ and 32 random bytes in standard base64."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_key(key: str) -> None:
    """Raises SigningKeyError for a key that receivers' libraries reject."""
    try:
        raw = base64.b64decode(key.removeprefix(_PREFIX), validate=True)
    except ValueError:
        raw = b""
    if not key.startswith(_PREFIX) or not _SHORTEST <= len(raw) <= _LONGEST:
        raise SigningKeyError(
            "A signing key is whsec_ followed by 24 to 64 random bytes in base64. Leave the field empty to get one."
        )


def rotate(keys: SigningKeys, now: datetime, key: str = "") -> SigningKeys:
    """A new current key (made here, or the given one); the old one stays valid for 24 hours."""
    if key:
        check_key(key)
    return SigningKeys(key or new_key(), keys.current, now + OVERLAP)


def seal_keys(vault: Vault, keys: SigningKeys) -> str:
    """Encrypts the keys for Webhook.signing_sealed."""
    until = keys.previous_until.isoformat() if keys.previous_until else None
    return vault.seal(json.dumps({"current": keys.current, "previous": keys.previous, "previous_until": until}))


def open_keys(vault: Vault, sealed: str) -> SigningKeys | None:
    """Decrypts what seal_keys returned; None for "" (the webhook is not signed). Raises VaultError like Vault.open."""
    if not sealed:
        return None
    data = json.loads(vault.open(sealed))
    until = data["previous_until"]
    return SigningKeys(data["current"], data["previous"], datetime.fromisoformat(until) if until else None)


def identify(
    message_id: str, attempt: int, keys: SigningKeys | None, now: datetime, body: Iterable[bytes]
) -> tuple[tuple[str, str], ...]:
    """The headers that are added to a request when it is sent.

    webhook-id is the same for every attempt of a delivery; webhook-attempt is present from the second attempt on.
    With keys also webhook-timestamp (seconds since 1970) and webhook-signature over id, time and body.
    body: in parts, as it is sent.
    """
    headers = [("webhook-id", message_id)]
    if attempt > 1:
        headers.append(("webhook-attempt", str(attempt)))
    if keys:
        timestamp = int(now.timestamp())
        headers.append(("webhook-timestamp", str(timestamp)))
        headers.append(("webhook-signature", _signatures(keys.valid(now), message_id, timestamp, body)))
    return tuple(headers)


def _signatures(keys: tuple[str, ...], message_id: str, timestamp: int, body: Iterable[bytes]) -> str:
    begun = f"{message_id}.{timestamp}.".encode()
    hashes = [hmac.new(base64.b64decode(key.removeprefix(_PREFIX)), begun, hashlib.sha256) for key in keys]
    for part in body:
        for one in hashes:
            one.update(part)
    return " ".join(f"v1,{base64.b64encode(one.digest()).decode()}" for one in hashes)
