"""Links that the operator hands over when mail is not possible: to reset a password, or to accept an invitation."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from itsdangerous import URLSafeTimedSerializer
from passlib.handlers.sha2_crypt import sha256_crypt  # type: ignore[import-untyped]
from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Hub
from pbxhub.account.email_addresses import normalised
from pbxhub.account.invitations import LASTS, account_of, new_link
from pbxhub.account.refusals import Refusal
from pbxhub.account.sign_ins import signing_key
from pbxhub.store.accounts import User
from pbxhub.store.sign_in_rows import Invitation
from pbxhub.translatable import say
from pbxhub.vault import Vault

RESET_PATH, RESET_SALT = "/reset-password", "reset-salt"
_RESET = timedelta(days=1)  # the sign-in library's own
_ROUNDS = 1000  # of a hash of what is a hash already


@dataclass(frozen=True, slots=True)
class Link:
    """A link to an account, and when it expires."""

    address: str
    until: datetime


def link_for(session: Session, hub: Hub, email: str, now: datetime) -> Link | Refusal:
    """A link for this address. It counts like a mailed link, because the operator vouches for the recipient."""
    address, begin = normalised(email), hub.settings.public_url
    if user := account_of(session, address):
        return Link(f"{begin}{RESET_PATH}/{_reset_token(hub.vault, user)}", now + _RESET)
    newest = select(Invitation).where(Invitation.email == address).order_by(Invitation.created_on.desc())
    if invitation := session.scalars(newest).first():
        return Link(f"{begin}/invitations/with/{new_link(invitation, mailed=True, now=now)}", now + LASTS)
    return Refusal(
        "email", say("There is no user and no invitation for %(who)s.", who=email),
        say("First, an owner of a project must invite this address."),
    )  # fmt: skip


def _reset_token(vault: Vault, user: User) -> str:
    """As the page reads it, which is of the sign-in library (flask_security.recoverable): with what a new password or
    a sign-out everywhere changes. The library's own function works within the pages only, which take seconds to load
    on a small machine."""
    password = sha256_crypt.using(rounds=_ROUNDS).hash(user.password) if user.password else None
    signer = URLSafeTimedSerializer(signing_key(vault), salt=RESET_SALT)
    return str(signer.dumps([user.fs_uniquifier, password]))
