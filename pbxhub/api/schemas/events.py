"""Typed events, events from other systems, REST hooks."""

from marshmallow import Schema, fields, validate

from pbxhub.api.schemas.base import given, text, times


class Event(Schema):
    """A typed event: `type`, `created_on`, and the fields of its type."""

    type = fields.String(required=True)
    created_on = fields.String(required=True)

    class Meta:
        unknown = "include"


class EventIn(Schema):
    """An event that is not a call: a form, a dialogue, a deal. It becomes a stage for which webhooks can be set up."""

    stage = fields.String(
        required=True, validate=validate.OneOf(["form.sent", "dialog.opened", "dialog.closed", "deal.changed"])
    )
    fields_ = fields.Dict(
        keys=text(100, least=1), data_key="fields", load_default=dict, **given("form.*, dialog.* or deal.* of it")
    )
    attributes = fields.Dict(keys=text(60), values=text(2000), load_default=dict, **given("utm_source, client_id …"))
    call_id = fields.UUID(load_default=None, allow_none=True)
    key = text(150, load_default="", **given("your id of the event: if you send it twice, it takes effect once"))


class Happened(Schema):
    id = fields.UUID()
    stage = fields.String()
    deliveries = fields.Integer()


class AttributesIn(Schema):
    """Attributes of a visitor, for an existing call or for calls with a number in a time window."""

    call_id = fields.UUID(load_default=None, allow_none=True)
    number = text(40, load_default="", **given("of the visitor, or the number shown to them"))
    valid_from = times(load_default=None, allow_none=True)
    valid_until = times(load_default=None, allow_none=True, **given("default: a day from now"))
    values = fields.Dict(keys=text(60), values=text(2000), required=True, validate=validate.Length(1, 50))


class AttributesKept(Schema):
    id = fields.UUID(allow_none=True)
    number = fields.String()
    call_id = fields.UUID(allow_none=True)
    valid_from = times(allow_none=True)
    valid_until = times(allow_none=True)
    values = fields.Dict()


class Resthook(Schema):
    name = fields.String(
        required=True, validate=validate.Regexp(r"\A[a-z0-9][a-z0-9_.-]{0,79}\Z", error="use a-z, 0-9, _, - and .")
    )
    created_on = times(dump_only=True)
    subscribers = fields.Integer(dump_only=True)


class SubscriberIn(Schema):
    target_url = text(4000, least=1, required=True)
    filters = fields.List(
        fields.Dict(), load_default=[], **given("as those of a webhook; only for hooks named after a stage of calls")
    )


class Subscriber(Schema):
    id = fields.Integer()
    resthook = fields.String()
    target_url = fields.String()
    filters = fields.List(fields.Dict())
    created_on = times()


class Payload(Schema):
    payload = fields.Raw(required=True, **given("any JSON; subscribers get it unchanged"))


class Called(Schema):
    resthook = fields.String()
    deliveries = fields.List(fields.UUID())
