"""Connections: credentials kept once for many webhooks."""

from marshmallow import Schema, fields

from pbxhub.api.schemas.base import given, ruled, text, times
from pbxhub.api.schemas.webhooks import Ask


class Connection(Schema):
    """Credentials for another system. Secrets and tokens are never shown."""

    id = fields.Integer(dump_only=True)
    name = ruled(200, least=1, required=True)
    spec = fields.Dict(required=True, metadata={"x-spec": "Connection"})
    secret = text(
        20_000, load_only=True,
        **given("password, token, value, client secret, or private key of a service account; not shown again"),
    )  # fmt: skip
    refresh_token = text(8000, load_only=True, **given("for the grant refresh_token; not shown again"))
    has_secret = fields.Boolean(dump_only=True)
    state = fields.String(dump_only=True, **given("new, ready, refused"))
    reason = fields.String(dump_only=True, **given("why it is not ready, in the provider's words"))
    ready_until = times(dump_only=True, allow_none=True, **given("events are sent until then; null: they wait"))
    renewed_on = times(dump_only=True, allow_none=True)
    used_by = fields.List(fields.String(), dump_only=True, **given("names of the events that use it"))
    created_on = times(dump_only=True)


class ConnectionTest(Schema):
    """The result of a test."""

    ok = fields.Boolean()
    sentence = fields.String()
    answer = fields.String(**given("the beginning of what came back"))


class ConnectionPreset(Schema):
    """A connection to a common system, ready to be filled in."""

    id = fields.String()
    name = fields.String()
    description = fields.String()
    note = fields.String()
    ask = fields.List(fields.Nested(Ask))
    spec = fields.Dict(metadata={"x-spec": "Connection"})
