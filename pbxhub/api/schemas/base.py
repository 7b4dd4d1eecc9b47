"""The fields and forms all schemas share: texts that databases keep, pages by key, problems."""

from functools import cache
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate

from pbxhub.api.answers import MOST

LARGEST_ID = 2**53


def _is_text(value: str) -> None:
    """JSON can carry half of a character (a lone surrogate); no database can."""
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise ValidationError("has half of a character")


def text(length: int, **options: Any) -> fields.String:
    """A text that both databases keep: no NUL, not too long."""
    low = options.pop("least", 0)
    return fields.String(
        validate=[
            validate.Length(low, length),
            validate.Regexp(r"^[^\x00]*$", error="has a character that cannot be kept"),
            _is_text,
        ],
        **options,
    )


def given(description: str, **options: Any) -> dict[str, Any]:
    return {"metadata": {"description": description}, **options}


def times(**options: Any) -> fields.AwareDateTime:
    return fields.AwareDateTime(format="iso", **options)


class Paging(Schema):
    """Arguments of every list."""

    class Meta:
        unknown = EXCLUDE

    limit = fields.Integer(load_default=50, validate=validate.Range(1, MOST))
    after = fields.String(load_default="", **given("`next` of the page before"))


class ProblemError(Schema):
    path = fields.String(required=True)
    message = fields.String(required=True)


class Problem(Schema):
    """What every refusal says."""

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
