"""Values to try a webhook on: a real call of the project, or made-up calls that show what can go wrong."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.played_calls import recorded_stage, stage_of_history
from pbxhub.calls.stages import Value
from pbxhub.delivery.call_rows import CallNow, known_call
from pbxhub.delivery.links import link_rule
from pbxhub.delivery.outbox.stored_stages import answer_before
from pbxhub.delivery.stage_values import Lookups, StageValues
from pbxhub.delivery.webhook_cache import ProjectWebhooks
from pbxhub.store.columns import unindexed
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.webhooks import Webhook
from pbxhub.translatable import Sentence, say
from pbxhub.webhooks.catalogue import CHAIN, ENTRIES, QUESTION
from pbxhub.webhooks.params import exists_at, from_json
from pbxhub.webhooks.saved_values import Answered, chain_values

LAST_CALLS = 50
COMES_IN = "incoming.before"


def sample_names() -> dict[str, Sentence]:
    """The made-up calls of the editor: code and name."""
    return {
        "answered": say("Sample: answered call"),
        "missed": say("Sample: missed call"),
        "anonymous": say("Sample: hidden number"),
        "transferred": say("Sample: transferred call"),
        "nasty": say("Sample: odd characters"),
    }


def recent_calls(session: Session, access: Access, stage: str) -> list[tuple[StageEvent, Call]]:
    """The last calls of the project that had this stage, newest first; any stage for a webhook of a chain, and the
    first one for a webhook that a waiting call asks."""
    stage = COMES_IN if stage == QUESTION else stage
    query = (
        select(StageEvent, Call)
        .join(Call, Call.id == StageEvent.call_id)
        .where(StageEvent.content_removed_on.is_(None))
        .order_by(StageEvent.id.desc())
        .limit(LAST_CALLS)
    )
    if stage == CHAIN:  # from the newest event backwards, not all of the project's to sort them
        query = query.where(unindexed(StageEvent.project_id) == access.project.id)
    else:
        query = query.where(StageEvent.project_id == access.project.id, StageEvent.stage == stage)
    rows = session.execute(query)
    return [(event, call) for event, call in rows]


def recent_values(session: Session, access: Access, stage: str, name: str) -> list[StageValues]:
    """What the webhook of that name and stage would have been offered in the last calls."""
    lookups = Lookups(session)
    return [
        values_of(session, access, event, call, name if stage == CHAIN else "", lookups, stage)
        for event, call in recent_calls(session, access, stage)
    ]


def chosen_values(session: Session, access: Access, stage: str, sample: str, name: str) -> StageValues:
    """The values of a sample, of a recent call by its id, or of a stage of a played call. name: of the webhook."""
    if recorded := recorded_stage(access, sample):
        told, known, stage = recorded
        return _values(access, told, known, stage, new_id(), Lookups(session))
    if found := stage_of_history(session, access, sample):
        return values_of(session, access, *found, stage=stage)
    for event, call in recent_calls(session, access, stage) if sample not in sample_names() else ():
        if str(call.id) == sample.lower():
            return values_of(session, access, event, call, name if stage == CHAIN else "", stage=stage)
    return _sample_values(session, access, stage, sample)


def values_of(
    session: Session, access: Access, event: StageEvent, call: Call, chained: str = "", lookups: Lookups | None = None,
    stage: str = "",
) -> StageValues:  # fmt: skip
    """What publish would offer a webhook at that stage of that call. chained: the name of a webhook of a chain.
    lookups: shared by the values of several stages. stage: of the webhook; one that a call asks has no event."""
    known = known_call(call)
    reported = {**from_json(event.data), **((chained and answer_before(session, known, event.id, chained)) or {})}
    told = QUESTION if stage == QUESTION else event.stage
    return _values(access, reported, known, told, event.id, lookups or Lookups(session))


def _sample_values(session: Session, access: Access, stage: str, code: str) -> StageValues:
    """A made-up call at that stage; an unknown code gives the answered one."""
    moment = access.now.replace(microsecond=0)
    reported = {**_examples(stage, moment), **_CHANGES.get(code, {})}
    if stage == CHAIN:
        reported |= chain_values(_ANSWERED)
    direction = stage.partition(".")[0] if stage.startswith(("outgoing.", "internal.")) else "incoming"
    reported |= {"direction": direction, **_OF_DIRECTION[direction]}
    if "legs" in reported:
        reported["legs"] = [_leg(reported, moment)]
    known = CallNow(
        new_id(),
        access.project.id,
        None,
        "1778754610.42",
        False,
        direction=direction,
        caller=str(reported.get("caller") or ""),
        caller_name=str(reported.get("caller_name") or ""),
        dst=str(reported.get("dst") or ""),
        extension=str(reported.get("extension") or ""),
        started_on=moment - timedelta(seconds=57),
        answered_on=None if code in ("missed", "anonymous") else moment - timedelta(seconds=49),
    )
    return _values(access, reported, known, stage, new_id(), Lookups(session))


def saved_examples(session: Session, access: Access, name: str) -> dict[str, Value]:
    """What the answer to the webhook of that name might save."""
    query = select(Webhook).where(Webhook.project_id == access.project.id, Webhook.name == name)
    webhook = session.scalar(query.where(Webhook.deleted_on.is_(None)).limit(1))
    return {item.name: "1234" for item in webhook.spec.answer.save} if webhook else {}


def _values(
    access: Access, reported: Mapping[str, Value], call: CallNow, stage: str, event_id: UUID, lookups: Lookups
) -> StageValues:
    project = access.project
    plain = ProjectWebhooks(
        project.id, project.name, access.zone, project.country, {}, {}, {}, recording_links=link_rule(project)
    )
    return StageValues(reported, plain, call, stage, event_id, lookups, access.hub.links, access.now)


def _examples(stage: str, moment: datetime) -> dict[str, Value]:
    """The example of every parameter that exists at the stage, times moved to today."""
    times: dict[str, Value] = {
        "calldate": moment - timedelta(seconds=57),
        "answer_time": moment - timedelta(seconds=49),
        "end_time": moment,
    }
    examples = {
        entry.name: _typed(entry.type, entry.example)
        for entry in ENTRIES
        if exists_at(entry.name, stage) and entry.source not in ("hub", "chain")
    }
    return {**examples, **{name: value for name, value in times.items() if name in examples}}


def _leg(reported: Mapping[str, Value], moment: datetime) -> Value:
    """The one leg of a made-up call."""
    answer, extension = reported.get("answer_time"), reported.get("extension") or "101"
    start, until = moment - timedelta(seconds=55), answer if isinstance(answer, datetime) else moment
    return {
        "number": extension,
        "extension": extension,
        "start": start,
        "answer": answer,
        "end": moment,
        "ring": int((until - start).total_seconds()),
        "status": "ANSWERED" if answer else "NO ANSWER",
    }


def _typed(kind: str, text: str) -> Value:
    if kind == "int":
        return int(text)
    if kind == "bool":
        return text == "true"
    return text


_OF_DIRECTION: Mapping[str, Mapping[str, Value]] = {
    "incoming": {"call_type": "in"},
    "outgoing": {"call_type": "out"},
    "internal": {"call_type": "internal", "caller": "102", "caller_name": "Olga", "dst": "101"},
}
_ANSWERED = Answered(200, (("Content-Type", "application/json"),), b'{"result":{"id":12}}', 0.184, "", "", {})
_MISSED: dict[str, Value] = {
    "disposition": "NO ANSWER",
    "billsec": 0,
    "answer_time": None,
    "extension": None,
    "recording_file": None,
    "hangup_by": "caller",
    "waittime": 23,
}
_CHANGES: dict[str, dict[str, Value]] = {
    "missed": _MISSED,
    "anonymous": {**_MISSED, "caller": "", "caller_name": "Anonymous"},
    "transferred": {
        "extension": "102",
        "transfer_from": "101",
        "transfer_to": "102",
        "transfer_type": "attended",
        "forward_kind": "attended_transfer",
        "forward_from": "101",
        "forward_to": "102",
        "forward_step": 2,
    },
    "nasty": {"caller": "+380 (44) 123-45-67", "caller_name": 'Іван "O\'Neil" \\ 😀 <<x>>\nsecond line & <b>'},
}
