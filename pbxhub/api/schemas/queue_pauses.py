"""Pauses of queue members."""

from marshmallow import Schema, fields, validate

from pbxhub.api.schemas.base import given, text, times
from pbxhub.wsgi.request_checks import LARGEST_ID


class MemberPause(Schema):
    member = text(160, least=1, required=True, **given("as it is in the queue: PJSIP/101, Local/101@agents/n"))
    queue = text(80, load_default="", **given("empty: every queue of the member"))
    paused = fields.Boolean(load_default=True, **given("false ends the pause"))
    reason = text(80, load_default="", **given("for the statistics of the queue"))
    pbx_id = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(1, LARGEST_ID))


class QueuePause(Schema):
    """An order to pause a member, or to end the pause."""

    id = fields.UUID()
    pbx_id = fields.Integer()
    member = fields.String()
    queue = fields.String()
    paused = fields.Boolean(**given("what was ordered"))
    reason = fields.String()
    status = fields.String(
        validate=validate.OneOf(["waiting", "paused", "unpaused", "not_found", "error"]),
        **given("waiting: the PBX has not answered yet; not_found: it has no such member there"),
    )
    message = fields.String(**given("why it is not_found or error"))
    created_on = times()
    ended_on = times(allow_none=True)
