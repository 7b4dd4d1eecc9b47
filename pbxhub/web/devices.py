"""Browsers with which an account has signed in. Their attempts are counted separately, so that strangers cannot lock
the account out.

A signed cookie identifies them for more than a year; it gives no access. See "device cookies" of OWASP.
"""

import hashlib
import secrets
from datetime import timedelta

from flask import Flask, Response, g, request
from flask_security.signals import password_reset, user_authenticated
from itsdangerous import BadSignature, URLSafeSerializer

from pbxhub.web.cookies import cookie_name, cookie_path
from pbxhub.web.users import Account
from pbxhub.wsgi.current import hub

_LASTS = timedelta(days=400)
_MOST = 5  # accounts of one browser


def install(app: Flask) -> None:
    """Marks a browser when an account signs in with it or resets its password there by a mailed link."""
    user_authenticated.connect(_remember, app)
    password_reset.connect(_remember, app)
    app.after_request(_set_cookie)


def device() -> str:
    """The id of this browser; "" when no account has signed in with it."""
    return _read()[0]


def knows(email: str) -> bool:
    """Whether this account has signed in with this browser. email: normalised."""
    return _mark(email) in _read()[1]


def _remember(_app: Flask, user: Account, **_details: object) -> None:
    name, accounts = _read()
    mark = _mark(user.email)
    g.device = (name or secrets.token_urlsafe(16), [mark, *(other for other in accounts if other != mark)][:_MOST])


def _set_cookie(response: Response) -> Response:
    if "device" in g:
        secure = hub().settings.public_url.startswith("https:")
        response.set_cookie(_cookie(), _signer().dumps(g.device), max_age=_LASTS, httponly=True, secure=secure,
                            path=cookie_path(hub().settings), samesite="Lax")  # fmt: skip
    return response


def _read() -> tuple[str, list[str]]:
    try:
        name, accounts = _signer().loads(request.cookies.get(_cookie(), ""))
    except BadSignature:
        return "", []
    return name, accounts


def _mark(email: str) -> str:
    return hashlib.sha256(f"account {email}".encode()).hexdigest()[:16]


def _cookie() -> str:
    return cookie_name(hub().settings, "pbxhub-device")


def _signer() -> URLSafeSerializer:
    return URLSafeSerializer(hub().vault.derive("known device"), salt="known device")
