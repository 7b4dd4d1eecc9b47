"""Webhooks: set up, tried, copied, exported; ready-made ones and the parameters."""

from marshmallow import Schema, fields, validate

from pbxhub.api.schemas.base import ProblemError, given, ruled, text, times
from pbxhub.webhooks.catalogue import STAGES
from pbxhub.wsgi.request_checks import LARGEST_ID


class WebhookOfSet(Schema):
    id = fields.Integer()
    name = fields.String()
    stage = fields.String()
    enabled = fields.Boolean()


class Webhook(Schema):
    """An event: when to send what where."""

    id = fields.Integer(dump_only=True)
    name = ruled(200, least=1, required=True)
    stage = fields.String(required=True, metadata={"enum": list(STAGES)})
    enabled = fields.Boolean(load_default=True)
    spec = fields.Dict(required=True, metadata={"x-spec": "Webhook"})
    set = ruled(200, **given('name of the set it belongs to, "" for none; without it a saved one keeps its set'))
    secret = text(2000, load_only=True, **given("of spec.request.auth; encrypted and not shown again"))
    tls_key = text(20_000, load_only=True,
                   **given("private key (PEM) of spec.request.tls_certificate; not shown again"))  # fmt: skip
    locked = fields.Boolean(dump_only=True)
    position = fields.Integer(dump_only=True)
    revision = fields.Integer(dump_only=True)
    has_secret = fields.Boolean(dump_only=True)
    has_tls_key = fields.Boolean(dump_only=True)
    paused_on = times(dump_only=True, allow_none=True)
    paused_reason = fields.String(dump_only=True)
    created_on = times(dump_only=True)


class WebhookSet(Schema):
    """Events that belong together: those of one ready-made integration, or those that you have put into one."""

    name = ruled(200, least=1, required=True)
    enabled = fields.Boolean(dump_only=True, **given("whether all of its events are switched on"))
    webhooks = fields.List(fields.Nested(WebhookOfSet), dump_only=True)
    warnings = fields.List(fields.String(), dump_only=True,
                           **given("events that lead to one that is deleted or switched off"))  # fmt: skip
    dial_address = fields.String(dump_only=True, **given("for calls that begin in the CRM, made with the set; "
                                                         "only for the scope admin"))  # fmt: skip


class SetNamed(Schema):
    name = text(200, least=1, required=True, **given("name of the set"))


class WebhookCopy(Schema):
    """What differs in the copy."""

    stage = fields.String(validate=validate.OneOf(STAGES))
    name = text(200, least=1)


class Switch(Schema):
    enabled = fields.Boolean(required=True)


class Order(Schema):
    ids = fields.List(fields.Integer(validate=validate.Range(1, LARGEST_ID)), required=True,
                      **given("in the order of sending; omitted ones follow in their present order"))  # fmt: skip


class SigningKey(Schema):
    key = fields.String(**given("whsec_…; it is not shown again"))


class GoogleAnalytics(Schema):
    """The values that the locked event needs."""

    measurement_id = fields.String(required=True, **given("G-ABC123DEF4, of the data stream"))
    api_secret = ruled(200, least=1, required=True)


class AnswerTried(Schema):
    answer = text(65_536, required=True, **given("the body that the receiver would send"))


class Simulated(Schema):
    """The actions of a call, or why the answer is refused and the call takes the default route."""

    steps = fields.List(fields.String())
    refused = fields.String(**given("empty when it is not"))
    default = fields.String(**given("the number of the default route; empty: line 1 of the dialplan"))


class Sample(Schema):
    """The call with which to try a webhook."""

    sample = text(40, load_default="answered",
                  **given("id of a recent call, or answered, missed, anonymous, transferred, nasty"))  # fmt: skip


class WebhookTrial(Sample):
    """A webhook, saved or not."""

    stage = fields.String(required=True, validate=validate.OneOf(STAGES))
    spec = fields.Dict(required=True, metadata={"x-spec": "Webhook"})


