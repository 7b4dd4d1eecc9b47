"""The pages: create_app builds everything; the hub and the tests both call it."""

import base64
from collections.abc import Callable, Sequence
from datetime import timedelta

from flask import Flask
from flask_babel import Babel
from flask_security import Security
from flask_wtf import CSRFProtect

from pbxhub.account.account_links import RESET_PATH, RESET_SALT
from pbxhub.account.installation import Installation
from pbxhub.account.passwords import SHORTEST
from pbxhub.account.sign_ins import ABSOLUTE, signing_key
from pbxhub.delivery.context import DeliveryContext
from pbxhub.finding import Finding
from pbxhub.paths import TEMPLATES
from pbxhub.sending.address_guard import AddressGuard
from pbxhub.sending.sender import Sender
from pbxhub.settings import MailServer, Settings
from pbxhub.store.accounts import Pbx
from pbxhub.vault import Vault
from pbxhub.web import (
    assets,
    compression,
    devices,
    error_pages,
    formatting,
    guessable_requests,
    http_protection,
    labels,
    language,
    navigation,
    one_time_codes,
    page_access,
    polling,
    session_token,
    sign_in_mail,
    sign_in_messages,
)
from pbxhub.web.cookies import cookie_name, cookie_path
from pbxhub.web.one_time_codes import OneTimeCodes, RecoveryCodes
from pbxhub.web.pages import BLUEPRINTS, dial
from pbxhub.web.users import Accounts, Passwords
from pbxhub.wsgi import request_checks
from pbxhub.wsgi.application import Application

_PARTS = (
    compression, assets, devices, error_pages, navigation, page_access, formatting, polling, session_token, labels,
)  # fmt: skip


def create_app(
    settings: Settings, context: DeliveryContext, guard_of: Callable[[], AddressGuard] | None = None,
    mail: MailServer | None = None, check_pbx: Callable[[Pbx, bool], Sequence[Finding]] = lambda pbx, operator: (),
) -> Flask:  # fmt: skip
    """A WSGI application with every page. The database must be migrated; nothing is read from the environment.

    guard_of: which addresses webhooks may reach at this moment; without it, public ones and the operator's networks.
    mail: where reset links go out. check_pbx: what the check button of a PBX finds out.
    """
    guard_of = guard_of or (lambda: AddressGuard(settings.allowed_networks))
    app = Application("pbxhub.web", template_folder=str(TEMPLATES), static_folder=None)
    app.config.update(
        _flask(settings, context.vault), **_sign_in(settings, context.vault), **sign_in_messages.messages()
    )
    app.extensions["pbxhub"] = Installation(settings, context, guard_of, Sender(AddressGuard()), mail, check_pbx)
    request_checks.install(app)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    http_protection.install(app, settings.public_url, settings.trusted_proxies)
    Babel(app, locale_selector=language.choose)
    csrf = CSRFProtect(app)
    _install_sign_in(app)
    language.install(app, settings.data_dir / "languages")
    for part in _PARTS:
        part.install(app)
    app.before_request(request_checks.check_page)
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    csrf.exempt(dial.dial)  # CRMs have no session; the key in the address says who they are
    dial.install(app)
    return app


def _install_sign_in(app: Flask) -> None:
    accounts = Accounts()
    Security(
        app, accounts, mail_util_cls=sign_in_mail.Mail, password_util_cls=Passwords, totp_cls=OneTimeCodes,
        mf_recovery_codes_util_cls=RecoveryCodes,
    )  # fmt: skip
    guessable_requests.install(app, accounts)
    one_time_codes.install(app)
    sign_in_mail.install(app)


def _flask(settings: Settings, vault: Vault) -> dict[str, object]:
    secure = settings.public_url.startswith("https:")
    return {
        "SECRET_KEY": signing_key(vault),
        "SESSION_COOKIE_NAME": cookie_name(settings, "pbxhub"),
        "SESSION_COOKIE_PATH": cookie_path(settings),
        "SESSION_COOKIE_SECURE": secure,
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "PERMANENT_SESSION_LIFETIME": ABSOLUTE,
        "MAX_CONTENT_LENGTH": 2 * 1024 * 1024,
        "WTF_CSRF_TIME_LIMIT": None,  # a form left open over lunch still saves; the token dies with the session
        "WTF_CSRF_SSL_STRICT": False,  # browsers send no Referer: our own Referrer-Policy forbids it
        "BABEL_TRANSLATION_DIRECTORIES": "translations",
        "BABEL_DEFAULT_LOCALE": "en",
    }


def _sign_in(settings: Settings, vault: Vault) -> dict[str, object]:
    return _second_factor(settings, vault) | {
        "SECURITY_PASSWORD_SALT": vault.password_salt,
        "SECURITY_PASSWORD_HASH": "argon2",  # as account/passwords.py does
        "SECURITY_PASSWORD_LENGTH_MIN": SHORTEST,
        "SECURITY_RETURN_GENERIC_RESPONSES": True,  # a wrong e-mail and a wrong password look alike
        "SECURITY_LOGIN_URL": "/sign-in",
        "SECURITY_LOGOUT_URL": "/sign-out",
        "SECURITY_LOGOUT_METHODS": ["POST"],
        "SECURITY_POST_LOGIN_VIEW": "home.start",
        "SECURITY_POST_LOGOUT_VIEW": "security.login",
        "SECURITY_RECOVERABLE": True,
        "SECURITY_RESET_URL": RESET_PATH,
        "SECURITY_RESET_SALT": RESET_SALT,
        "SECURITY_POST_RESET_VIEW": "security.login",
        "SECURITY_CHANGEABLE": True,
        "SECURITY_CHANGE_URL": "/change-password",
        "SECURITY_POST_CHANGE_VIEW": "profile.index",
        "SECURITY_EMAIL_VALIDATOR_ARGS": {"check_deliverability": False, "test_environment": True},
        "SECURITY_API_ENABLED_METHODS": ["session"],
        "SECURITY_FRESHNESS": timedelta(hours=4),
        "SECURITY_FRESHNESS_GRACE_PERIOD": timedelta(hours=1),
        "SECURITY_CSRF_COOKIE_NAME": None,
        "SECURITY_CACHE_CONTROL": {},  # the library's "no-store=True" is no directive: see http_protection.py
    }


def _second_factor(settings: Settings, vault: Vault) -> dict[str, object]:
    secure, path = settings.public_url.startswith("https:"), cookie_path(settings)
    totp_key = base64.urlsafe_b64encode(vault.derive("two-factor")).decode()
    return {
        "SECURITY_TWO_FACTOR": True,
        "SECURITY_TWO_FACTOR_ENABLED_METHODS": ["authenticator"],
        "SECURITY_TWO_FACTOR_ALWAYS_VALIDATE": True,
        "SECURITY_TWO_FACTOR_AUTHENTICATOR_VALIDITY": 30,  # seconds a phone's clock may be off: RFC 6238, 5.2
        "SECURITY_TWO_FACTOR_RESCUE_EMAIL": False,
        "SECURITY_TWO_FACTOR_POST_SETUP_VIEW": "profile.index",
        "SECURITY_TWO_FACTOR_VALIDITY_COOKIE": {"httponly": True, "secure": secure, "samesite": "Strict", "path": path},
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES": True,
        "SECURITY_MULTI_FACTOR_RECOVERY_CODES_KEYS": [totp_key],
        "SECURITY_TOTP_SECRETS": {"1": totp_key},
        "SECURITY_TOTP_ISSUER": "pbxhub",
    }
