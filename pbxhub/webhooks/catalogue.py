"""The catalogue of parameters: every name that <<name>> accepts, in one list for templates, filters, pages and docs."""

from dataclasses import dataclass
from typing import Literal

from pbxhub.calls.stages import CALL_STAGES, OPTIONAL_STAGES

Type = Literal["str", "int", "float", "bool", "datetime", "list", "object", "any"]

LATER_STAGES = ("call.recording", "call.analysis", "call.complete")
OTHER_STAGES = ("form.sent", "dialog.opened", "dialog.closed", "deal.changed")
CHAIN = "chain"
"""Stage of a webhook that is sent only as the next webhook of another one."""
QUESTION = "call.question"
"""Stage of a webhook that the dialplan asks while the call waits for the answer."""
STAGES = (*CALL_STAGES, *OPTIONAL_STAGES, *LATER_STAGES, *OTHER_STAGES, QUESTION, CHAIN)
"""Every stage that a webhook can be set up for."""

_LETTERS = {
    "B": ("incoming.before",),
    "F": ("incoming.forward",),
    "P": ("incoming.pickup",),
    "A": ("incoming.after",),
    "E": ("incoming.evaluation",),
    "b": ("outgoing.before",),
    "p": ("outgoing.pickup",),
    "a": ("outgoing.after",),
    "U": ("incoming.unring",),
    "Q": ("incoming.abandoned",),
    "V": ("call.voicemail",),
    "H": ("call.hold", "call.unhold"),
    "i": ("internal.before",),
    "j": ("internal.pickup",),
    "k": ("internal.after",),
    "X": LATER_STAGES,
    "f": ("form.sent",),
    "d": ("dialog.opened", "dialog.closed"),
    "s": ("deal.changed",),
}
_CALL = "BFPAEUQVHbpaijkX"
_ALL = _CALL + "fds"


@dataclass(frozen=True, slots=True)
class Entry:
    """One parameter. stages: those at which it can have a value; a webhook of a chain has the values of its call."""

    name: str
    type: Type
    meaning: str
    stages: tuple[str, ...]
    example: str
    aliases: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Family:
    """Parameters whose names a user or a receiver chooses: all that begin with prefix."""

    prefix: str
    type: Type
    meaning: str
    stages: tuple[str, ...]
    example: str
    source: str


def stages_of(letters: str) -> tuple[str, ...]:
    """Expands letters to stages: B F P A E U Q incoming, b p a outgoing, i j k internal, V H voicemail and hold,
    X later, f d s form, dialogue and deal."""
    return tuple(stage for letter in letters for stage in _LETTERS[letter])


def _entry(names: str, kind: Type, stages: str, example: str, meaning: str, source: str) -> Entry:
    name, *aliases = names.split()
    return Entry(name, kind, meaning, stages_of(stages), example, tuple(aliases), source)


