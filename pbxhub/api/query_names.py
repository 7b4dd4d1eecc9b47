"""Refuses names in a query that the operation does not have: a misspelt filter must not list everything."""

from collections.abc import Callable
from typing import Any

from flask import Flask, request
from marshmallow import Schema

from pbxhub.api.problems import refuse
from pbxhub.webhooks.spec import FieldError

_MARK = "query_names"


def install(api: Flask) -> None:
    """After authentication, which tells a stranger nothing about operations, and the checks of every request."""

    @api.before_request
    def check() -> None:
        view = api.view_functions.get(request.endpoint or "")
        known: tuple[str, ...] = getattr(view, _MARK, ())
        unknown = [name for name in request.args if name not in known]
        if unknown and view is not None:
            exist = f"the names here are {', '.join(known)}" if known else "this address takes none"
            errors = [FieldError(name[:80], f"is not a name that the query can have; {exist}") for name in unknown[:20]]
            refuse(422, f"{errors[0].path}: {errors[0].message}", errors)


def mark(view: Callable[..., Any], schema: Schema) -> None:
    """Notes the names that the query of a view can have."""
    fields = schema.fields
    names = [field.data_key or name for name, field in fields.items()]
    setattr(view, _MARK, (*getattr(view, _MARK, ()), *sorted(names)))
