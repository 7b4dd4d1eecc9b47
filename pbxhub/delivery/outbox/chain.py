"""What an answer sets in motion: values kept on the call, and the webhook that comes next."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.orm import Session

from pbxhub.delivery.answers import Reading
from pbxhub.delivery.calls import no_call, read_call
from pbxhub.delivery.directory import Directory, ProjectWebhooks
from pbxhub.delivery.outbox.finished import Finished, Result
from pbxhub.delivery.outbox.publish import render_row
from pbxhub.delivery.outbox.rows import insert_deliveries
from pbxhub.delivery.storable import storable
from pbxhub.delivery.values import Cards, Links, StageValues
from pbxhub.store.history import PENDING, Call, StageEvent
from pbxhub.store.session import Base
from pbxhub.webhooks.params import from_json

_CALL: Table = Base.metadata.tables["call"]
_DELIVERY: Table = Base.metadata.tables["delivery"]
_SAVE = update(_CALL).where(_CALL.c.id == bindparam("of")).values(answers=bindparam("answers"))
_NOT_KEPT = ("webhook.json", "webhook.headers", "response_raw")  # large: they go to the next webhook only


def save_answers(session: Session, finished: Sequence[Finished], readings: Sequence[Reading]) -> None:
    """Keeps on the call what webhooks save from their answers. Locks the calls first, in one order for everybody."""
    told: dict[UUID, dict[str, Any]] = {}
    for one, reading in zip(finished, readings, strict=True):
        if reading.values and one.claimed.call_id:
            told.setdefault(one.claimed.call_id, {}).update(_kept(told.get(one.claimed.call_id, {}), reading))
    if not told:
        return
    calls = session.execute(
        select(Call.id, Call.answers).where(Call.id.in_(told)).order_by(Call.linkedid).with_for_update(key_share=True)
    )
    rows = [
        {"of": call_id, "answers": storable({**answers, **_merged(answers, told[call_id])})}
        for call_id, answers in calls.all()
    ]
    if rows:
        session.connection().execute(_SAVE, rows)


def _kept(before: dict[str, Any], reading: Reading) -> dict[str, Any]:
    return _merged(before, {name: value for name, value in reading.values.items() if name not in _NOT_KEPT})


def _merged(before: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Saved names of several webhooks stay side by side; everything else is of the last one."""
    return {**new, "webhook.saved": {**(before.get("webhook.saved") or {}), **(new.get("webhook.saved") or {})}}


def publish_next(
    session: Session, directory: Directory, links: Links, results: Iterable[Result], now: datetime
) -> bool:
    """Puts the on_success / on_failure webhook of every final result in the queue. True: something was put there."""
    following = [(result, name) for result in results if (name := _next_name(result))]
    if not following:
        return False
    projects = directory.fetch(session, {result.finished.claimed.project_id for result, _ in following})
    cards = Cards(session)
    rows = []
    for result, name in following:
        project = projects.get(result.finished.claimed.project_id)
        webhook = project.by_name.get(name) if project else None
        values = project and webhook and _values(session, project, result, cards, links, now)
        if webhook and values:
            claimed = result.finished.claimed
            rows.append(render_row(webhook, values, claimed.call_id, claimed.stage_event_id, "chain", now))
    rows = _not_there_yet(session, rows)
    if rows:
        insert_deliveries(session, rows)
    return any(row["state"] == PENDING for row in rows)


def _next_name(result: Result) -> str:
    spec = result.finished.claimed.webhook.spec
    if result.state == PENDING:
        return ""
    return spec.on_success if result.reading.ok else spec.on_failure


def _values(
    session: Session, project: ProjectWebhooks, result: Result, cards: Cards, links: Links, now: datetime
) -> StageValues | None:
    """The values of the stage the chain began with, and the answer just received."""
    claimed = result.finished.claimed
    event = session.get(StageEvent, claimed.stage_event_id) if claimed.stage_event_id else None
    call = read_call(session, claimed.call_id) if claimed.call_id else no_call(claimed.project_id)
    if event is None or call is None:
        return None
    saved = {"webhook.saved": call.answers.get("webhook.saved", {})}  # by every webhook of the call so far
    told = {**from_json(event.data), **result.reading.values, **saved}
    return StageValues(told, project, call, event.stage, event.id, cards, links, now)


def _not_there_yet(session: Session, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A stage sends a webhook as part of a chain once, also when the first link is sent again by hand."""
    events = {row["stage_event_id"] for row in rows}
    if not events:
        return []
    table = _DELIVERY.c
    there = select(table.stage_event_id, table.webhook_id).where(
        table.stage_event_id.in_(events), table.kind == "chain"
    )
    seen = {(event_id, webhook_id) for event_id, webhook_id in session.execute(there)}
    fresh = []
    for row in rows:
        place = (row["stage_event_id"], row["webhook_id"])
        if place not in seen:
            seen.add(place)
            fresh.append(row)
    return fresh
