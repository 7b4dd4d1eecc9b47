"""Projects, PBXs and what belongs to them."""

from marshmallow import Schema, fields, validate

from pbxhub.account.dial_plans import LONGEST, RANGES
from pbxhub.account.project_settings import RANGES as PROJECT_RANGES
from pbxhub.account.saved_filters import FIELDS, LONGEST_NAME, LONGEST_VALUE
from pbxhub.api.schemas.base import given, ranged, ruled, text, times
from pbxhub.steering.number_rules import MOST_RULES
from pbxhub.webhooks.working_time import MOST_HOLIDAYS, MOST_HOURS
from pbxhub.wsgi.request_checks import LARGEST_ID


class Project(Schema):
    """The project of the key."""

    id = fields.Integer(dump_only=True)
    name = ruled(200, least=1)
    time_zone = ruled(64, **given("IANA name, Europe/Kyiv"))
    country = ruled(2, **given("ISO 3166, for numbers without a country code; empty: none"))
    working_hours = fields.List(
        fields.String(), metadata={"description": "mon-fri 09:00-18:00; empty: at any time", "maxItems": MOST_HOURS}
    )
    holidays = fields.List(
        fields.String(),
        metadata={"description": "2026-12-25, or 12-25 for every year, with a name", "maxItems": MOST_HOLIDAYS},
    )
    recording_link_days = ranged(
        PROJECT_RANGES["recording_link_days"], "days a link to a recording is valid; 0: as long as the call is kept"
    )
    created_on = times(dump_only=True)


class DialPlan(Schema):
    """How a PBX places ordered calls."""

    channel = ruled(LONGEST["channel"], least=1, **given("what rings first; {extension} means the agent's extension"))
    context = ruled(LONGEST["context"], least=1, **given("the dialplan context in which the number is then dialled"))
    allowed = fields.List(
        fields.String(),
        metadata={"description": "numbers that may be called: 112, _38044., _0800X.", "maxItems": MOST_RULES},
    )
    at_once = ranged(RANGES["at_once"], "ordered calls going on at once")
    per_minute = ranged(RANGES["per_minute"], "ordered calls begun within a minute")
    ring_seconds = ranged(RANGES["ring_seconds"], "how long the agent's phone rings")


class Pbx(Schema):
    """An Asterisk. Its secret is never shown."""

    id = fields.Integer(dump_only=True)
    name = ruled(200, least=1, required=True)
    host = ruled(255, least=1, required=True)
    port = ranged((1, 65535), "of AMI")
    username = ruled(100, least=1, required=True)
    secret = ruled(200, load_only=True, **given("of the AMI user; encrypted and never shown again"))
    tls = fields.Boolean()
    tls_ca = ruled(262144, **given("the PBX's own certificate authority in PEM; empty: those of the system"))
    plain_login = fields.Boolean(**given("sends the secret in plain text; for a PBX that refuses the MD5 challenge"))
    incoming_contexts = fields.List(
        ruled(80, least=1), metadata={"description": "names, or patterns: from-trunk*", "minItems": 1, "maxItems": 50}
    )
    charset = fields.String(**given("of names that are not UTF-8, windows-1251; empty: that of the country"))
    enabled = fields.Boolean()
    state = fields.String(dump_only=True)
    state_reason = fields.String(dump_only=True)
    state_since = times(dump_only=True, allow_none=True)
    last_event_on = times(dump_only=True, allow_none=True)
    asterisk_version = fields.String(dump_only=True)
    listener_host = fields.String(
        dump_only=True,
        allow_none=True,
        metadata={"description": "of the listener that has it, where several share the PBXs"},
    )


class PbxFinding(Schema):
    well = fields.Boolean()
    sentence = fields.String()


class StrangeContext(Schema):
    context = fields.String()
    calls = fields.Integer(**given("of today, in the project's time zone"))


class Number(Schema):
    """A DID: its label, and the PBX it rings."""

    id = fields.Integer(dump_only=True)
    pbx_id = fields.Integer(required=True, validate=validate.Range(1, LARGEST_ID))
    did = ruled(80, least=1, required=True)
    label = ruled(200)


class SavedFilter(Schema):
    """What a list of the pages is narrowed by. A filter of the same name and list is replaced."""

    id = fields.Integer(dump_only=True)
    page = fields.String(required=True, validate=validate.OneOf(list(FIELDS)))
    name = ruled(LONGEST_NAME, least=1, required=True)
    query = fields.Dict(
        keys=fields.String(), values=text(LONGEST_VALUE), required=True, attribute="fields",
        **given("names and values as the address of that page has them"),
    )  # fmt: skip
    url = fields.String(dump_only=True, **given("the short link"))
    created_on = times(dump_only=True)


class Employee(Schema):
    """The card of an extension."""

    id = fields.Integer(dump_only=True)
    extension = ruled(80, least=1, required=True)
    endpoints = fields.List(
        fields.String(), **given("names of the phones in Asterisk, anna2 or PJSIP/anna2; without the technology here")
    )
    name = ruled(200)
    email = ruled(255)
    department = ruled(200)
    crm_id = ruled(200)
