"""Calls and their stages; calls started by API."""

from marshmallow import Schema, fields, validate

from pbxhub.api.schemas.base import LARGEST_ID, Paging, given, text, times


class Ordered(Schema):
    """An order and its outcome."""

    id = fields.UUID()
    status = fields.String(
        validate=validate.OneOf(["registered", "ongoing", "completed", "failed", "error", "cancelled"])
    )
    reason = fields.String()
    name = fields.String()
    mobile_number = fields.String()
    from_number = fields.String()
    agent_id = fields.String()
    callback_url = fields.String()
    custom_args_values = fields.Dict(attribute="custom")
    transcript = fields.Raw(allow_none=True)
    analysis = fields.Raw(allow_none=True)
    created_on = times()
    answered_on = times(allow_none=True)
    ended_on = times(allow_none=True)


class Call(Schema):
    """A call. Of an ordered one that has not begun yet, `call_id` and what comes of the PBX are null."""

    id = fields.UUID()
    call_id = fields.UUID(allow_none=True)
    linkedid = fields.String(allow_none=True)
    direction = fields.String(allow_none=True)
    caller = fields.String(allow_none=True)
    caller_name = fields.String(allow_none=True)
    dst = fields.String(allow_none=True)
    extension = fields.String(allow_none=True)
    started_on = times(allow_none=True)
    answered_on = times(allow_none=True)
    ended_on = times(allow_none=True)
    disposition = fields.String(allow_none=True)
    values = fields.Dict(**given("all values of the call, by parameter name"))
    ordered = fields.Nested(Ordered, allow_none=True)


class CallFilter(Paging):
    direction = fields.String(load_default="", validate=validate.OneOf(["", "incoming", "outgoing", "internal"]))
    number = text(80, load_default="", **given("number of the outside party, exactly"))


class CallbackArgs(Schema):
    headers = fields.Dict(
        keys=text(100, least=1), values=text(4000), load_default=dict, validate=validate.Length(0, 30)
    )
    params = fields.Dict(keys=text(200, least=1), values=text(4000), load_default=dict, validate=validate.Length(0, 50))


class CallOrder(Schema):
    """A call to place: the agent's phone rings first, then the number is dialled."""

    mobile_number = text(20, least=2, required=True, **given("the number to call; digits with an optional +"))
    agent_id = text(40, least=1, required=True, **given("extension of the employee"))
    name = text(200, load_default="", **given("of the person called"))
    from_number = text(20, load_default="", **given("our number, shown outside if the dialplan allows it"))
    pbx_id = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(1, LARGEST_ID))
    callback_url = text(4000, load_default="")
    callback_args = fields.Nested(CallbackArgs, load_default=lambda: {"headers": {}, "params": {}})
    custom_args_values = fields.Dict(keys=text(100, least=1), load_default=dict)


class CallEvent(Schema):
    """An AMI event of a call."""

    arrived = fields.String(**given("UTC, ISO 8601"))
    name = fields.String()
    block = fields.String(**given("its header lines"))
    stages = fields.List(fields.String(), **given("of the call, which the event led to"))


class Transcript(Schema):
    transcript = fields.Raw(required=True, **given("text, or whatever your transcription gives"))


class Analysis(Schema):
    analysis = fields.Raw(required=True)


class Stage(Schema):
    """One stage of a call."""

    id = fields.UUID()
    stage = fields.String()
    ordinal = fields.Integer()
    created_on = times()
    values = fields.Dict(attribute="data")
