"""Which requests are attempts to guess, and what each counts against. The rules are in account/guess_delays.py."""

import math
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any

from flask import Flask, Response, make_response, request, session
from flask_login import current_user
from werkzeug.exceptions import TooManyRequests

from pbxhub.account.email_addresses import normalised
from pbxhub.account.guess_delays import (
    AGAIN,
    CODE,
    MAIL,
    NETWORK,
    PASSWORD,
    PASSWORD_HERE,
    Bucket,
    begin,
    network_of,
    succeeded,
)
from pbxhub.web.devices import device, knows
from pbxhub.web.language import _
from pbxhub.web.users import Accounts
from pbxhub.wsgi.current import now, writing

View = Callable[..., Any]


def install(app: Flask, accounts: Accounts) -> None:
    """Slows guessing at every page that takes a password or a code, and mails at the page that sends them."""

    def codes() -> list[Bucket]:
        return _codes(accounts)

    for endpoint, buckets in (
        ("login", _passwords),
        ("two_factor_token_validation", codes),
        ("mf_recovery", codes),
        ("verify", _again),
        ("change_password", _again),
        ("forgot_password", _mails),
    ):
        name = f"security.{endpoint}"
        app.view_functions[name] = _slowed(app.view_functions[name], buckets)


def _slowed(view: View, buckets_of: Callable[[], list[Bucket]]) -> View:
    @wraps(view)
    def slowed(*args: Any, **kwargs: Any) -> Any:
        buckets = buckets_of() if request.method == "POST" else []
        if not buckets:
            return view(*args, **kwargs)
        with writing() as rows:
            wait = begin(rows, buckets, now())
        if wait:
            seconds = math.ceil(wait.total_seconds())
            raise TooManyRequests(_("Wait %(time)s and try again.", time=duration(wait)), retry_after=seconds)
        response = make_response(view(*args, **kwargs))
        if buckets[0].limit is not MAIL and _was_right(response):
            with writing() as rows:
                succeeded(rows, buckets, now())
        return response

    return slowed


def _was_right(response: Response) -> bool:
    """Whether a password or code was right: then the library redirects; otherwise it shows the same page."""
    return response.status_code in (302, 303) or (request.is_json and response.status_code == 200)


def duration(wait: timedelta) -> str:
    """How long to wait, for a sentence."""
    seconds = math.ceil(wait.total_seconds())
    if seconds < 120:
        return _("%(n)s s", n=seconds)
    return _("%(n)s min", n=math.ceil(seconds / 60))


def _passwords() -> list[Bucket]:
    """The limits for a password. A browser known to the account has its own count, which strangers cannot use up. A
    signed-in user makes no attempt: the library redirects without checking, which must not count as a right
    password."""
    if current_user.is_authenticated:
        return []
    account = _typed()
    if knows(account):
        return [Bucket(PASSWORD_HERE, f"{account} {device()}")]
    network = network_of(request.remote_addr or "")
    return [Bucket(PASSWORD_HERE, f"{account} {network}"), Bucket(PASSWORD, account), Bucket(NETWORK, network)]


def _codes(accounts: Accounts) -> list[Bucket]:
    """The limits for a code: by the user of the pending sign-in, from any network; none without one."""
    pending = session.get("tf_user_id") if not current_user.is_authenticated else None
    user = accounts.find_user(fs_uniquifier=pending) if pending else None
    if user is None:
        return []
    if knows(user.email):
        return [Bucket(CODE, f"{user.email} {device()}")]
    return [Bucket(CODE, user.email), _network()]


def _again() -> list[Bucket]:
    return [Bucket(AGAIN, current_user.email)] if current_user.is_authenticated else []


def _mails() -> list[Bucket]:
    return [Bucket(MAIL, _typed()), _network()]


def _network() -> Bucket:
    return Bucket(NETWORK, network_of(request.remote_addr or ""))


def _typed() -> str:
    """The account that the form names, as it is spelt everywhere."""
    data = request.get_json() if request.is_json else request.form
    text = str(data.get("email") or "")
    return normalised(text) or text.strip().lower()[:300]
