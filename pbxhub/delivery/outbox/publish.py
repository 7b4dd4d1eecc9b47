"""Writes what the tracker reports: calls, stages and one delivery per matching webhook, before anything is sent."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Table, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from pbxhub.calls.stages import CallReport, Stage
from pbxhub.delivery.attributes import attach_attributes
from pbxhub.delivery.call_rows import CallNow, lock_calls, write_calls
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.outbox.enqueue import enqueue
from pbxhub.delivery.outbox.ordered_calls import attach_custom, follow_ordered
from pbxhub.delivery.outbox.question import link_new
from pbxhub.delivery.outbox.render import once_in_a_chain, render_chain
from pbxhub.delivery.persons import name_persons
from pbxhub.delivery.stage_values import Cards, StageValues
from pbxhub.storable import clip, storable
from pbxhub.store.bulk import Insert, Query
from pbxhub.store.columns import one_of
from pbxhub.store.delivery_rows import FAILED, NewDelivery
from pbxhub.store.events import NewEvent, keep
from pbxhub.store.history import StageEvent
from pbxhub.store.ids import new_id
from pbxhub.store.session import Base

RECORDING, ANALYSIS, COMPLETE = "call.recording", "call.analysis", "call.complete"
_SAME_MOMENT = timedelta(seconds=2)  # CEL and AMI may differ by: 0.1 s on a busy Asterisk
_NOBODYS = datetime.min.replace(tzinfo=UTC)
_STAGE_EVENT: Table = Base.metadata.tables["stage_event"]
_INSERT_STAGES = Insert(_STAGE_EVENT, _STAGE_EVENT.c.keys())


@dataclass(frozen=True, slots=True)
class Published:
    """What a publish has written. Repeating it writes nothing: no stages.

    stages: new stage events. deliveries: put in the queue. failed: could not be rendered, on the error page at once.
    """

    stages: int
    deliveries: int
    failed: int


def publish(context: DeliveryContext, pbx_id: int, reports: Sequence[CallReport], now: datetime) -> Published:
    """Writes a group of reports of one PBX in one transaction; give up to a few hundred at once.

    A stage is known by (call, name, key): reported again, by a second listener too, it changes nothing. A call
    that has ended stays ended. A DID with a Number belongs to the number's project, any other to the PBX's.
    Raises SQLAlchemy's DBAPIError when the database is away; nothing is written then, and the same
    reports can be published again.
    """
    for patience in (2, 1, 0):
        try:
            return _publish(context, pbx_id, reports, now)
        except IntegrityError:  # another listener on this PBX inserted the same call first: now it is known
            if not patience:
                raise
    raise AssertionError("unreachable")


def _publish(context: DeliveryContext, pbx_id: int, reports: Sequence[CallReport], now: datetime) -> Published:
    with context.database.write() as session:
        calls = lock_calls(session, pbx_id, reports)
        attach_attributes(context, session, calls, reports)
        attach_custom(session, calls)
        stages = _new_stages(session, calls, reports, _later_stages(context, session, calls, reports))
        name_persons(context, session, calls.values())
        write_calls(session, pbx_id, calls.values())
        link_new(session, pbx_id, calls.values())
        follow_ordered(context, session, calls, now)
        return write_stages(context, session, stages, now)


def write_stages(context: DeliveryContext, session: Session, stages: "Sequence[NewStage]", now: datetime) -> Published:
    """Writes new stages with their events and deliveries, in the transaction that writes their calls."""
    if not stages:
        return Published(0, 0, 0)
    _INSERT_STAGES.run(session, [stage.row() for stage in stages])
    keep(session, [stage.event() for stage in stages])
    deliveries = _deliveries(context, session, stages, now)
    enqueue(context, session, deliveries, now)
    failed = sum(one.state == FAILED for one in deliveries)
    return Published(len(stages), len(deliveries) - failed, failed)


@dataclass(frozen=True, slots=True)
class NewStage:
    """A stage event about to be written, with everything known of its call at that moment."""

    id: UUID
    call: CallNow
    stage: Stage
    known: dict[str, Any]

    def row(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "project_id": self.call.project_id,
            "call_id": self.call.known_id,
            "stage": self.stage.name,
            "key": clip(self.stage.key, 200),
            "ordinal": self.stage.ordinal,
            "created_on": self.stage.time,
            "data": storable(self.known),
        }

    def event(self) -> NewEvent:
        """The typed event that tells of it; the values are with the stage."""
        told = {"event_id": str(self.id), "stage": self.stage.name, "ordinal": self.stage.ordinal}
        return NewEvent(self.call.project_id, "call_stage", self.stage.time, told, self.call.known_id)


def _new_stages(
    session: Session, calls: dict[str, CallNow], reports: Iterable[CallReport], later: Mapping[int, frozenset[str]]
) -> list[NewStage]:
    """Folds the reports into their calls, in order, and returns the stages nobody has reported before."""
    told = _Told(session, [call.id for call in calls.values() if not call.is_new])
    stages = []
    for report in reports:
        call = calls[report.linkedid]
        before = dict(call.data)
        call.take(report)
        for stage in (*report.stages, *_ending(report, call, later.get(call.project_id, frozenset()))):
            if not told.already(call.id, stage, report.by_cel):
                stages.append(NewStage(new_id(), call, stage, {**before, **report.values, **stage.values}))
    return stages


def _later_stages(
    context: DeliveryContext, session: Session, calls: dict[str, CallNow], reports: Iterable[CallReport]
) -> Mapping[int, frozenset[str]]:
    """Project -> the stages after the end of a call that its webhooks wait for; others are not made."""
    ending = {calls[report.linkedid].project_id for report in reports if report.ended_on}
    if not ending:
        return {}
    projects = context.webhook_cache.fetch(session, ending)
    return {number: project.by_stage.keys() & {RECORDING, COMPLETE} for number, project in projects.items()}  # type: ignore[misc]


def _ending(report: CallReport, call: CallNow, wanted: frozenset[str]) -> list[Stage]:
    """The recording is complete, and so is the call, at its very end."""
    if not wanted or report.ended_on is None or call.direction == "internal":
        return []
    names = [RECORDING] if call.data.get("recording_file") else []
    return [Stage(name, "", 1, report.ended_on, dict(call.data)) for name in (*names, COMPLETE) if name in wanted]


_STAGES = Query(
    select(StageEvent.call_id, StageEvent.stage, StageEvent.key, StageEvent.created_on).where(
        one_of(StageEvent.call_id, "call_ids")
    )
)


class _Told:
    """The stages that the calls have had: (call, name) -> key -> when. Whoever reports one again tells nothing new."""

    def __init__(self, session: Session, call_ids: list[UUID]) -> None:
        self._times: dict[tuple[UUID, str], dict[str, datetime]] = {}
        rows = _STAGES.all(session, call_ids=call_ids) if call_ids else ()
        for call_id, name, key, time in rows:
            self._times.setdefault((call_id, name), {})[key] = time

    def already(self, call_id: UUID, stage: Stage, by_cel: Sequence[str]) -> bool:
        """Whether this stage has been told; from now on it has. by_cel: CallReport.by_cel.

        A stage of CEL was also told when another of its name was at that moment that CEL does not know: it shows
        another number for the same leg. That one is no other stage's any more.
        """
        times, key = self._times.setdefault((call_id, stage.name), {}), clip(stage.key, 200)
        if key in times:
            return True
        twins = [
            other
            for other, time in times.items()
            if by_cel and abs(time - stage.time) <= _SAME_MOMENT and f"{stage.name} {other}" not in by_cel
        ]
        times[key] = _NOBODYS if twins else stage.time
        if twins:
            times[twins[0]] = _NOBODYS
        return bool(twins)


def _deliveries(
    context: DeliveryContext, session: Session, stages: Sequence[NewStage], now: datetime
) -> list[NewDelivery]:
    projects = context.webhook_cache.fetch(session, {stage.call.project_id for stage in stages})
    cards = Cards(session)
    deliveries: list[NewDelivery] = []
    for new in stages:
        project = projects[new.call.project_id]
        live = project.by_stage.get(new.stage.name)
        if not live:
            continue
        values = StageValues(new.known, project, new.call, new.stage.name, new.id, cards, context.links, now)
        wanted = [webhook for webhook in live if webhook.matches(values)]
        for webhook in wanted:
            deliveries += render_chain(webhook, values, new.call.known_id, new.id, "stage", now)
    return once_in_a_chain(deliveries)
