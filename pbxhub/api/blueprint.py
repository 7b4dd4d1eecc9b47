"""The base blueprint of all resources; json_reader reads the bodies."""

from collections.abc import Callable
from typing import Any

import flask_smorest
from flask import Request
from marshmallow import missing
from webargs.flaskparser import FlaskParser

from pbxhub.api.problems import refuse
from pbxhub.api.query_names import mark
from pbxhub.wsgi.request_checks import json_body


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
        """Also notes which names a query can have; query_names.py refuses the others."""
        parse = super().arguments(schema, location=location, **options)

        def decorate(view: Callable[..., Any]) -> Any:
            parsed = parse(view)
            if location == "query":
                mark(parsed, schema() if isinstance(schema, type) else schema)
            return parsed

        return decorate
