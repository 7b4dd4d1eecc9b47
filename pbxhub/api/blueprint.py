"""The blueprint of every family of resources: bodies are read by the one reader of JSON."""

from typing import Any

import flask_smorest
from flask import Request
from marshmallow import missing
from webargs.flaskparser import FlaskParser

from pbxhub.api.problems import refuse
from pbxhub.wsgi.request_checks import json_body


class _Parser(FlaskParser):
    def _raw_load_json(self, req: Request) -> Any:
        """No body is no argument; one that does not say that it is JSON is not guessed at."""
        if not req.get_data():
            return missing
        if not req.is_json:
            refuse(415, "Send JSON, with Content-Type: application/json.")
        return json_body()


class Blueprint(flask_smorest.Blueprint):
    ARGUMENTS_PARSER = _Parser()
