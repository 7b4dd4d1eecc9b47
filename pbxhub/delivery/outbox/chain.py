"""What follows from an answer: values are saved on the call, and the next webhook of a chain is queued."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table, bindparam, select, update
from sqlalchemy.orm import Session

from pbxhub.delivery.call_rows import no_call, read_call
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.attempt_result import AttemptResult, Finished
from pbxhub.delivery.outbox.enqueue import enqueue
from pbxhub.delivery.outbox.remove_content import without_content
from pbxhub.delivery.outbox.render import CHAINED, once_in_a_chain
from pbxhub.delivery.outbox.stored_stages import with_saved
from pbxhub.delivery.outbox.wait_for_answer import StatesOfCalls, make_deliveries
from pbxhub.delivery.read_answer import Reading
from pbxhub.delivery.stage_values import Lookups, StageValues
from pbxhub.delivery.webhook_cache import ProjectWebhooks
from pbxhub.storable import storable
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import PENDING, NewDelivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.postgresql import hurry
from pbxhub.store.session import Base
from pbxhub.webhooks.params import from_json

_CALL: Table = Base.metadata.tables["call"]
_DELIVERY: Table = Base.metadata.tables["delivery"]
_SAVE = update(_CALL).where(_CALL.c.id == bindparam("of")).values(answers=bindparam("answers"))
_NOT_KEPT = ("webhook.json", "webhook.headers", "response_raw")  # large: only the next webhook gets them


def save_answers(session: Session, finished: Sequence[Finished], readings: Sequence[Reading]) -> None:
    """Saves values of the answers on their calls. Locks the calls in the order of PBXs and linkedids, as publish.

    A late answer brings nothing back: 1. worker A claims and stands still; 2. B delivers; 3. the owner removes what the
    delivery or its call contains; 4. A records. tests/test_claim_and_record.py
    """
    told = [(one, reading) for one, reading in zip(finished, readings, strict=True) if _has_values(one, reading)]
    if not told:
        return
    hurry(session)
    calls = session.execute(
        select(Call.id, Call.answers)
        .where(one_of(Call.id, {one.claimed.call_id for one, _ in told}), Call.content_removed_on.is_(None))
        .order_by(Call.pbx_id, Call.linkedid)
        .with_for_update(key_share=True)
    ).all()
    saved: dict[UUID | None, dict[str, Any]] = {}
    removed = without_content(session, [one.claimed.id for one, _ in told])  # after the lock: a removal has it, too
    for one, reading in told:
        if one.claimed.id not in removed:
            saved[one.claimed.call_id] = _kept(saved.get(one.claimed.call_id, {}), reading)
    rows = [
        {"of": call_id, "answers": storable({**answers, **_merged(answers, saved[call_id])})}
        for call_id, answers in calls
        if call_id in saved
    ]
    if rows:
        session.connection().execute(_SAVE, rows)


def _has_values(one: Finished, reading: Reading) -> bool:
    return bool(reading.values and one.claimed.call_id)


def _kept(before: dict[str, Any], reading: Reading) -> dict[str, Any]:
    return _merged(before, {name: value for name, value in reading.values.items() if name not in _NOT_KEPT})


def _merged(before: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """webhook.saved has the names of all webhooks; every other value is of the last one."""
    return {**new, "webhook.saved": {**(before.get("webhook.saved") or {}), **(new.get("webhook.saved") or {})}}


def publish_next(context: DeliveryContext, session: Session, results: Iterable[AttemptResult], now: datetime) -> None:
    """Queues the on_success / on_failure webhook of every final result whose filters match."""
    following = [(result, name) for result in results if (name := _next_name(result))]
    if not following:
        return
    projects = context.webhook_cache.fetch(session, {result.finished.claimed.project_id for result, _ in following})
    lookups = Lookups(session)
    states, deliveries = StatesOfCalls(session), list[NewDelivery]()
    for result, name in following:
        project = projects.get(result.finished.claimed.project_id)
        webhook = project.by_name.get(name) if project else None
        values = project and webhook and _values(context, session, project, result, lookups, now)
        if webhook and values and webhook.matches(values):
            claimed = result.finished.claimed
            deliveries += make_deliveries(
                webhook, values, claimed.call_id, values.event_id, CHAINED, now, states, deliveries
            )
    enqueue(context, session, _not_there_yet(session, deliveries), now)


def _next_name(result: AttemptResult) -> str:
    spec = result.finished.claimed.webhook.spec
    if result.state == PENDING:
        return ""
    return spec.on_success if result.reading.ok else spec.on_failure


def _values(
    context: DeliveryContext,
    session: Session,
    project: ProjectWebhooks,
    result: AttemptResult,
    lookups: Lookups,
    now: datetime,
) -> StageValues | None:
    """The values of the stage that began the chain, with those of the answer just received."""
    claimed = result.finished.claimed
    event = session.get(StageEvent, claimed.stage_event_id) if claimed.stage_event_id else None
    call = read_call(session, claimed.call_id) if claimed.call_id else no_call(claimed.project_id)
    if event is None or call is None:
        return None
    known = {**from_json(event.data), **with_saved(result.reading.values, call)}
    return StageValues(known, project, call, event.stage, event.id, lookups, context.links, now)


def _not_there_yet(session: Session, deliveries: Sequence[NewDelivery]) -> list[NewDelivery]:
    """Without webhooks that this stage has already sent in a chain, even if the first of the chain is sent again."""
    events = {one.stage_event_id for one in deliveries}
    if not events:
        return []
    table = _DELIVERY.c
    there = select(table.stage_event_id, table.webhook_id).where(
        one_of(table.stage_event_id, events), table.kind == CHAINED
    )
    return once_in_a_chain(deliveries, {(event_id, webhook_id) for event_id, webhook_id in session.execute(there)})
