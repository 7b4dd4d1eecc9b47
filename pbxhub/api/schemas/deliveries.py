"""Deliveries, their attempts, and sending again."""

from marshmallow import Schema, ValidationError, fields, validate

from pbxhub.account.resending import FASTEST, MOST_COUNTED, MOST_SELECTED, USUAL_RATE
from pbxhub.api.schemas.base import Paging, given, text, times
from pbxhub.delivery.outbox import MOST_MISSING
from pbxhub.sending.outcomes import OUTCOMES
from pbxhub.store.delivery_rows import STATES
from pbxhub.webhooks.catalogue import STAGES
from pbxhub.wsgi.request_checks import LARGEST_ID


class Delivery(Schema):
    """One webhook for one stage. Its requests are under attempts."""

    id = fields.UUID()
    webhook_id = fields.Integer()
    call_id = fields.UUID(allow_none=True)
    stage_event_id = fields.UUID(allow_none=True)
    kind = fields.String()
    state = fields.String(validate=validate.OneOf(STATES))
    attempts = fields.Integer()
    method = fields.String()
    url = fields.String()
    outcome = fields.String()
    error_url = fields.String(allow_none=True, **given("the page with causes and remedies; null: nothing went wrong"))
    message = fields.String()
    status_code = fields.Integer(allow_none=True)
    duration_ms = fields.Integer(allow_none=True)
    due_at = times()
    sending_since = times(
        allow_none=True, **given("while a request is on its way; due_at is then when the delivery is given to another")
    )
    created_on = times()
    finished_on = times(allow_none=True)
    checked_on = times(allow_none=True)
    content_removed_on = times(allow_none=True, **given("request and answers were removed for good then"))
    content_removed_by = fields.String(allow_none=True)


class Attempt(Schema):
    """One request that was sent."""

    number = fields.Integer()
    started_on = times()
    finished_on = times(allow_none=True)
    outcome = fields.String()
    error_url = fields.String(allow_none=True, **given("the page with causes and remedies; null: nothing went wrong"))
    message = fields.String()
    status_code = fields.Integer(allow_none=True)
    total_us = fields.Integer(allow_none=True)
    peer = fields.String()
    request_headers = fields.List(fields.List(fields.String()))
    request_body = fields.String()
    response_headers = fields.List(fields.List(fields.String()))
    response_body = fields.String()
    response_truncated = fields.Boolean()


def _is_status(value: int) -> None:
    if value and not 100 <= value <= 999:
        raise ValidationError("is not 0 (no answer) and not from 100 to 999")


class Matching(Schema):
    """The filters for a list or a bulk action; all given filters must match."""

    webhook_id = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(1, LARGEST_ID))
    call_id = fields.UUID(load_default=None, allow_none=True)
    linkedid = text(150, load_default="", **given("of the call, as Asterisk names it"))
    number = text(150, load_default="", **given("outside number or DID of the call, exactly, with or without +"))
    stage = fields.String(load_default="", validate=validate.OneOf(["", *STAGES]))
    outcome = fields.String(load_default="", validate=validate.OneOf(["", *OUTCOMES]), **given("the reason"))
    status_code = fields.Integer(
        load_default=None, allow_none=True, validate=_is_status, **given("of HTTP; 0 for those that were not answered")
    )
    since = times(load_default=None, allow_none=True, **given("published then or later"))
    until = times(load_default=None, allow_none=True, **given("published before"))


class DeliveryFilter(Matching, Paging):
    state = fields.String(load_default="", validate=validate.OneOf(["", *STATES]))
    unchecked = fields.Boolean(load_default=False, **given("failed ones that nobody has checked"))


class Chosen(Matching):
    """Which deliveries: these, or all matching failed ones that nobody has checked."""

    ids = fields.List(fields.UUID(), load_default=list, validate=validate.Length(0, MOST_SELECTED))


class Again(Chosen):
    rate = fields.Integer(load_default=USUAL_RATE, validate=validate.Range(1, FASTEST), **given("deliveries a second"))
    current_settings = fields.Boolean(load_default=False, **given("false: as they were sent"))


class ToRemove(Schema):
    """One of the three; all deliveries of a call, or of all calls of a caller."""

    ids = fields.List(fields.UUID(), load_default=list, validate=validate.Length(0, MOST_SELECTED))
    call_id = fields.UUID(load_default=None, allow_none=True)
    number = text(80, load_default="", **given("of the outside party, however it is written"))
    calls = fields.Boolean(
        load_default=False,
        **given(
            "also the values of these calls and their stages, and their AMI events; of a number also ordered calls "
            "that never began, and its attributes"
        ),
    )


class RemovedContent(Schema):
    deliveries = fields.Integer(**given("whose requests and answers were removed"))
    calls = fields.Integer(**given("whose values and events were removed"))
    orders = fields.Integer(**given("ordered calls to the number that never began, whose values were removed"))
    attributes = fields.Integer(**given("sets of attributes kept for calls of the number, which are deleted"))
    left = fields.Integer(
        **given(
            "deliveries that are still to be sent, or whose call is going on or has something to be sent: they are "
            "unchanged"
        )
    )
    calls_left = fields.Integer(
        **given("calls that are going on or have something to be sent, and open orders: they are unchanged")
    )


class Resend(Schema):
    id = fields.UUID()
    state = fields.String()
    total = fields.Integer()
    queued = fields.Integer()
    skipped = fields.Integer(**given("could not be sent again, or were refused by conditions; they are unchanged"))


_COUNTED = f"; without those sent again since; null for more than {MOST_COUNTED}, which are not counted"


class ResendProgress(Resend):
    delivered = fields.Integer(**given(f"of those queued, arrived so far{_COUNTED}"))
    failures = fields.Integer(**given(f"of those queued, failed and are not tried again{_COUNTED}"))
    on_their_way = fields.Integer(**given(f"of those queued, are being sent or will be tried again{_COUNTED}"))


class StagesPeriod(Schema):
    """When the stages happened."""

    since = times(load_default=None, allow_none=True, **given("then or later"))
    until = times(load_default=None, allow_none=True, **given("before"))


class Replay(Schema):
    since = times(required=True, **given("then or later"))
    until = times(required=True, **given("before"))
    rate = fields.Integer(load_default=USUAL_RATE, validate=validate.Range(1, FASTEST), **given("deliveries a second"))
    refused = fields.Boolean(load_default=False, **given("also those that the conditions of the webhook refuse"))


class Lacking(Schema):
    count = fields.Integer(**given(f"stages without a delivery; {MOST_MISSING + 1}: more than can be sent at once"))
    since = times(**given("from when it is known whether they were sent: deliveries are not kept for ever"))


class Count(Schema):
    count = fields.Integer()


class ResendOne(Schema):
    current_settings = fields.Boolean(load_default=False)
