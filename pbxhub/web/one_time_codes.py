"""Makes one-time codes and recovery codes valid once, which the sign-in library does not do."""

from functools import wraps
from typing import Any

from cryptography.fernet import InvalidToken
from flask import Flask, make_response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_security import Totp
from flask_security.recovery_codes import MfRecoveryCodesUtil
from flask_security.signals import user_authenticated
from flask_security.tf_plugin import tf_clean_session
from passlib.exc import TokenError  # type: ignore[import-untyped]

from pbxhub.account.second_factor import use_recovery_code, use_time_step
from pbxhub.wsgi.current import writing


def install(app: Flask) -> None:
    """Whoever signs in leaves no other sign-in pending. New recovery codes are shown by a page that can be reloaded:
    the library's answer would make others each time."""
    user_authenticated.connect(_forget_pending, app)
    view = app.view_functions["security.mf_recovery_codes"]

    @wraps(view)
    def codes() -> ResponseReturnValue:
        answer = make_response(view())
        made = request.method == "POST" and answer.status_code == 200 and not request.is_json
        return redirect(url_for("security.mf_recovery_codes", show_codes="1")) if made else answer

    app.view_functions["security.mf_recovery_codes"] = codes


def _forget_pending(_app: Flask, **_details: Any) -> None:
    """Ends a pending sign-in. Otherwise: 1. Anna's password is right and her code is pending; 2. the same browser signs
    in as Bob by a link, which does not clear the pending sign-in; 3. Bob sets up an app; its key would count as
    Anna's."""
    tf_clean_session()  # type: ignore[no-untyped-call]


class OneTimeCodes(Totp):
    """Codes of an authenticator app."""

    def verify_totp(self, token: str, totp_secret: str, user: Any, window: int = 0) -> bool:
        """Whether the code is right and was never used. A key that is being set up is new: its first code counts as
        used, whatever was used with the key before."""
        try:
            match = self._totp.verify(token, totp_secret, window=window)
        except TokenError:
            return False
        with writing() as session:
            return use_time_step(session, user.id, match.counter) or totp_secret != user.tf_totp_secret


class RecoveryCodes(MfRecoveryCodesUtil):
    """Codes on paper. The library looks one up, signs in, and deletes it afterwards: two requests at once would both
    get in. Here looking it up takes it off the list."""

    def check_recovery_code(self, user: Any, code: str) -> bool:
        with writing() as session:
            return use_recovery_code(session, user.id, code, self._open)

    def delete_recovery_code(self, user: Any, code: str) -> bool:
        """check_recovery_code has done it."""
        return True

    def _open(self, sealed: str) -> str:
        cryptor: Any = self.cryptor
        try:
            return str(cryptor.decrypt(sealed.encode()).decode())
        except InvalidToken:
            return ""
