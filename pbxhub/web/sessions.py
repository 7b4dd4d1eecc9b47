"""Sessions of browsers. The cookie contains a token; its row in the table is the session, which ends with the row."""

import secrets
from datetime import timedelta
from typing import Any

from flask import Flask, request, session
from flask_login import current_user, logout_user, user_logged_out
from flask_security.signals import password_reset, user_authenticated
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from pbxhub.account.first_owner import remember_owner
from pbxhub.account.invitations import confirm_address
from pbxhub.account.tokens import hash_of
from pbxhub.store.accounts import SignIn
from pbxhub.web.users import Account
from pbxhub.wsgi.current import hub, now

IDLE = timedelta(days=3)
ABSOLUTE = timedelta(days=30)
_SEEN_EVERY = timedelta(minutes=5)  # how often "last seen" is updated, to avoid a write for every page
_KEY = "sign_in"


def install(app: Flask) -> None:
    """Starts a session at every sign-in and checks it before every page."""
    user_authenticated.connect(_start, app)
    user_logged_out.connect(_end, app)
    password_reset.connect(_confirm_address, app)
    app.before_request(_check)


def _start(_app: Flask, user: Account, **_details: Any) -> None:
    token = secrets.token_urlsafe(32)
    moment = now()
    browser = request.headers.get("User-Agent", "")[:300]
    with hub().database.write() as database:
        _forget_old(database, user.id)
        database.add(
            SignIn(
                token_hash=hash_of(token),
                user_id=user.id,
                address=request.remote_addr or "",
                browser=browser,
                created_on=moment,
                seen_on=moment,
            )
        )
    session[_KEY] = token
    remember_owner(hub().settings.data_dir)


def _confirm_address(_app: Flask, user: Account, **_details: Any) -> None:
    """A password is set anew by a link that was mailed, or printed for the operator."""
    with hub().database.write() as database:
        confirm_address(database, user.id, now())


def _end(_app: Flask, **_details: Any) -> None:
    with hub().database.write() as database:
        database.execute(delete(SignIn).where(SignIn.token_hash == current_token_hash()))


def _check() -> None:
    """Signs out a browser whose session was ended elsewhere, was idle for IDLE or is older than ABSOLUTE."""
    if request.endpoint in ("static", "health.health") or not current_user.is_authenticated:
        return
    moment = now()
    with hub().database.read() as database:
        row = database.scalar(select(SignIn).where(SignIn.token_hash == current_token_hash()))
    alive = row is not None and row.user_id == current_user.id
    if row is None or not alive or moment - row.seen_on > IDLE or moment - row.created_on > ABSOLUTE:
        logout_user()
        session.clear()
    elif moment - row.seen_on > _SEEN_EVERY:
        with hub().database.write() as database:
            database.execute(update(SignIn).where(SignIn.id == row.id).values(seen_on=moment))


def end_all(database: Session, user_id: int, but: str = "") -> None:
    """Ends every session of a user, but for the one with this token hash."""
    database.execute(delete(SignIn).where(SignIn.user_id == user_id, SignIn.token_hash != but))


def current_token_hash() -> str:
    """What names the session of this request in the table; matches nothing when the cookie carries none."""
    return hash_of(str(session.get(_KEY, "")))


def _forget_old(database: Session, user_id: int) -> None:
    limit = now() - IDLE
    database.execute(delete(SignIn).where(SignIn.user_id == user_id, SignIn.seen_on < limit))