ENTRIES: tuple[Entry, ...] = (
    _entry("event", "str", _ALL, "incoming.after", "kind and moment", "hub"),
    _entry("stage", "str", _ALL, "incoming.after", "the same as event", "hub"),
    _entry("event_id", "str", _ALL, "0198f2c4-7d1e-7c3a-9b1f-2f6f1f0c9a11",
           "id of this stage event, stable across retries", "hub"),
    _entry("delivery_id", "str", _ALL, "0198f2c4-7d20-7a55-8c02-6f3d1a7be402",
           "id of this delivery, the same for every attempt", "hub"),
    _entry("attempt", "int", _ALL, "1", "number of the attempt", "hub"),
    _entry("project_id", "int", _ALL, "7", "id of the project", "hub"),
    _entry("project_name", "str", _ALL, "Flower shop", "name of the project", "hub"),
    _entry("now timestamp", "datetime", _ALL, "2026-05-14 12:31:07", "time of rendering", "hub"),
    _entry("call_id uniqueid cdr_id", "str", _CALL, "1778754610.42", "id of the call", "linkedid of the call"),
    _entry("channel", "str", _CALL, "PJSIP/trunk-0000002a", "channel of the calling side", "Newchannel"),
    _entry("dst_channel", "str", _CALL, "PJSIP/101-0000002b", "channel of the called side", "DialBegin"),
    _entry("direction", "str", _CALL, "incoming", "incoming, outgoing or internal", "contexts"),
    _entry("call_type", "str", _CALL, "in", "in, out, callback, transitin or internal",
           "direction; Originate"),
    _entry("calldate start_time", "datetime", _CALL, "2026-05-14 12:30:10", "start of the call", "Newchannel"),
    _entry("answer_time", "datetime", "PAEHpajkX", "2026-05-14 12:30:18", "first pickup", "DialEnd ANSWER"),
    _entry("end_time", "datetime", "AakX", "2026-05-14 12:31:07", "end of the call", "Hangup"),
    _entry("caller caller_number userfield", "str", _CALL, "+79161234567",
           "number of the outside party as received", "CallerIDNum or the dialled number"),
    _entry("caller_e164 E164", "str", _CALL, "+79161234567",
           "the same number in E.164, by the project's country", "phonenumbers"),
    _entry("caller_name", "str", _CALL, "Anna Petrova", "name shown by the caller", "CallerIDName"),
    _entry("region", "str", _CALL, "Moscow", "region of the number", "phonenumbers"),
    _entry("country", "str", _CALL, "RU", "country of the number, two letters", "phonenumbers"),
    _entry("operator", "str", _CALL, "MTS", "operator of the number", "phonenumbers"),
    _entry("dst callee called_did", "str", _CALL, "74951234567",
           "number dialled: the DID (incoming), the outside number (outgoing)", "Exten or DialString"),
    _entry("n_alias", "str", _CALL, "Site, main page", "the project's label of that number", "hub"),
    _entry("outbound_number", "str", "HbpaX", "74951234567", "our number shown outside", "DialBegin CallerIDNum"),
    _entry("trunk", "str", _CALL, "trunk", "trunk the call came or went by", "channel"),
    _entry("context", "str", _CALL, "from-trunk", "dialplan context of the first channel", "Context"),
    _entry("extension extension_number internal connected_with", "str", "FPAEUVHbpaijkX", "101",
           "the employee's extension", "DestChannel"),
    _entry("additional_number dtmf", "str", "PAQVX", "2", "digits the caller pressed", "UserEvent or variable"),
    _entry("employee_name employee_fio", "str", "FPAEUVHbpaijkX", "Ivan Sidorov",
           "name on the card of the extension", "hub"),
    _entry("employee_email", "str", "FPAEUVHbpaijkX", "ivan@example.com", "e-mail on the card of the extension", "hub"),
    _entry("department", "str", "FPAEUVHbpaijkX", "Sales", "department on the card of the extension", "hub"),
    _entry("manager_id", "str", "FPAEUVHbpaijkX", "504141", "the employee's id in the CRM", "hub"),
    _entry("queue", "str", "FPAUQVHX", "sales", "queue the call waited in", "QueueCallerJoin"),
    _entry("queue_wait", "int", "FPAUQVHX", "6", "seconds waited in the queue", "AgentConnect"),
    _entry("ring_time", "int", "FPAUHjkX", "4", "seconds the employee's phone rang", "AgentConnect, DialEnd"),
    _entry("ring_status", "str", "U", "NO ANSWER", "how the phone stopped ringing: NO ANSWER, BUSY, DECLINE or FAILED",
           "Hangup"),
    _entry("scheme_name", "str", _CALL, "Working hours", "route or voice menu passed", "dialplan hook"),
    _entry("forward_kind", "str", "FAX", "blind_transfer",
           "ring, diversion, blind_transfer, attended_transfer, redirect or park", "AMI"),
    _entry("forward_from", "str", "FAX", "101", "extension that sent the call on", "AMI"),
    _entry("forward_from_id", "str", "FAX", "504141", "that employee's id in the CRM, from the card", "hub"),
    _entry("forward_to", "str", "FAX", "102", "extension, outside number or parking slot", "AMI"),
    _entry("forward_step", "int", "FAX", "2", "1, 2, 3 … within the call", "AMI"),
    _entry("waittime waiting", "int", "PAHpajkX", "8", "seconds to the first pickup, or to the end", "own clock"),
    _entry("duration", "int", "AakX", "57", "seconds of the whole call", "event Timestamps"),
    _entry("duration_ms", "int", "AakX", "57012", "milliseconds of the whole call", "event Timestamps"),
    _entry("billsec", "int", "AakX", "49", "whole seconds of talk; 0 also if it was less than one",
           "event Timestamps"),
    _entry("disposition status call_status", "str", "AakEX", "ANSWERED",
           "ANSWERED, NO ANSWER, BUSY, DECLINE, NO-FORWARD, FAILED, …", "legs of the call"),
    _entry("hangup_cause", "int", "AakX", "16", "Q.850 cause", "Hangup"),
    _entry("hangup_cause_txt", "str", "AakX", "Normal Clearing", "the cause in words", "Hangup"),
    _entry("hangup_by", "str", "AakX", "caller", "caller, employee or pbx", "HangupRequest, DTMFEnd"),
    _entry("end_reason", "str", "AakX", "hangup", "hangup, lost_while_disconnected, pbx_restarted or expired", "hub"),
    _entry("is_answered", "bool", "AakX", "true", "a person answered; voicemail and menus do not count", "hub"),
    _entry("is_missed", "bool", "AaX", "false", "an incoming call that no person answered", "hub"),
    _entry("has_recording", "bool", "AaVkX", "true", "there is a recording", "hub"),
    _entry("proper_flag", "bool", "AaX", "true",
           "talk of 30 seconds or more, the first such one of this number in 30 days", "hub"),
    _entry("repeated_flag", "bool", "AaX", "false", "the caller has called before", "hub"),
    _entry("last_employee", "str", _CALL, "101", "extension that talked last with this person before this call", "hub"),
    _entry("last_employee_id", "str", _CALL, "504141", "that employee's id in the CRM, from the card", "hub"),
    _entry("last_call_time", "datetime", _CALL, "2026-05-13 09:15:00",
           "start of the person's call before this one, answered or not, either way", "hub"),
    _entry("responsible", "str", _CALL, "101",
           "extension that the caller should reach: that of the value responsible, if an answer has saved one "
           "(an extension, or an id in the CRM); otherwise last_employee. Empty without a card", "hub"),
    _entry("first_call", "bool", "ABaX", "true", "first call of this number", "hub"),
    _entry("call_counter", "int", "BAX", "1", "how many calls this number has made", "hub"),
    _entry("recording recording_url record_link", "str", "AaVkX",
           "https://pbx.example.com/r/1778754610.42?sig=5b1f", "signed link that plays the recording", "hub"),
    _entry("recording_file", "str", "AaVkX", "/var/spool/asterisk/monitor/1778754610.42.wav",
           "file on the PBX", "MIXMONITOR_FILENAME"),
    _entry("recording_size", "int", "AaVkX", "918044",
           "bytes of the recording, when its file is on the host of the hub", "hub"),
    _entry("recording_base64", "str", "AaVkX", "UklGRiQAAABXQVZF",
           "the recording itself in base64; its bytes join the request when it is sent", "hub"),
    _entry("call_card", "str", _CALL, "https://pbx.example.com/calls/1778754610.42",
           "link to the call in the account", "hub"),
    _entry("transfer_from", "str", "AakX", "101", "who transferred last", "AMI"),
    _entry("transfer_to", "str", "AakX", "102", "whom the last transfer went to", "AMI"),
    _entry("transfer_type", "str", "AakX", "attended", "blind or attended", "AMI"),
    _entry("hold_count", "int", "AaHkX", "1", "how often the call was put on hold", "Hold"),
    _entry("hold_time", "int", "AaHkX", "12", "seconds on hold", "Hold, Unhold"),
    _entry("legs", "list", "AakX",
           '[{"number":"101","extension":"101","start":"2026-05-14 12:30:12","ring":6,"status":"ANSWERED"}]',
           "one object per leg: number, extension, start, answer, end, ring (seconds it rang), status", "Dial events"),
    _entry("evaluation_mark employee_mark", "int", "EX", "5", "the mark", "UserEvent"),
    _entry("category_number", "str", "EX", "2", "category of the rating menu", "UserEvent"),
    _entry("category_mark", "str", "EX", "4", "mark of that category", "UserEvent"),
    _entry("pool_name", "str", _ALL, "Ads", "pool of numbers", "API"),
    _entry("utm_source", "str", _ALL, "google", "attribution: source", "API"),
    _entry("utm_medium", "str", _ALL, "cpc", "attribution: medium", "API"),
    _entry("utm_campaign", "str", _ALL, "spring", "attribution: campaign", "API"),
    _entry("utm_content", "str", _ALL, "banner-2", "attribution: content", "API"),
    _entry("utm_term", "str", _ALL, "buy roses", "attribution: term", "API"),
    _entry("client_id", "str", _ALL, "1391543214.1778750000", "Google Analytics client", "API"),
    _entry("ga_session_id", "str", _ALL, "1778753990", "Google Analytics session", "API"),
    _entry("gclid", "str", _ALL, "Cj0KCQjw", "Google Ads click", "API"),
    _entry("remote_ip", "str", _ALL, "203.0.113.9", "address of the visitor", "API"),
    _entry("landing", "str", _ALL, "https://shop.example.com/roses", "page the visitor came to", "API"),
    _entry("referrer refferrer", "str", _ALL, "https://www.google.com/", "page the visitor came from", "API"),
    _entry("transcript", "any", "X", "Good morning …", "given later by API", "API"),
    _entry("analysis", "any", "X", '{"mood":"calm"}', "given later by API", "API"),
    _entry("details", "object", "X", '{"caller":"+79161234567","billsec":49}',
           "everything known of the call, as one object", "hub"),
    _entry("response_status", "str", _ALL, "SUCCESS", "SUCCESS or FAILED: the previous webhook of this call", "chain"),
    _entry("response_status_code", "int", _ALL, "200", "HTTP status of its answer", "chain"),
    _entry("response_status_type", "str", _ALL, "Success",
           "class of that status: Informational, Success, Redirection, Client Error or Server Error", "chain"),
    _entry("response_duration", "float", _ALL, "0.184", "seconds until the answer", "chain"),
    _entry("response_raw", "str", _ALL, '{"result":{"id":12}}', "text of the answer; empty without one", "chain"),
    _entry("response_error", "bool", _ALL, "true", "the previous webhook of this call failed", "chain"),
    _entry("error_reason", "str", _ALL, "TIMEOUT", "code of what went wrong, empty after a success", "chain"),
    _entry("error_sentence", "str", _ALL, "The receiver did not answer.", "the same in a sentence", "chain"),
)  # fmt: skip

