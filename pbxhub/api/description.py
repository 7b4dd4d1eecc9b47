"""The OpenAPI 3.1 document, and the page on which to read and try it."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask, Response, json, redirect
from flask.typing import ResponseReturnValue
from flask_smorest import Api, Blueprint
from flask_smorest.spec.plugins import FlaskPlugin

from pbxhub import __version__
from pbxhub.account.access import RIGHTS
from pbxhub.api.problems import TYPE
from pbxhub.api.schemas.base import Problem
from pbxhub.settings import Settings
from pbxhub.webhooks.connection_spec import ConnectionSpec
from pbxhub.webhooks.spec import WebhookSpec
from pbxhub.webhooks.spec_json import json_schema

_ABOUT = """
A program can do everything that the pages can. Send the key of a project in `X-API-KEY`. An owner creates keys under
*API keys* and chooses their scopes: `read` sees everything except secrets; `write` may do what an editor may, and
includes `read`; `call` orders calls and sends events; `admin` may do what an owner may. Each operation names the scope
it needs; a key without it gets 403.

* Refusals are `application/problem+json`; `errors` names each wrong field.
* Lists are paged: send `next` of a page as `after`.
* A change needs `If-Match` with the `ETag` of what you read; it is optional for a deletion.
* A POST with an `Idempotency-Key` takes effect once, however often it is sent within a day.
* `RateLimit-Remaining` says how many requests are left in this minute.
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>pbxhub API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<script type="module" src="../../static/1/vendor/rapidoc-min.js"></script></head>
<body><rapi-doc spec-url="openapi.json" render-style="read" load-fonts="false" show-header="false"
 allow-server-selection="false" persist-auth="false" schema-style="table" use-path-in-nav-bar="true"></rapi-doc>
</body></html>"""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
docs = Blueprint("docs", __name__)


class _Api(Api):
    ERROR_SCHEMA = Problem

    def _register_error_handlers(self) -> None:
        """problems.py has them."""

    def _openapi_json(self) -> Response:
        return Response(_document(self), mimetype="application/json")


def install(api: Flask, blueprints: Sequence[Blueprint]) -> None:
    """Registers the resources, openapi.json and the page."""
    settings: Settings = api.extensions["pbxhub"].settings
    api.config.update(
        API_TITLE="pbxhub",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/",
        OPENAPI_JSON_PATH="openapi.json",
        API_SPEC_OPTIONS={
            "info": {"description": _ABOUT},
            "servers": [{"url": f"{settings.public_path}/api/v1"}],
            "security": [{"key": []}],
        },
    )
    named = MarshmallowPlugin(schema_name_resolver=_name)
    described = _Api(api, spec_kwargs={"marshmallow_plugin": named})
    described.spec.components.security_scheme("key", {"type": "apiKey", "in": "header", "name": "X-API-KEY"})
    for blueprint in blueprints:
        described.register_blueprint(blueprint)
    api.register_blueprint(docs)


def _name(schema: Any) -> str:
    """The name of a schema. The same fields, none of them required, describe a change of the resource."""
    kind = schema if isinstance(schema, type) else type(schema)
    return f"{kind.__name__}Change" if getattr(schema, "partial", None) else kind.__name__


@docs.get("/")
def start() -> ResponseReturnValue:
    return redirect("docs")


@docs.get("/docs")
def page() -> Response:
    """The script's own styles are inline; scripts are not."""
    return Response(_PAGE, mimetype="text/html", headers={"Content-Security-Policy": _POLICY})


@cache
def _document(described: _Api) -> str:
    spec = described.spec.to_dict()
    roots: dict[str, Any] = {}
    for prefix, kind in (("Webhook", WebhookSpec), ("Connection", ConnectionSpec)):
        defined = json_schema(kind)
        parts = defined.pop("$defs")
        spec["components"]["schemas"] |= {_own_name(prefix, name): _moved(prefix, part) for name, part in parts.items()}
        defined.pop("$schema", None)
        roots[prefix] = _moved(prefix, defined)
    found = _with_spec(spec, roots)
    _tell_scopes(described, found["paths"])
    for response in found["components"]["responses"].values():
        if "content" in response:
            response["content"] = {TYPE: next(iter(response["content"].values()))}
    return json.dumps(found)


def _tell_scopes(described: _Api, paths: dict[str, Any]) -> None:
    """Adds the scope that each operation needs: to its text, and as a role for machines (OpenAPI 3.1, 4.8.30)."""
    app = described._app
    for rule in app.url_map.iter_rules():
        right = getattr(app.view_functions[rule.endpoint], "right", None)
        for method in rule.methods or ():
            operation = paths.get(FlaskPlugin.flaskpath2openapi(rule.rule), {}).get(method.lower())
            if operation is not None and right in RIGHTS:
                scope = RIGHTS[right].scope
                operation["security"] = [{"key": [scope]}]
                operation["description"] = f"{operation.get('description', '')}\n\nScope: `{scope}`.".strip()


def _own_name(prefix: str, name: str) -> str:
    """Parts of a webhook's spec have the names of resources otherwise: Parameter, Answer."""
    return name if name.startswith(prefix) else f"{prefix}{name}"


def _moved(prefix: str, schema: Any) -> Any:
    """Turns the references of a standalone schema into references within the document."""
    if isinstance(schema, dict):
        return {
            name: f"#/components/schemas/{_own_name(prefix, item.removeprefix('#/$defs/'))}"
            if name == "$ref"
            else _moved(prefix, item)
            for name, item in schema.items()
        }
    return [_moved(prefix, item) for item in schema] if isinstance(schema, list) else schema


def _with_spec(node: Any, roots: dict[str, Any]) -> Any:
    """The place of a spec (of a webhook, a connection) is described by the spec's own schema."""
    if isinstance(node, dict):
        found = roots.get(node.get("x-spec", ""))
        return found or {name: _with_spec(item, roots) for name, item in node.items()}
    return [_with_spec(item, roots) for item in node] if isinstance(node, list) else node
