"""What a request may carry, before any view looks at it: JSON, texts and ids that everything behind can hold."""

from typing import Any

from flask import Flask, abort, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.routing import IntegerConverter, Map

from pbxhub.json_reader import UnreadableError, read_json, unkept, unkept_letter
from pbxhub.sentences import say

LARGEST_ID = 2**53 - 1  # what a database holds and every reader of JSON, too
LARGEST_REVISION = 2**31 - 1
QUERY_BYTES_MAX = 8000


class IdConverter(IntegerConverter):
    """<int:…> in a route: an id that a database can hold. Anything else is an address that does not exist: 404."""

    regex = "[0-9]{1,16}"

    def __init__(self, map: Map, max: int = LARGEST_ID) -> None:  # noqa: A002 - Werkzeug names it
        super().__init__(map, max=max)


class JsonInput(DefaultJSONProvider):
    """Whoever asks Flask for the JSON of a request, as the sign-in library does, gets it by the same rules."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return read_json(s if isinstance(s, bytes) else s.encode("utf-8", "surrogatepass"))


def install(app: Flask) -> None:
    """Before everything that derives a provider of its own from the application's, and before the first route."""
    app.json_provider_class = JsonInput
    app.json = JsonInput(app)
    app.url_map.converters["int"] = IdConverter


def json_body() -> Any:
    """The JSON of the request. Raises UnreadableError."""
    return read_json(request.get_data())


def check_address() -> None:
    """Ends a request whose address is too long, or has what no database can look for."""
    if len(request.query_string) > QUERY_BYTES_MAX:
        abort(414)
    if "\0" in request.path:
        abort(404)
    _check_texts(request.args.items(multi=True))


def check_page() -> None:
    """The same for pages, which take forms, and JSON objects from their scripts."""
    check_address()
    if request.is_json:
        _check_object(json_body())
    elif request.method == "POST":
        _check_texts(request.form.items(multi=True))


def _check_object(document: Any) -> None:
    """Pages are sent objects. The sign-in library makes a form of them, and breaks on what no form can have."""
    if not isinstance(document, dict):
        raise UnreadableError("", say("This is JSON, but not an object: begin it with {."))
    if request.blueprint == "security":
        for name, value in document.items():
            if not isinstance(value, str | bool | None):
                raise UnreadableError(name[:80], say("give a text, like a form has it"))


def _check_texts(pairs: Any) -> None:
    for name, value in pairs:
        if letter := unkept_letter(name) or unkept_letter(value):
            raise UnreadableError(name.replace("\0", "�")[:80], unkept(letter))
