"""Hands a secret to the next page of this browser, once, so that the answer to every POST can be a redirect.

The secret is in the session's cookie, encrypted, because the cookie is signed but readable. A reloaded page, or one
opened by somebody else, does not have it.
"""

import json

from cryptography.fernet import Fernet, InvalidToken
from flask import session

from pbxhub.wsgi.current import hub

_SECONDS = 300  # a redirect takes one; what nobody fetched in this time is gone
_KEY = "shown_once"


def hand_over(page: str, *texts: str) -> None:
    """Keeps the texts for take() of the same page. Call it when the change is committed: what was undone has no
    secret. A later one takes the place of one that nobody has taken."""
    session[_KEY] = _seal().encrypt(json.dumps([page, *texts]).encode()).decode()


def take(page: str) -> list[str]:
    """The texts left for this page; empty the second time."""
    try:
        wanted, *texts = json.loads(_seal().decrypt(str(session.get(_KEY, "")), ttl=_SECONDS))
    except InvalidToken:
        session.pop(_KEY, None)
        return []
    if wanted != page:
        return []
    session.pop(_KEY)
    return [str(text) for text in texts]


def _seal() -> Fernet:
    return hub().vault.fernet("shown once")