class Rendered(Schema):
    """The exact request, or why there is none."""

    method = fields.String(allow_none=True)
    url = fields.String(allow_none=True)
    headers = fields.List(fields.List(fields.String()))
    body = fields.String()
    curl = fields.String()
    not_sent = fields.String(allow_none=True)
    would_match = fields.Boolean()
    notes = fields.List(fields.Nested(ProblemError))


class Answered(Rendered):
    """The result of a test send."""

    outcome = fields.String(allow_none=True)
    message = fields.String()
    status_code = fields.Integer(allow_none=True)
    response_body = fields.String()
    elapsed_ms = fields.Integer(allow_none=True)
    success = fields.Boolean(allow_none=True)
    followed = fields.Nested(
        Simulated, allow_none=True, **given("what the PBX would do with the call, of an event that a waiting call asks")
    )


class Version(Schema):
    """A webhook at one revision."""

    revision = fields.Integer()
    name = fields.String()
    stage = fields.String()
    enabled = fields.Boolean()
    spec = fields.Dict(metadata={"x-spec": "Webhook"})
    created_on = times()


LEFT_OUT = given("subscribers of REST hooks that are not in the file: each program subscribes its own address again")


class File(Schema):
    """Webhooks as a file, without secrets."""

    format = fields.String(validate=validate.OneOf(["pbxhub-webhooks"]))
    version = fields.Integer(validate=validate.OneOf([1]))
    webhooks = fields.List(fields.Dict(), required=True)
    connections = fields.List(fields.Dict(), **given("those that the events use, without secrets"))
    subscribers_left_out = fields.Integer(**LEFT_OUT)


class ExportOptions(Schema):
    set = text(200, load_default="", **given("only the events of this set"))


class ImportOptions(Schema):
    dry_run = fields.Boolean(load_default=False, **given("only say what would change"))


class Imported(Schema):
    """What an import changes, or has changed, in one webhook."""

    name = fields.String()
    change = fields.String(validate=validate.OneOf(["new", "changed", "same"]))
    needs_secret = fields.Boolean()
    fields_changed = fields.List(fields.String())


class ImportResult(Schema):
    written = fields.Integer()
    webhooks = fields.List(fields.Nested(Imported))
    connections = fields.List(fields.String(), **given("names of the connections that are added, without secrets"))
    subscribers_left_out = fields.Integer(**LEFT_OUT)


class Ask(Schema):
    name = fields.String()
    label = fields.String()
    example = fields.String()


class Ready(Schema):
    name = fields.String()
    stage = fields.String()
    spec = fields.Dict()


class GalleryItem(Schema):
    """A ready-made integration."""

    id = fields.String()
    name = fields.String()
    description = fields.String()
    note = fields.String()
    secret = fields.String()
    category = fields.String()
    connection = fields.String(**given("id of the preset of the connection that it needs, or empty"))
    dial = fields.String(**given("events by which the CRM begins calls; empty: it begins none"))
    ask = fields.List(fields.Nested(Ask))
    webhooks = fields.List(fields.Nested(Ready))


class GalleryAnswers(Schema):
    """The values that the integration needs."""

    answers = fields.Dict(keys=fields.String(), values=text(2000), load_default=dict)
    secret = text(20_000, load_default="", **given("of the events, or of the connection that is added with them"))
    connection = text(200, load_default="", **given("name of a connection of the project; empty: adds a new one"))
    client_id = text(2000, load_default="", **given("of the new connection, if it uses OAuth2"))
    dial = fields.Boolean(load_default=False, **given("make the address for calls that begin in the CRM; GET /sets "
                                                      "shows it. Needs the scope admin"))  # fmt: skip


class Parameter(Schema):
    """One name of the catalogue."""

    name = fields.String()
    type = fields.String()
    meaning = fields.String()
    stages = fields.List(fields.String())
    example = fields.String()
    aliases = fields.List(fields.String())
    source = fields.String()
