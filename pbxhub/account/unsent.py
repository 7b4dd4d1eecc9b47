"""The stages of a period that no webhook took, and why; and sending several of them after all."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, exists, select, union_all
from sqlalchemy.orm import Session

from pbxhub.account.access import Access, row_of
from pbxhub.account.refusals import ConflictError, NotFoundError
from pbxhub.account.webhook_drafts import live_webhooks
from pbxhub.account.why_unsent import AllOmitted, omitted_by_all, send_after_all
from pbxhub.delivery.outbox import first_known
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import first_id_at
from pbxhub.webhooks.catalogue import CHAIN, QUESTION, STAGES

MOST_CHOSEN = 50  # sent in one request
MOST_EXAMINED = 3_000  # stages of which one page names those that nothing took: it costs the same beside any history
_EARLY, _LATE = 3600, 86_400  # seconds between a stage and its row: Asterisk's clock is ahead; the row came from CEL


@dataclass(frozen=True, slots=True)
class UntakenFilter:
    """since, until: when the stages happened, until not included; None: ever. everything: also those for which the
    project has no webhook at all. before: what came before that id."""

    since: datetime | None = None
    until: datetime | None = None
    everything: bool = False
    before: UUID | None = None


class Untaken(NamedTuple):
    """webhooks: those of this stage, each with its reason; none if no webhook is set up for it."""

    event: StageEvent
    call: Call
    webhooks: AllOmitted


@dataclass(frozen=True, slots=True)
class UntakenPage:
    """Newest first. next: where to go on, None at the end. cut: the page ends because it has looked through
    MOST_EXAMINED stages, not because it is full; it may be empty then. since: the oldest moment that is looked at;
    of earlier stages nobody knows whether they were sent. too_old: an earlier one was asked for."""

    rows: list[Untaken]
    next: UUID | None
    cut: bool
    since: datetime
    too_old: bool


def untaken(session: Session, access: Access, wanted: UntakenFilter, limit: int) -> UntakenPage:
    """Stages of calls that are over, and of which there is no delivery at all; `limit` at most. Those before
    first_known are left out."""
    first_told = first_known(access.hub.context, access.now)
    too_old, since = wanted.since is None or wanted.since < first_told, max(wanted.since or first_told, first_told)
    wanted = replace(wanted, since=since)
    webhooks = live_webhooks(session, access)
    stages = _OF_CALLS if wanted.everything else {row.stage for row in webhooks} & _OF_CALLS
    if not stages:
        return UntakenPage([], None, False, since, too_old)
    newest = _newest(access.project.id, stages, wanted)
    rows = [(event, call) for event, call in session.execute(_without_delivery(newest, wanted).limit(limit + 1))]
    shown = rows[:limit]
    full = len(rows) > limit
    further = shown[-1][0].id if full else session.scalar(newest.offset(MOST_EXAMINED - 1).limit(1))
    reasons = omitted_by_all(session, access, webhooks, shown)
    found = [Untaken(event, call, why) for (event, call), why in zip(shown, reasons, strict=True)]
    return UntakenPage(found, further, further is not None and not full, since, too_old)


def send_chosen(session: Session, access: Access, chosen: Iterable[tuple[UUID, int]]) -> tuple[int, str]:
    """Sends stages to webhooks, by their ids. Returns how many, and why the first that cannot be sent cannot; "" if
    all can. Raises NotFoundError for what does not belong to the project."""
    sent, refusal = 0, ""
    for event_id, webhook_id in sorted(set(chosen)):  # in one order, so that two who send the same wait for each other
        event = session.get(StageEvent, event_id)
        if event is None or event.call_id is None or event.project_id != access.project.id:
            raise NotFoundError
        try:
            send_after_all(session, access, row_of(session, access, Call, event.call_id), event_id, webhook_id)
            sent += 1
        except ConflictError as error:
            refusal = refusal or error.sentence
    return sent, refusal


def _newest(project_id: int, stages: Collection[str], wanted: UntakenFilter) -> Select[UUID]:
    """The ids of the newest MOST_EXAMINED stages. Of each kind by itself, because ix_stage_event_recent has them in
    order only so."""
    of_kinds = [
        select(StageEvent.id)
        .where(StageEvent.project_id == project_id, StageEvent.stage == stage, *_ids(wanted))
        .order_by(StageEvent.id.desc())
        .limit(MOST_EXAMINED)
        .subquery()
        for stage in sorted(stages)
    ]
    merged = union_all(*(select(one.c.id) for one in of_kinds)).subquery()
    return select(merged.c.id).order_by(merged.c.id.desc()).limit(MOST_EXAMINED)


def _ids(wanted: UntakenFilter) -> list[ColumnElement[bool]]:
    found = []
    if wanted.since:
        found.append(StageEvent.id >= first_id_at(wanted.since, -_EARLY))
    if wanted.until:
        found.append(StageEvent.id < first_id_at(wanted.until, _LATE))
    if wanted.before:
        found.append(StageEvent.id < wanted.before)
    return found


def _without_delivery(newest: Select[UUID], wanted: UntakenFilter) -> Select[StageEvent, Call]:
    examined = newest.subquery()
    query = (
        select(StageEvent, Call)
        .join(examined, examined.c.id == StageEvent.id)
        .join(Call, Call.id == StageEvent.call_id)
        .where(Call.ended_on.is_not(None), ~exists().where(Delivery.stage_event_id == StageEvent.id))
        .where(StageEvent.content_removed_on.is_(None))
        .order_by(StageEvent.id.desc())
    )
    query = query.where(StageEvent.created_on >= wanted.since) if wanted.since else query
    return query.where(StageEvent.created_on < wanted.until) if wanted.until else query


_OF_CALLS = frozenset(STAGES) - {CHAIN, QUESTION}
