"""The API for programs, `/api/v1`: a separate application beside the pages, without cookies, sessions or forms.

It calls the same functions as the pages, never their views.
"""

from urllib.parse import urlsplit

from flask import Flask
from flask_babel import Babel
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from pbxhub.api import answers, authentication, blueprint, description, idempotency, problems, rates, streams
from pbxhub.api.resources import BLUEPRINTS
from pbxhub.settings import Settings
from pbxhub.wsgi import request_checks
from pbxhub.wsgi.application import Application
from pbxhub.wsgi.proxies import seen_from_outside, under_path

PREFIX = "/api/v1"


def install(app: Flask, threads: int = 16) -> None:
    """Adds the API to the pages' application made by web.create_app.

    threads: of the server that answers both; streams of events hold half of them at most.
    """
    api = create_api(app, threads)
    app.extensions["pbxhub.api"] = api
    settings: Settings = app.extensions["pbxhub"].settings
    outside = seen_from_outside(api.wsgi_app, urlsplit(settings.public_url).scheme, settings.trusted_proxies)
    both = DispatcherMiddleware(app.wsgi_app, {PREFIX: outside})
    app.wsgi_app = under_path(both, settings.public_path)  # type: ignore[assignment,method-assign]


def create_api(app: Flask, threads: int = 16) -> Flask:
    """The API's application, on the same hub as the pages."""
    api = Application("pbxhub.api", static_folder=None)
    api.extensions["pbxhub"] = app.extensions["pbxhub"]
    api.config.update(
        TRUSTED_HOSTS=app.config["TRUSTED_HOSTS"],
        MAX_CONTENT_LENGTH=app.config["MAX_CONTENT_LENGTH"],
        BABEL_DEFAULT_LOCALE="en",
        PROPAGATE_EXCEPTIONS=False,
    )
    request_checks.install(api)
    api.json.sort_keys = False  # type: ignore[attr-defined]
    Babel(api)
    for part in (problems, answers, rates, authentication):
        part.install(api)
    api.before_request(request_checks.check_call)
    blueprint.install(api)
    idempotency.install(api)
    streams.install(api, threads // 2)
    description.install(api, BLUEPRINTS)
    return api
