"""Which of the reported stages are new: each is written once, whoever reports it and however often."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, count, takewhile
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.calls.stages import OPTIONAL_STAGES, CallReport, Stage
from pbxhub.delivery.call_rows import CallNow, Reported, distinct_calls
from pbxhub.delivery.context import DeliveryContext
from pbxhub.storable import clip, storable
from pbxhub.store.bulk import Query
from pbxhub.store.columns import one_of
from pbxhub.store.events import NewEvent
from pbxhub.store.history import StageEvent
from pbxhub.store.ids import new_id

RECORDING, ANALYSIS, COMPLETE = "call.recording", "call.analysis", "call.complete"
_ONLY_IF_WANTED = frozenset({RECORDING, COMPLETE, *OPTIONAL_STAGES})
_OUTSIDE = ("incoming.after", "outgoing.after")
_ENDS = {
    "incoming": ("incoming.after",),
    "outgoing": ("outgoing.after",),
    "call": _OUTSIDE,
    "internal": ("internal.after", *_OUTSIDE),  # it turned out to be a call with the outside
}
_BEFORE_THE_END = frozenset({
    "incoming.forward", "incoming.pickup", "incoming.unring", "incoming.abandoned", "outgoing.pickup",
    "call.voicemail", "call.hold", "call.unhold", "internal.before", "internal.pickup",
})  # fmt: skip
_CEL_APART = timedelta(seconds=2)  # the most that times of CEL and AMI differ for one moment; 0.1 s on a busy Asterisk
_MATCHED = datetime.min.replace(tzinfo=UTC)  # instead of the time of a stage: near no other stage


@dataclass(frozen=True, slots=True)
class NewStage:
    """A stage event about to be written. known: all values of its call at that moment."""

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
        """The typed event that reports it. The values stay with the stage."""
        data = {"event_id": str(self.id), "stage": self.stage.name, "ordinal": self.stage.ordinal}
        return NewEvent(self.call.project_id, "call_stage", self.stage.time, data, self.call.known_id)


def new_stages(context: DeliveryContext, session: Session, reported: Sequence[Reported]) -> list[NewStage]:
    """Merges the reports into their calls, in order, and returns the stages that were not reported before."""
    wanted = _wanted_stages(context, session, reported)
    known = _KnownStages(session, [call.id for call in distinct_calls(reported) if not call.is_new])
    stages = []
    for one in reported:
        call, report = one.call, one.report
        before = dict(call.data)
        call.take(report, one.outdated)
        for stage in _stages(report, call, wanted.get(call.project_id, frozenset())):
            first = known.first_told(call.id, stage, report.by_cel)
            if first is not None:
                stages.append(NewStage(new_id(), call, first, {**before, **report.values, **stage.values}))
    return stages


def _wanted_stages(
    context: DeliveryContext, session: Session, reported: Iterable[Reported]
) -> Mapping[int, frozenset[str]]:
    """For each project, the stages that its webhooks use, of those that are not written otherwise."""
    asked = {
        one.call.project_id
        for one in reported
        if one.report.ended_on or any(stage.name in OPTIONAL_STAGES for stage in one.report.stages)
    }
    projects = context.webhook_cache.fetch(session, asked) if asked else {}
    return {number: _ONLY_IF_WANTED & project.by_stage.keys() for number, project in projects.items()}


def _stages(report: CallReport, call: CallNow, wanted: frozenset[str]) -> list[Stage]:
    """Those of the report, and those that follow from the end of the call. The tracker reports optional stages for all
    projects of its PBX; each project keeps those that it waits for."""
    reported = [stage for stage in report.stages if stage.name in wanted or stage.name not in OPTIONAL_STAGES]
    return reported + _ending(report, call, wanted)


def _ending(report: CallReport, call: CallNow, wanted: frozenset[str]) -> list[Stage]:
    """The stages that follow the end of a call: its recording is complete, and so is the call."""
    if not wanted or report.ended_on is None or call.direction == "internal":
        return []
    names = [RECORDING] if call.data.get("recording_file") else []
    return [Stage(name, "", 1, report.ended_on, dict(call.data)) for name in (*names, COMPLETE) if name in wanted]


_STAGES = Query(
    select(StageEvent.call_id, StageEvent.stage, StageEvent.key, StageEvent.created_on).where(
        one_of(StageEvent.call_id, "call_ids")
    )
)


class _KnownStages:
    """The stages that the calls have had: (call, name) -> key -> when. One that is reported again is not new."""

    def __init__(self, session: Session, call_ids: list[UUID]) -> None:
        self._times: dict[tuple[UUID, str], dict[str, datetime]] = {}
        rows = _STAGES.all(session, call_ids=call_ids) if call_ids else ()
        for call_id, name, key, time in rows:
            self._times.setdefault((call_id, name), {})[key] = time

    def first_told(self, call_id: UUID, stage: Stage, by_cel: Mapping[str, float]) -> Stage | None:
        """The stage, with a key that its call does not have yet; None if it is known, or comes too late. From now on it
        is known. by_cel: CallReport.by_cel.

        Nothing that happens before the end of a conversation is new after it: a receiver that has closed its card must
        not open it again. 1. AMI reports a call up to its end; 2. the hub starts again and reads the rows of that call
        once more; 3. CEL reports a forward that AMI gave another key. tests/test_publish_stages.py

        The live tracker counts a destination from the first time that it saw it: 1. 103 answers in a gap, and transfers
        the caller; 2. the hub reports live that 103 answers again, with the key "103"; 3. CEL gives this key to the
        first answer, and "103#2" to the second one. The times tell which of them was reported.

        CEL may show another number for the same leg, and so give the stage another key: 1. AMI reports a pickup by
        101; 2. the connection breaks; 3. CEL reports a pickup by 100 at the same moment, and none by 101. Then the two
        are one stage, and neither is matched with any other again. tests/test_recover_calls_from_cel.py
        """
        if self._comes_too_late(call_id, stage.name):
            return None
        times = self._times.setdefault((call_id, stage.name), {})
        key = _new_key(stage.name, clip(stage.key, 200), times, by_cel)
        if key is None:
            return None
        same = [
            other
            for other, time in times.items()
            if by_cel and abs(time - stage.time) <= _CEL_APART and f"{stage.name} {other}" not in by_cel
        ]
        times[key] = _MATCHED if same else stage.time
        if same:
            times[same[0]] = _MATCHED
            return None
        return stage._replace(key=key)

    def _comes_too_late(self, call_id: UUID, name: str) -> bool:
        """Whether the conversation has ended in which this would have happened."""
        if name not in _BEFORE_THE_END:
            return False
        return any((call_id, end) in self._times for end in _ENDS[name.partition(".")[0]])


def _destination(key: str) -> str:
    """103#2 -> 103"""
    destination, _, times = key.rpartition("#")
    return destination if destination and times.isdigit() else key


