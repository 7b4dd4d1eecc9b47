"""Calls and their stages; calls started by API."""

from marshmallow import Schema, fields, validate

from pbxhub.account.why_unsent import REASONS
from pbxhub.api.schemas.base import Paging, given, text, times
from pbxhub.store.history import RESULTS
from pbxhub.wsgi.request_checks import LARGEST_ID

_SECONDS = validate.Range(0, 2**31 - 1)


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
    talk = fields.Integer(allow_none=True, **given("seconds, 1 or more if answered; null during the call"))
    wait = fields.Integer(allow_none=True, **given("seconds to the first pickup, or to the end"))
    recorded = fields.Boolean(allow_none=True, **given("whether there is a recording"))
    values = fields.Dict(**given("all values of the call, by parameter name"))
    ordered = fields.Nested(Ordered, allow_none=True)


class Period(Schema):
    since = times(load_default=None, **given("calls that began then or later"))
    until = times(load_default=None, **given("calls that began earlier"))
    direction = fields.String(load_default="", validate=validate.OneOf(["", "incoming", "outgoing", "internal"]))


class CallFilter(Period):
    """All given filters must match."""

    result = fields.String(
        load_default="", validate=validate.OneOf(["", *RESULTS]),
        **given("answered: a person talked; missed: an incoming call that nobody answered; unanswered: another one"),
    )  # fmt: skip
    disposition = text(40, load_default="", **given("ANSWERED, NO ANSWER, BUSY …"))
    number = text(80, load_default="", **given("outside number or DID, however it is written"))
    extension = text(80, load_default="", **given("of the employee who answered, or was called last"))
    employee_id = fields.Integer(
        load_default=None, validate=validate.Range(1, LARGEST_ID), **given("card whose extension the call has")
    )
    did = text(80, load_default="", **given("your number that was called, however it is written"))
    least_talk = fields.Integer(load_default=None, validate=_SECONDS, **given("seconds of talk, at least"))
    most_talk = fields.Integer(load_default=None, validate=_SECONDS, **given("seconds of talk, at most"))
    recorded = fields.Boolean(load_default=None, **given("whether there is a recording"))


class CallList(CallFilter, Paging):
    """Of a list."""


class ReportFilter(Period):
    by = fields.String(load_default="employee", validate=validate.OneOf(["employee", "number"]),
                       **given("count by the employee of the call, or by the number that was called"))  # fmt: skip


class Counted(Schema):
    """The calls of one employee or number that are over."""

    key = fields.String(**given("extension or DID; empty for the total"))
    name = fields.String(**given("from the employee's card, or the number's label"))
    calls = fields.Integer()
    answered = fields.Integer()
    missed = fields.Integer(**given("incoming calls that nobody answered, whatever their disposition"))
    talk = fields.Integer(**given("seconds of all of them"))
    average_talk = fields.Integer(allow_none=True, **given("seconds of an answered call"))
    average_wait = fields.Integer(
        allow_none=True, **given("seconds until an incoming call was answered or given up, where known")
    )


class CallCounts(Schema):
    items = fields.List(fields.Nested(Counted), attribute="rows", **given("the busiest first, 500 at most"))
    total = fields.Nested(Counted)


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


class UnsentFilter(Paging):
    since = times(load_default=None, allow_none=True, **given("happened then or later"))
    until = times(load_default=None, allow_none=True, **given("happened before"))
    all = fields.Boolean(load_default=False, **given("also stages that no webhook waits for"))


class NotSentTo(Schema):
    """A webhook that has sent nothing for a stage."""

    webhook_id = fields.Integer()
    reason = fields.String(validate=validate.OneOf(list(REASONS)),
                           **given("; ".join(f"{word}: {what}" for word, what in REASONS.items())))  # fmt: skip
    parameter = fields.String(**given("that the condition asks for; empty for a group and for other reasons"))


class Unsent(Schema):
    """A stage for which no webhook has a delivery."""

    event_id = fields.UUID()
    call_id = fields.UUID()
    stage = fields.String()
    created_on = times()
    webhooks = fields.List(fields.Nested(NotSentTo), **given("those of this stage, each with why; 20 at most"))


class UnsentPage(Schema):
    items = fields.List(fields.Nested(Unsent), required=True)
    next = fields.String(required=True, allow_none=True, **given("`after` of the next page; null: no more"))
    since = times(**given("from when it is known whether they were sent: deliveries are not kept for ever"))


class SentAfterAll(Schema):
    webhook_id = fields.Integer(required=True, validate=validate.Range(1, LARGEST_ID))


class Stage(Schema):
    """One stage of a call."""

    id = fields.UUID()
    stage = fields.String()
    ordinal = fields.Integer()
    created_on = times()
    values = fields.Dict(attribute="data")


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
