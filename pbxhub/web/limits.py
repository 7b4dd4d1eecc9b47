"""Brute force: how often somebody may try a password or a code."""

from collections.abc import Callable
from typing import Any

from flask import Flask, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

_GUESSED = ("security.login", "security.two_factor_token_validation", "security.mf_recovery", "security.verify")
_MAILED = ("security.forgot_password",)


def install(app: Flask) -> None:
    """Counts tries in this process's memory: 5 in 5 minutes from one address for one account, 60 an hour for one
    account from anywhere, 30 in 5 minutes from one address."""
    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://", headers_enabled=False)
    for endpoint in (*_GUESSED, *_MAILED):
        view: Callable[..., Any] = app.view_functions[endpoint]
        for limit, key in (
            ("5 per 5 minutes", _address_and_account),
            ("60 per hour", _account),
            ("30 per 5 minutes", get_remote_address),
        ):
            view = limiter.limit(limit, key_func=key, methods=["POST"])(view)
        app.view_functions[endpoint] = view


def _account() -> str:
    data = request.get_json(silent=True) if request.is_json else request.form
    return str((data or {}).get("email", "")).strip().lower() or get_remote_address()


def _address_and_account() -> str:
    return f"{get_remote_address()} {_account()}"
