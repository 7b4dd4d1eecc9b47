"""What a request may carry, before any view looks at it: JSON, texts and ids that everything behind can hold."""

from typing import Any

from flask import Flask, abort, g, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.routing import IntegerConverter, Map

from pbxhub.json_reader import UnreadableError, read_json, unkept, unkept_letter
from pbxhub.translatable import say

ID_DIGITS, REVISION_DIGITS = 15, 9  # less than the 64 and 32 bits of the columns, and than 2**53 of JSON's readers
LARGEST_ID, LARGEST_REVISION = 10**ID_DIGITS - 1, 10**REVISION_DIGITS - 1
QUERY_BYTES_MAX = 8000


class IdConverter(IntegerConverter):
    """<int:…> in a route: an id that a database can hold. Anything else is an address that does not exist: 404."""

    def __init__(self, map: Map, digits: int = ID_DIGITS) -> None:
        super().__init__(map, max=10**digits - 1)
        self.regex = f"[0-9]{{1,{digits}}}"


class JsonInput(DefaultJSONProvider):
    """Whoever asks Flask for the JSON of a request, as the sign-in library does, gets it by the same rules."""

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return read_json(s if isinstance(s, bytes) else s.encode("utf-8", "surrogatepass"))


def install(app: Flask) -> None:
    """Before everything that derives a provider of its own from the application's, and before the first route."""
    app.json_provider_class = JsonInput
    app.json = JsonInput(app)
    app.url_map.converters["int"] = IdConverter


def is_id(text: str) -> bool:
    """Whether a text is an id that a database can hold."""
    return text.isascii() and text.isdigit() and len(text) <= ID_DIGITS


def json_body() -> Any:
    """The JSON of the request, read once. Raises UnreadableError."""
    if "json_body" not in g:
        g.json_body = read_json(request.get_data())
    return g.json_body


def check_address() -> None:
    """Ends a request whose address is too long, or has what no database can look for."""
    if len(request.query_string) > QUERY_BYTES_MAX:
        abort(414)
    if "\0" in request.path:
        abort(404)
    _check_texts(request.args.items(multi=True))


def check_call() -> None:
    """The same for the API, which takes JSON: also where the body would not be looked at."""
    check_address()
    if request.method != "GET" and request.is_json and request.get_data():
        json_body()


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
