"""JSON that somebody sends: read to a depth that everything behind it can walk."""

from typing import Any

from flask import Flask, abort, request
from flask.json.provider import DefaultJSONProvider

from pbxhub.web.language import _
from pbxhub.webhooks.paths_in_json import MISSING
from pbxhub.webhooks.success import read_json


class JsonInput(DefaultJSONProvider):
    """loads raises ValueError also for what is nested too deep; Flask answers that with 400."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        document = read_json(s if isinstance(s, bytes) else s.encode("utf-8", "surrogatepass"))
        if document is MISSING:
            raise ValueError("this is not JSON, or it is nested too deep")
        return document


def install(app: Flask) -> None:
    """Before everything that derives a provider of its own from the application's, as Flask-Security does."""
    app.json_provider_class = JsonInput
    app.json = JsonInput(app)
    app.before_request(_refuse_odd_sign_ins)


def _refuse_odd_sign_ins() -> None:
    """The sign-in library makes a form of any JSON, and breaks on what is none: a list, a number, nested values."""
    if request.blueprint != "security" or request.method != "POST" or not request.is_json:
        return
    document = request.get_json()
    flat = isinstance(document, dict) and all(isinstance(value, str | bool | None) for value in document.values())
    if not flat:
        abort(400, _("Send a JSON object of texts, like a form has them."))
