"""Keeps secrets in the session of this browser, each once and for a short time.

The session's cookie is signed but readable, so what it keeps is encrypted.
"""

import hmac
import json
from typing import Any

from cryptography.fernet import InvalidToken
from flask import session

from pbxhub.account.consents import Consent
from pbxhub.wsgi.current import hub

_SHOWN, _SHOWN_SECONDS = "shown once", 300  # a redirect takes one; what nobody fetched in this time is gone
_CONSENT, _CONSENT_SECONDS = "consents", 900  # at the provider


def hand_over(page: str, *texts: str) -> None:
    """Keeps the texts for take() of the same page, so that the answer to every POST can be a redirect. Call it when the
    change is committed: what was undone has no secret. A later one takes the place of one that nobody has taken."""
    _keep(_SHOWN, [page, *texts])


def take(page: str) -> list[str]:
    """The texts left for this page; empty the second time, as for a reloaded page, and for another one."""
    wanted, *texts = _kept(_SHOWN, _SHOWN_SECONDS) or [""]
    if wanted != page:
        return []
    session.pop(_SHOWN)
    return [str(text) for text in texts]


def keep_consent(project_id: int, consent: Consent) -> None:
    """The last one counts: who presses Connect twice agrees to the second."""
    _keep(_CONSENT, [project_id, consent.connection_id, consent.version, consent.state, consent.verifier])


def take_consent(state: str) -> tuple[int, Consent] | None:
    """The project and the consent that was begun in this browser with this state. A wrong state ends it."""
    kept = _kept(_CONSENT, _CONSENT_SECONDS)
    session.pop(_CONSENT, None)
    if kept is None:
        return None
    project_id, consent = kept[0], Consent(*kept[1:])
    return (project_id, consent) if hmac.compare_digest(consent.state.encode(), state.encode()) else None


def _keep(purpose: str, what: list[Any]) -> None:
    session[purpose] = hub().vault.fernet(purpose).encrypt(json.dumps(what).encode()).decode()


def _kept(purpose: str, seconds: int) -> list[Any] | None:
    try:
        found: list[Any] = json.loads(hub().vault.fernet(purpose).decrypt(str(session.get(purpose, "")), ttl=seconds))
    except InvalidToken:
        session.pop(purpose, None)
        return None
    return found
