"""What all schemas share: text fields, paging, problems."""

from functools import cache
from typing import Any

from marshmallow import Schema, fields, validate


def text(length: int, **options: Any) -> fields.String:
    """A text of up to so many characters; that both databases can keep them is checked where the request is read."""
    return fields.String(validate=validate.Length(options.pop("least", 0), length), **options)


def ruled(length: int, least: int = 0, **options: Any) -> fields.String:
    """A text whose rule is in account/, where pages ask it, too: here its length is only described."""
    described = {"maxLength": length, **({"minLength": least} if least else {}), **options.pop("metadata", {})}
    return fields.String(metadata=described, **options)


def ranged(between: tuple[int, int], description: str) -> fields.Integer:
    """A whole number whose rule is in account/."""
    least, most = between
    return fields.Integer(metadata={"description": description, "minimum": least, "maximum": most})


def given(description: str, **options: Any) -> dict[str, Any]:
    return {"metadata": {"description": description}, **options}


def times(**options: Any) -> fields.AwareDateTime:
    return fields.AwareDateTime(format="iso", **options)


class Paging(Schema):
    """Arguments of every list."""

    limit = fields.Integer(load_default=50, validate=validate.Range(1, 200))
    after = fields.String(load_default="", **given("`next` of the page before"))


class ProblemError(Schema):
    path = fields.String(required=True)
    message = fields.String(required=True)


class Problem(Schema):
    """The content of every refusal."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True, **given("what is wrong and what to do"))
    errors = fields.List(fields.Nested(ProblemError), required=True)


@cache
def page_of(schema: type[Schema]) -> type[Schema]:
    """The schema of a page of something."""
    return Schema.from_dict(
        {
            "items": fields.List(fields.Nested(schema), required=True),
            "next": fields.String(required=True, allow_none=True, **given("`after` of the next page; null: no more")),
        },
        name=f"{schema.__name__}Page",
    )
