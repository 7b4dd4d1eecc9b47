"""The sign-in of a request: its token is in the session cookie. The rules are in account/sign_ins.py."""

from typing import Any

from flask import Flask, request, session
from flask_login import current_user, logout_user, user_logged_out
from flask_security.signals import password_reset, user_authenticated

from pbxhub.account import sign_ins
from pbxhub.account.first_owner import remember_owner
from pbxhub.account.invitations import confirm_address
from pbxhub.web.users import Account
from pbxhub.wsgi.current import hub, now, reading, writing

_KEY = "sign_in"


def install(app: Flask) -> None:
    """Starts a sign-in when somebody has authenticated, and checks it before every page."""
    user_authenticated.connect(_start, app)
    user_logged_out.connect(_end, app)
    password_reset.connect(_confirm_address, app)
    app.before_request(_check)


def current_token() -> str:
    """The token of this request's sign-in; "" without one."""
    return str(session.get(_KEY, ""))


def _start(_app: Flask, user: Account, **_details: Any) -> None:
    browser = request.headers.get("User-Agent", "")
    with writing() as database:
        token = sign_ins.start(database, user.id, request.remote_addr or "", browser, now())
    session[_KEY] = token
    remember_owner(hub().settings.data_dir)


def _confirm_address(_app: Flask, user: Account, **_details: Any) -> None:
    """A password is set anew by a link that was mailed, or printed for the operator."""
    with writing() as database:
        confirm_address(database, user.id, now())


def _end(_app: Flask, **_details: Any) -> None:
    with writing() as database:
        sign_ins.end(database, current_token())


def _check() -> None:
    """Signs out a browser whose sign-in is over."""
    if request.endpoint in ("static", "health.health") or not current_user.is_authenticated:
        return
    moment = now()
    with reading() as database:
        row = sign_ins.current(database, current_user.id, current_token(), moment)
    if row is None:
        logout_user()
        session.clear()
    elif moment - row.seen_on > sign_ins.SEEN_EVERY:
        with writing() as database:
            sign_ins.see(database, row.id, moment)
