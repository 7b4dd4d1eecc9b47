"""The base blueprint of all resources; json_reader reads the bodies."""

from typing import Any

import flask_smorest
from flask import Request
from marshmallow import missing
from webargs.flaskparser import FlaskParser

from pbxhub.api.problems import refuse
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
