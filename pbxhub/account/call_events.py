"""The AMI events of a call in order, each with the stages that it led to."""

import re
import shlex
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from pbxhub.account.access import Access
from pbxhub.account.secret_visibility import visible_text
from pbxhub.calls.ami_headers import linkedids_of
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.replay import blocks, seconds_of
from pbxhub.calls.stages import OPTIONAL_STAGES
from pbxhub.calls.tracker import Tracker
from pbxhub.store.accounts import Pbx, endpoints_of, numbers_of
from pbxhub.store.history import Call, CallEvents, StageEvent

_MOST_ROWS = 2000
_MOST_CALLS = 16  # whose events are joined: transfers make one call of several
_LONGEST = 4 * 1024 * 1024  # characters of one row once it is unpacked
_HEADER = re.compile(r"^(\w+): (.+)$", re.MULTILINE)
_TELLING = ("Channel", "DestChannel", "DialStatus", "Extension", "Cause-txt", "UserEvent")


@dataclass(frozen=True, slots=True)
class CallEvent:
    """arrived: ISO 8601, UTC, without a zone. stages: those of the call that the event led to."""

    arrived: str
    block: str
    stages: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.block.partition("\n")[0].removeprefix("Event: ")

    @property
    def moment(self) -> datetime:
        return datetime.fromtimestamp(seconds_of(self.arrived), UTC)

    @property
    def gist(self) -> str:
        """The most important headers in one line."""
        headers = dict(_HEADER.findall(self.block))
        return " · ".join(headers[name] for name in _TELLING if name in headers)


def events_of(session: Session, access: Access | None, call: Call) -> list[CallEvent]:
    """The events of a call that are still kept, for this person to read."""
    pbx = session.get(Pbx, call.pbx_id) if call.pbx_id else None
    if pbx is None:
        return []
    events = [CallEvent(arrived, block) for arrived, block in _gather(session, pbx, call)]
    replayed = _replayed(events, call.linkedid, _tracker(session, pbx, _optional_stages(session, call)))
    return [CallEvent(one.arrived, visible_text(access, one.block), one.stages) for one in replayed]


def recording_of(session: Session, access: Access | None, call: Call) -> str:
    """The same as a text that `pbxhub replay` reads; its second line is the command that gives the same stages."""
    pbx = session.get(Pbx, call.pbx_id) if call.pbx_id else None
    text = "".join(f"#T {event.arrived}\n{event.block}\n\n" for event in events_of(session, access, call))
    words = [word for context in (pbx.incoming_contexts if pbx else ()) for word in ("--context", context)]
    cards = endpoints_of(session, [call.project_id]).get(call.project_id, {})
    phones = [f"{name}={extension}" for name, extension in cards.items() if f"/{name}-" in text]
    words += [word for phone in phones for word in ("--endpoint", phone)]
    words += [word for stage in _optional_stages(session, call) for word in ("--optional", stage)]
    return f"#H call {call.linkedid}\n#H {shlex.join(['pbxhub', 'replay', 'FILE', *words])}\n{text}"


def _gather(session: Session, pbx: Pbx, call: Call) -> list[tuple[str, str]]:
    """The events of the call and of calls merged with it, in order of arrival; an event received by two listeners
    once. Merged calls of other projects, which may share the PBX, are left out."""
    found: dict[str, str] = {}
    names = [call.linkedid]
    for name in names:  # grows while it is walked
        if name != call.linkedid and _project_of(session, pbx, name) != call.project_id:
            continue
        for arrived, block in _read(session, pbx.id, name):
            found.setdefault(block, arrived)
            others = [other for other in linkedids_of(block) if other not in names]
            names += others[: _MOST_CALLS - len(names)]
    return sorted(((arrived, block) for block, arrived in found.items()), key=lambda pair: pair[0])


def _project_of(session: Session, pbx: Pbx, linkedid: str) -> int:
    """Whose call it is: of the PBX's project, unless it is known to be another's."""
    known = select(Call.project_id).where(Call.pbx_id == pbx.id, Call.linkedid == linkedid)
    return session.scalar(known) or pbx.project_id


def _read(session: Session, pbx_id: int, linkedid: str) -> Iterable[tuple[str, str]]:
    rows = select(CallEvents.recorded).where(CallEvents.pbx_id == pbx_id, CallEvents.linkedid == linkedid)
    for recorded in session.scalars(rows.order_by(CallEvents.id).limit(_MOST_ROWS)):
        text = zlib.decompressobj().decompress(recorded, _LONGEST).decode(errors="replace")
        yield from ((arrived, block) for block, arrived in blocks(text.split("\n")))


def _optional_stages(session: Session, call: Call) -> list[str]:
    """Those that were reported of the call, because a webhook waited for them then."""
    rows = select(StageEvent.stage).where(StageEvent.call_id == call.id, StageEvent.stage.in_(OPTIONAL_STAGES))
    return sorted(session.scalars(rows.distinct()))


def _tracker(session: Session, pbx: Pbx, optional: Collection[str]) -> Tracker:
    endpoints = endpoints_of(session, [pbx.project_id]).get(pbx.project_id, {})
    numbers = numbers_of(session, [pbx.id]).get(pbx.id, ())
    return Tracker(pbx.incoming_contexts, endpoints=endpoints, own_numbers=numbers, optional=optional)


def _replayed(events: Iterable[CallEvent], linkedid: str, tracker: Tracker) -> list[CallEvent]:
    """Adds the stages of each event, by the present rules, which may differ from those when the call was reported."""
    replayed = []
    for event in events:
        message = parse(event.block, seconds_of(event.arrived))
        reports = tracker.feed(message) if message else []
        stages = tuple(stage.name for report in reports if report.linkedid == linkedid for stage in report.stages)
        replayed.append(CallEvent(event.arrived, event.block, stages))
    return replayed
