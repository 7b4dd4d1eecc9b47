"""Keeps a consent in this browser's session while its user is at the provider: once, and for a quarter of an hour.

The session's cookie is signed but readable, so what it keeps is encrypted.
"""

import hmac
import json

from cryptography.fernet import Fernet, InvalidToken
from flask import session

from pbxhub.account.consents import Consent
from pbxhub.wsgi.current import hub

_SECONDS = 900
_KEY = "consent"


def keep_consent(project_id: int, consent: Consent) -> None:
    """The last one counts: who presses Connect twice agrees to the second."""
    kept = [project_id, consent.connection_id, consent.version, consent.state, consent.verifier]
    session[_KEY] = _seal().encrypt(json.dumps(kept).encode()).decode()


def take_consent(state: str) -> tuple[int, Consent] | None:
    """The project and the consent that was begun in this browser with this state. A wrong state ends it."""
    try:
        project_id, *kept = json.loads(_seal().decrypt(str(session.pop(_KEY, "")), ttl=_SECONDS))
    except InvalidToken:
        return None
    consent = Consent(*kept)
    return (project_id, consent) if hmac.compare_digest(consent.state.encode(), state.encode()) else None


def _seal() -> Fernet:
    return hub().vault.fernet("consents")