FAMILIES: tuple[Family, ...] = (
    Family("var.", "str", "channel variable sent by the dialplan", stages_of(_CALL), "var.CAMPAIGN",
           "channelvars, UserEvent"),
    Family("attr.", "str", "attribute of your own: a name of a-z, 0-9 and _ that begins with a letter",
           stages_of(_ALL), "attr.roistat", "API"),
    Family("custom.", "any", "custom_args_values of the call API", stages_of("VHbpaX"), "custom.order_id", "API"),
    Family("form.", "any", "field of a form that was sent", stages_of("f"), "form.email", "API"),
    Family("dialog.", "any", "field of a dialogue", stages_of("d"), "dialog.operator", "API"),
    Family("deal.", "any", "field of a deal", stages_of("s"), "deal.amount", "API"),
    Family("webhook.status", "int", "HTTP status of the previous webhook's answer", stages_of(_ALL), "webhook.status",
           "chain"),
    Family("webhook.json.", "any", "value at a path of the answer's JSON", stages_of(_ALL),
           "webhook.json.result.items[0].id", "chain"),
    Family("webhook.headers.", "str", "header of the answer, its name in any letter case", stages_of(_ALL),
           "webhook.headers.location", "chain"),
    Family("webhook.saved.", "any", "value that the previous webhook saved from its answer", stages_of(_ALL),
           "webhook.saved.CALL_ID", "chain"),
)  # fmt: skip
