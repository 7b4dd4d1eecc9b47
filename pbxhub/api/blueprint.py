"""The base blueprint of all resources; json_reader reads the bodies. A misspelt filter must not list everything: names
in a query that the operation does not have are refused."""

from collections.abc import Callable
from typing import Any

import flask_smorest
from flask import Flask, Request, request
from marshmallow import missing
from webargs.flaskparser import FlaskParser

from pbxhub.api.problems import refuse
from pbxhub.webhooks.spec import FieldError
from pbxhub.wsgi.request_checks import json_body

_NAMES = "query_names"


def install(api: Flask) -> None:
    """After authentication, which tells a stranger nothing about operations, and the checks of every request."""

    @api.before_request
    def check() -> None:
        view = api.view_functions.get(request.endpoint or "")
        known: tuple[str, ...] = getattr(view, _NAMES, ())
        unknown = [name for name in request.args if name not in known]
        if unknown and view is not None:
            exist = f"the names here are {', '.join(known)}" if known else "this address takes none"
            errors = [FieldError(name[:80], f"is not a name that the query can have; {exist}") for name in unknown[:20]]
            refuse(422, f"{errors[0].path}: {errors[0].message}", errors)


class _Parser(FlaskParser):
    def _raw_load_json(self, req: Request) -> Any:
        """The body as JSON. A missing body means no argument; a body without the JSON content type is refused."""
        if not req.get_data():
            return missing
        if not req.is_json:
            refuse(415, "Send JSON, with Content-Type: application/json.")
        return json_body()


class Blueprint(flask_smorest.Blueprint):
    ARGUMENTS_PARSER = _Parser()

    def arguments(self, schema: Any, *, location: str = "json", **options: Any) -> Any:
        """Also notes which names a query can have."""
        parse = super().arguments(schema, location=location, **options)

        def decorate(view: Callable[..., Any]) -> Any:
            parsed = parse(view)
            if location == "query":
                fields = (schema() if isinstance(schema, type) else schema).fields
                names = sorted(field.data_key or name for name, field in fields.items())
                setattr(parsed, _NAMES, (*getattr(parsed, _NAMES, ()), *names))
            return parsed

        return decorate
