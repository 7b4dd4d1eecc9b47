"""What the dialplan reports about a call.

UserEvents of the hub's own dialplan (asterisk-conf/), all on the caller's channel:
PBXHubEvaluationStart                              the evaluation menu begins: the conversation is over
PBXHubEvaluation   Mark, CategoryNumber, CategoryMark   the caller's mark (EvaluationStart, Evaluation, Score too)
PBXHubForward      To, Kind, From                  the dialplan sends the call on and AMI does not show it
PBXHubPickup       By                              somebody without a channel, such as a voice bot, talks to the caller
PBXHubVar          Name, Value                     a value for var.NAME; Name additional_number: digits pressed
PBXHubScheme       Name                            route or IVR passed
PBXHubDirection    Direction                       incoming, outgoing or internal, when the context does not show it
PBXHubDisposition  Disposition, File               one of dispositions.OF_THE_DIALPLAN; the message left in voicemail
Malformed events are ignored.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import get_args

from pbxhub.calls.ami_events import UserEvent
from pbxhub.calls.ami_headers import clean, whole
from pbxhub.calls.annotations import keep_variables
from pbxhub.calls.answered_legs import pickup_unseen
from pbxhub.calls.arrivals import arrive
from pbxhub.calls.dispositions import OF_THE_DIALPLAN
from pbxhub.calls.live_calls import LiveCalls
from pbxhub.calls.phone_numbers import dialled_number
from pbxhub.calls.sending_on import forward, next_hop
from pbxhub.calls.state import ForwardKind, SentOn, StageKey, TrackedCall

KINDS: Mapping[str, ForwardKind] = {kind: kind for kind in get_args(ForwardKind)}


def on_user_event(live: LiveCalls, message: UserEvent) -> None:
    call = live.follow(message.uniqueid, message.linkedid, message.time)
    act = _HANDLERS.get(message.name)
    if call is not None and act is not None:
        act(live, call, message)


def _evaluation_starts(live: LiveCalls, call: TrackedCall, message: UserEvent) -> None:
    if call.direction == "incoming" and call.phase != "over":
        call.hangup_by = call.hangup_by or "pbx"
        live.conclude(call, message.time)


def _evaluation(live: LiveCalls, call: TrackedCall, message: UserEvent) -> None:
    """A mark is a whole number; a repeated message has the time of the first."""
    mark = message.fields.get("Mark") or message.fields.get("Score", "")
    if call.direction != "incoming" or not mark.isascii() or not mark.isdigit() or len(mark) > 4:
        return
    if message.time == call.dialplan.marked:
        return
    call.dialplan = replace(call.dialplan, marked=message.time)
    number = str(len(call.fired.get("incoming.evaluation", ())) + 1)
    more = {"category_number": "CategoryNumber", "category_mark": "CategoryMark"}
    given = {name: message.fields[header] for name, header in more.items() if message.fields.get(header)}
    live.fire(call, "incoming.evaluation", StageKey(0, number), message.time, evaluation_mark=whole(mark), **given)


def _variable(_: LiveCalls, call: TrackedCall, message: UserEvent) -> None:
    name, value = clean(message.fields.get("Name", "")), message.fields.get("Value", "")
    if name in ("additional_number", "dtmf"):
        call.dialplan = replace(call.dialplan, digits=value)
    elif name:
        keep_variables(call, {name: value})


def _scheme(_: LiveCalls, call: TrackedCall, message: UserEvent) -> None:
    call.dialplan = replace(call.dialplan, scheme=message.fields.get("Name", "") or call.dialplan.scheme)


def _forward(live: LiveCalls, call: TrackedCall, message: UserEvent) -> None:
    """Begins a new hop. Its destination does not fire again when it rings."""
    to, kind = clean(dialled_number(message.fields.get("To", ""))), message.fields.get("Kind") or "redirect"
    if call.direction != "incoming" or not to or kind not in KINDS or call.phase == "over":
        return
    if next_hop(call, message.time):
        source = clean(message.fields.get("From", "")) or call.extension
        forward(live, call, SentOn(KINDS[kind], source, to), call.hop.number, message.time)


def _pickup(live: LiveCalls, call: TrackedCall, message: UserEvent) -> None:
    by = clean(message.fields.get("By", ""))
    if call.direction == "incoming" and by and call.phase != "over":
        pickup_unseen(live, call, by, message.time)


def _direction(live: LiveCalls, call: TrackedCall, message: UserEvent) -> None:
    """Settles the direction, unless it is settled already. An outgoing call becomes one with its first dial, which has
    the number."""
    said = message.fields.get("Direction", "")
    if said == "incoming":
        arrive(live, call, message.time)
    elif said == "outgoing" and not call.direction:
        call.dialplan = replace(call.dialplan, outward=True)
    elif said == "internal":
        call.move("stays_inside")


def _disposition(live: LiveCalls, call: TrackedCall, message: UserEvent) -> None:
    said = message.fields.get("Disposition", "").upper()
    if said in OF_THE_DIALPLAN:
        call.dialplan = replace(call.dialplan, disposition=said)
    if said == "VOICEMAIL" and call.with_outside and call.phase != "over":
        file = message.fields.get("File", "").strip()
        live.fire(call, "call.voicemail", StageKey(), message.time, recording_file=file)


_HANDLERS: Mapping[str, Callable[[LiveCalls, TrackedCall, UserEvent], None]] = {
    "PBXHubEvaluationStart": _evaluation_starts,
    "EvaluationStart": _evaluation_starts,
    "PBXHubEvaluation": _evaluation,
    "Evaluation": _evaluation,
    "PBXHubVar": _variable,
    "PBXHubScheme": _scheme,
    "PBXHubForward": _forward,
    "PBXHubPickup": _pickup,
    "PBXHubDirection": _direction,
    "PBXHubDisposition": _disposition,
}
