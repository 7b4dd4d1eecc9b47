"""Plays a call through the webhooks of a project without a PBX: a recorded one of a chosen kind, or one of its history.

Nothing of it is stored, and nobody is called. A stage of the played call is named by a text (PlayedStage.sample) that
previews and test sends take in place of a call, so both show exactly what a delivery would be.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.call_history import stages_of
from pbxhub.account.filter_values import moment_in
from pbxhub.calls.replay import read
from pbxhub.calls.stages import OPTIONAL_STAGES, CallReport, Stage, Value
from pbxhub.calls.tracker import Tracker
from pbxhub.delivery.call_rows import CallNow
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.ids import new_id
from pbxhub.testing.pbx.recordings import FOLDER
from pbxhub.translatable import Sentence, say

_FILES = {
    "answered": "answered.ami",
    "missed": "missed.ami",
    "transferred": "blind_transfer.ami",
    "queue": "queue.ami",
    "recorded": "recorded_cyrillic.ami",
    "outgoing": "outgoing.ami",
}
_LONGEST_NUMBER = 40
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class PlayedStage:
    """One stage of a played call. after: since its beginning. sample: names it for previews and test sends."""

    name: str
    after: timedelta
    sample: str


def kinds() -> dict[str, tuple[Sentence, Sentence]]:
    """The recorded calls: code -> name and what happens in it."""
    return {
        "missed": (say("Missed call"), say("A phone rings, nobody answers, the caller hangs up.")),
        "answered": (say("Answered call"), say("A phone rings, an employee answers, they talk.")),
        "transferred": (say("Transferred call"), say("An employee answers and transfers the caller to a colleague.")),
        "queue": (say("Call in a queue"), say("The first agent does not answer, the second one does.")),
        "recorded": (say("Recorded call"), say("Answered, with a recording; the caller has a name in Cyrillic.")),
        "outgoing": (say("Outgoing call"), say("An employee calls a customer, who answers.")),
    }


def recorded_stages(kind: str, caller: str, begun: datetime) -> list[PlayedStage]:
    """The stages of a recorded call as if it began at that moment. caller: the outside number; "" as recorded."""
    found = _recorded(kind)
    first = found[0][1].time
    number = caller[:_LONGEST_NUMBER].replace(" ", "")
    return [
        PlayedStage(stage.name, stage.time - first, f"played {kind} {index} {begun.isoformat()} {number}")
        for index, (_report, stage) in enumerate(found)
    ]


def stages_of_history(session: Session, call: Call) -> list[PlayedStage]:
    """The stages of a real call of the project."""
    return [
        PlayedStage(event.stage, event.created_on - call.started_on, f"stage {event.id}")
        for event in stages_of(session, call)
    ]


def recorded_stage(access: Access, sample: str) -> tuple[Mapping[str, Any], CallNow, str] | None:
    """Values, call and name of the recorded stage that a sample names; None for any other text."""
    word, _, rest = sample.partition(" ")
    kind, index, begun, number = (rest.split(" ") + [""] * 4)[:4]
    moment = moment_in(begun, aware=True)
    if word != "played" or kind not in _FILES or index not in map(str, range(len(_recorded(kind)))) or moment is None:
        return None
    report, stage = _recorded(kind)[int(index)]
    shift = moment - _recorded(kind)[0][1].time
    other = {report.caller: number} if number else {}
    report = report._replace(
        caller=number or report.caller, started_on=report.started_on + shift,
        answered_on=report.answered_on and report.answered_on + shift,
        ended_on=report.ended_on and report.ended_on + shift, values=_moved(report.values, shift, other),
    )  # fmt: skip
    call = CallNow(new_id(), access.project.id, None, report.linkedid, True)
    call.take(report)
    return _moved(stage.values, shift, other), call, stage.name


def stage_of_history(session: Session, access: Access, sample: str) -> tuple[StageEvent, Call] | None:
    """The real stage that a sample names; None for any other text, and for another project."""
    word, _, rest = sample.partition(" ")
    event = session.get(StageEvent, UUID(rest)) if word == "stage" and _UUID.fullmatch(rest) else None
    call = session.get(Call, event.call_id) if event and event.call_id else None
    return (event, call) if event and call and call.project_id == access.project.id else None


@cache
def _recorded(kind: str) -> Sequence[tuple[CallReport, Stage]]:
    """The stages of a recording in their order, each with the call as it was then."""
    lines = (FOLDER / _FILES[kind]).read_text("utf-8").split("\n")
    tracker = Tracker(optional=OPTIONAL_STAGES)
    if any(line.startswith("Event: BridgeEnter") for line in lines):
        tracker.expect_bridges()
    return [(report, stage) for message in read(lines) for report in tracker.feed(message) for stage in report.stages]


def _moved(values: Any, shift: timedelta, other: Mapping[str, str]) -> Any:
    """Values with their times shifted, and texts replaced."""
    if isinstance(values, Mapping):
        return {name: _moved(value, shift, other) for name, value in values.items()}
    if isinstance(values, list):
        return [_moved(value, shift, other) for value in values]
    moved: Value = values + shift if isinstance(values, datetime) else values
    return other.get(moved, moved) if isinstance(moved, str) else moved
