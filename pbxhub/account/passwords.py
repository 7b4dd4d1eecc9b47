"""Passwords: one rule wherever one is chosen (at the first start, with an invitation, changed, set anew by mail or on
the server), and how one is stored."""

import base64
import hmac
import unicodedata

from argon2 import PasswordHasher

from pbxhub.account.refusals import Refusal
from pbxhub.translatable import say
from pbxhub.vault import Vault

SHORTEST = 10  # characters
_HASHER = PasswordHasher()  # Argon2id with the costs of RFC 9106, 4
_COMMON = frozenset({"password12", "password123", "1234567890", "qwertyuiop", "0123456789", "administrator"})


def normalised(password: str) -> str:
    """The one spelling of a password (NFKD) to hash and compare: keyboards write й as one or two characters."""
    return unicodedata.normalize("NFKD", password)


def hashed(password: str, vault: Vault) -> str:
    """A password as it is stored; it takes a tenth of a second or two. The sign-in library reads it, and
    writes the same when a password is changed (flask_security.utils.hash_password): first an HMAC with the hub's salt,
    so that who has read the database alone cannot even guess."""
    salted = hmac.digest(vault.password_salt.encode(), normalised(password).encode(), "sha512")
    return _HASHER.hash(base64.b64encode(salted))


def refuse_password(password: str, email: str) -> Refusal | None:
    """Why this is no password for the account of that address; None when it is. It is short, or easy to guess."""
    if len(password) < SHORTEST:
        return Refusal(
            "password", say("This is too short."), say("Use at least %(least)s characters.", least=SHORTEST)
        )  # fmt: skip
    lower, name = password.lower(), email.partition("@")[0].lower()
    if len(set(password)) < 5 or (len(name) > 3 and name in lower) or lower in _COMMON:
        return Refusal("password", say("This is easy to guess."), say("A few unrelated words are better."))
    return None
