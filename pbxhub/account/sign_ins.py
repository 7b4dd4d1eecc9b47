"""Browsers that are signed in. The browser has a random token, the database its hash: without the row nobody is signed
in. A sign-in ends when its user ends it, after IDLE without a request, and after ABSOLUTE at the latest."""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from pbxhub.account.tokens import hash_of
from pbxhub.store.sign_in_rows import SignIn
from pbxhub.vault import Vault

IDLE = timedelta(days=3)
ABSOLUTE = timedelta(days=30)
SEEN_EVERY = timedelta(minutes=5)  # how fresh "last seen" is kept; not a write for every page
_LONGEST_BROWSER = 300  # characters


def signing_key(vault: Vault) -> str:
    """Signs the cookies of browsers, and the links that set a password."""
    return vault.derive("sessions").hex()


def start(session: Session, user_id: int, address: str, browser: str, now: datetime) -> str:
    """The token of a new sign-in; those of this user that were idle for too long are forgotten."""
    session.execute(delete(SignIn).where(SignIn.user_id == user_id, SignIn.seen_on < now - IDLE))
    token = secrets.token_urlsafe(32)
    row = SignIn(token_hash=hash_of(token), user_id=user_id, address=address, browser=browser[:_LONGEST_BROWSER],
                 created_on=now, seen_on=now)  # fmt: skip
    session.add(row)
    return token


def current(session: Session, user_id: int, token: str, now: datetime) -> SignIn | None:
    """The sign-in of this user with this token, None when it is over."""
    row = session.scalar(select(SignIn).where(SignIn.token_hash == hash_of(token)))
    if row is None or row.user_id != user_id or now - row.seen_on > IDLE or now - row.created_on > ABSOLUTE:
        return None
    return row


def see(session: Session, sign_in_id: int, now: datetime) -> None:
    """Notes that the browser asks for pages."""
    session.execute(update(SignIn).where(SignIn.id == sign_in_id).values(seen_on=now))


def end(session: Session, token: str) -> None:
    """Ends the sign-in with this token."""
    session.execute(delete(SignIn).where(SignIn.token_hash == hash_of(token)))


def end_one(session: Session, user_id: int, sign_in_id: int) -> None:
    """Ends one of the user's sign-ins."""
    session.execute(delete(SignIn).where(SignIn.id == sign_in_id, SignIn.user_id == user_id))


def end_others(session: Session, user_id: int, token: str) -> None:
    """Ends every sign-in of the user but the one with this token."""
    session.execute(delete(SignIn).where(SignIn.user_id == user_id, SignIn.token_hash != hash_of(token)))


def sign_ins_of(session: Session, user_id: int) -> Sequence[SignIn]:
    """Where a user is signed in, last seen first."""
    return session.scalars(select(SignIn).where(SignIn.user_id == user_id).order_by(SignIn.seen_on.desc())).all()
