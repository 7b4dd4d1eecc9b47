"""The parameters of a stage that come from AMI, by their names in the catalogue. Unknown ones are left out."""

from datetime import UTC, datetime
from functools import lru_cache
from itertools import compress
from operator import attrgetter

from pbxhub.calls.directions import UNSETTLED
from pbxhub.calls.dispositions import ANSWERED, disposition, leg_outcome
from pbxhub.calls.stages import Value
from pbxhub.calls.state import Channel, TrackedCall


@lru_cache(maxsize=128)
def moment(time: float) -> datetime:
    """This time, aware, UTC. Remembered, because one report has the same moments several times."""
    return datetime.fromtimestamp(time, UTC)


# Parameters that are fields of the call. An empty field is unknown.
_PLAIN = {
    "call_id": "linkedid",
    "channel": "channel",
    "dst_channel": "dst_channel",
    "caller": "caller",
    "caller_name": "caller_name",
    "dst": "dst",
    "outbound_number": "outbound_number",
    "trunk": "trunk",
    "context": "context",
    "queue": "queue.name",
    "forward_kind": "forward.kind",
    "forward_from": "forward.source",
    "forward_to": "forward.to",
    "additional_number": "dialplan.digits",
    "scheme_name": "dialplan.scheme",
    "recording_file": "recording.file",
}
_plain_values = attrgetter(*_PLAIN.values())


def values_of(call: TrackedCall, time: float) -> dict[str, Value]:
    """Everything known of the call at this time; at its end also the outcome, the durations and the legs."""
    plain = _plain_values(call)
    values: dict[str, Value] = dict(compress(zip(_PLAIN, plain, strict=True), plain))
    values["direction"] = call.direction or UNSETTLED
    values["calldate"] = moment(call.started)
    if call.direction:
        values["call_type"] = _call_type(call)
    if call.extension or call.rung:
        values["extension"] = call.extension or call.rung
    if call.forward.kind:
        values["forward_step"] = len(call.fired.get("incoming.forward", ()))
    for name, value in call.dialplan.variables.items():
        values[f"var.{name}"] = value
    _add_waits(values, call, time)
    if call.phase == "over":
        values |= _ending(call)
    return values


def _call_type(call: TrackedCall) -> str:
    if call.direction == "incoming":
        party = call.channels.get(call.party)
        return "transitin" if party is not None and party.outside else "in"
    if call.direction == "outgoing":
        return "callback" if call.originated else "out"
    return "internal"


def _add_waits(values: dict[str, Value], call: TrackedCall, time: float) -> None:
    until = call.answered or call.over or time
    if call.queue.name and call.queue.joined:
        values["queue_wait"] = int(call.queue.wait or max(0.0, until - call.queue.joined))
    if call.answered:
        values["answer_time"] = moment(call.answered)
        values["ring_time"] = int(call.ring_time)
    if call.answered or call.over:
        values["waittime"] = int(max(0.0, until - call.started))


def _ending(call: TrackedCall) -> dict[str, Value]:
    length = max(0.0, call.over - call.started)
    known: dict[str, Value] = {
        "hangup_cause_txt": call.hangup.text,
        "hangup_by": call.hangup_by,
        "transfer_from": call.transfer.source,
        "transfer_to": call.transfer.to,
        "transfer_type": call.transfer.kind,
    }
    ending: dict[str, Value] = {
        "end_time": moment(call.over),
        "duration": int(length),
        "duration_ms": round(length * 1000),
        "billsec": int(talk_time(call)),
        "disposition": disposition(call),
        "end_reason": call.end_reason,
        "is_answered": bool(call.answered),
        "is_missed": call.direction == "incoming" and not call.answered,
        "has_recording": call.recording.started or bool(call.recording.file),
        "hold_count": call.holds.count,
        "hold_time": int(call.holds.seconds),
        "legs": [_leg(leg) for leg in call.legs()],
        **{name: value for name, value in known.items() if value},
    }
    if call.hangup.code >= 0:
        ending["hangup_cause"] = call.hangup.code
    return ending


def talk_time(call: TrackedCall) -> float:
    """Seconds from the first pickup to the end of the last conversation. The Cdr's billsec includes IVR and queue."""
    if not call.answered:
        return 0.0
    ends = [call.over, call.talk_ended or call.over]
    party, first = call.channels.get(call.party), call.channels.get(call.first)
    if party is not None and party.ended:
        ends.append(party.ended)
    if first is not None and first.ended and not first.local and call.direction != "outgoing":
        ends.append(first.ended)
    return max(0.0, min(ends) - call.answered)


def _ring(leg: Channel) -> int | None:
    """Seconds from the dial to the answer, or until the phone was given up; None while it rings."""
    until = leg.answered or leg.ended
    return int(max(0.0, until - leg.started)) if until else None


def _leg(leg: Channel) -> Value:
    status = leg_outcome(leg)
    return {
        "number": leg.number,
        "extension": "" if leg.outside else leg.number,
        "start": moment(leg.started),
        "answer": moment(leg.answered) if status == ANSWERED else None,
        "end": moment(leg.ended) if leg.ended else None,
        "ring": _ring(leg),
        "status": status,
    }