def _keys_of(destination: str) -> Iterator[str]:
    """103, 103#2, 103#3 …"""
    return (destination if times == 1 else f"{destination}#{times}" for times in count(1))


def _repeated(name: str, destination: str, by_cel: Mapping[str, float]) -> dict[str, float]:
    """When CEL has stages of this name and destination, by key."""
    keys = takewhile(lambda key: f"{name} {key}" in by_cel, _keys_of(destination))
    return {key: by_cel[f"{name} {key}"] for key in keys}


def _nearest(repeated: Mapping[str, float], time: datetime) -> str:
    """The key of the stage of CEL that was reported live at this time; empty if it was matched already."""
    return "" if time == _MATCHED else min(repeated, key=lambda key: abs(repeated[key] - time.timestamp()))


def _new_key(name: str, key: str, times: Mapping[str, datetime], by_cel: Mapping[str, float]) -> str | None:
    """The key under which the stage is new to its call; None if it is known. times: of the known ones, by key."""
    destination = _destination(key)
    repeated = _repeated(name, destination, by_cel)
    if len(repeated) <= 1 or repeated.keys() <= times.keys():
        return None if key in times else key
    known = takewhile(times.__contains__, _keys_of(destination))
    if any(_nearest(repeated, times[one]) == key for one in known):
        return None
    return next(one for one in chain([key], _keys_of(destination)) if one not in times)
