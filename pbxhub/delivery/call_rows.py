"""Reads the calls of a group of reports, merges the reports into them and writes them. No value of a call is lost."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table, bindparam, select, text
from sqlalchemy.orm import Session

from pbxhub.calls.stages import JSON, OPTIONAL_STAGES, CallReport
from pbxhub.storable import clip, storable
from pbxhub.store.accounts import Number, Pbx
from pbxhub.store.bulk import Delete, Insert, Query, Update, Upsert
from pbxhub.store.columns import ListOf, one_of
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.store.session import Base
from pbxhub.webhooks.params import from_json


@dataclass(slots=True)
class CallNow:
    """A call as it stands while a group of reports is folded into it.

    data: catalogue values, times as datetimes. answers: what webhooks of this call have answered.
    person: Call.person; None while nobody has looked at the caller as it is now.
    memory: the tracker's notes: empty once the call is over, None where no report had any.
    is_removed: what it contained was removed for good.
    """

    id: UUID
    project_id: int
    pbx_id: int | None
    linkedid: str
    is_new: bool
    direction: str = ""
    caller: str = ""
    person: str | None = None
    caller_name: str = ""
    dst: str = ""
    extension: str = ""
    started_on: datetime | None = None
    answered_on: datetime | None = None
    ended_on: datetime | None = None
    disposition: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    memory: Mapping[str, JSON] | None = None
    changed: bool = False
    is_removed: bool = False

    @property
    def known_id(self) -> UUID | None:
        """Its id; None when there is no call (no_call)."""
        return self.id if self.linkedid else None

    def take(self, report: CallReport, outdated: bool = False) -> None:
        """Merges a report into the call. An outdated one only fills gaps; so does any after the end of the call, with
        two exceptions:

        * an end that was concluded because the call was gone is replaced by one with a Hangup event;
        * a call that looked internal, because only its last channels were seen, becomes incoming or outgoing.
        """
        partial = self.direction == "internal" and report.direction != "internal"
        if partial:
            self.ended_on = None
        late = outdated or (
            self.ended_on is not None and not (_has_hangup(report.values) and not _has_hangup(self.data))
        )
        values = {**report.values}
        for stage in report.stages:
            if stage.name not in OPTIONAL_STAGES:  # what they say of one phone is not so of the call
                values |= stage.values
        for name, value in values.items():
            if self.data.get(name) is None or (value is not None and not late):
                self.data[name] = value
        for column in _REPORTED:
            value = getattr(report, column)
            if value and (not getattr(self, column) or (not late and (partial or column not in _FIXED))):
                setattr(self, column, value)
                self.person = None if column == "caller" else self.person
        self.memory = {} if self.ended_on else self.memory if report.memory is None else report.memory
        self.changed = True

    def row(self) -> dict[str, Any]:
        row = {
            "id": self.id,
            "project_id": self.project_id,
            "pbx_id": self.pbx_id,
            "linkedid": self.linkedid,
            "direction": self.direction,
            "caller": clip(self.caller, 80),
            "person": None if self.person is None else clip(self.person, 80),
            "caller_name": clip(self.caller_name, 200),
            "dst": clip(self.dst, 80),
            "extension": clip(self.extension, 80),
            "started_on": self.started_on,
            "answered_on": self.answered_on,
            "ended_on": self.ended_on,
            "disposition": clip(self.disposition, 40),
            "talk": self._talk() if self.ended_on else None,
            "wait": _seconds(self.data.get("waittime")),
            "recorded": bool(self.data.get("recording_file")),
            "data": storable(self.data),
        }
        return row | ({"answers": self.answers} if self.is_new else {})

    def _talk(self) -> int:
        """Seconds, at least 1 if somebody answered: by them an answered call is known, whatever its disposition."""
        return max(_seconds(self.data.get("billsec")) or 0, int(self.answered_on is not None))


def _seconds(value: Any) -> int | None:
    """What a column of seconds keeps of a value; None if it is not a whole number."""
    return min(max(value, 0), _LONGEST) if isinstance(value, int) and not isinstance(value, bool) else None


def _has_hangup(values: Mapping[str, Any]) -> bool:
    return values.get("end_reason") == "hangup"


_REPORTED = (
    "direction", "caller", "caller_name", "dst", "extension", "started_on", "answered_on", "ended_on", "disposition",
)  # fmt: skip
_LONGEST = 2**31 - 1
_FIXED = frozenset({"direction", "started_on"})  # by the first report; later ones do not change them
_CALL: Table = Base.metadata.tables["call"]
_ALSO_WRITTEN = ("project_id", "pbx_id", "linkedid", "data", "person", "talk", "wait", "recorded")
_UPDATE = Update(_CALL, ("id",), (*_REPORTED, *_ALSO_WRITTEN))
_INSERT = Insert(_CALL, ("id", "answers", *_REPORTED, *_ALSO_WRITTEN))
_LIVE_CALL: Table = Base.metadata.tables["live_call"]
_KEEP = Upsert(_LIVE_CALL, ("pbx_id", "linkedid"), ("memory",))
_LET_GO = Delete(_LIVE_CALL, ("pbx_id", "linkedid"))


Reports = Mapping[int, Sequence[CallReport]]
"""What the PBXs reported: by their ids, each in its order."""


@dataclass(frozen=True, slots=True)
class Reported:
    """A report and its call, which several reports of a group may share. outdated: another listener has the PBX now."""

    call: CallNow
    report: CallReport
    outdated: bool = False


def lock_calls(session: Session, reports: Reports, lost: Collection[int] = ()) -> list[Reported]:
    """Every report with its call. Known calls are locked for this transaction, new ones not inserted yet.

    lost: PBXs that another listener has taken over. It keeps its own notes on their calls, and has reported the stages
    of those that are over.
    """
    calls = _read(session, reports)
    missing = {
        (pbx_id, report.linkedid): report
        for pbx_id, of_pbx in reports.items()
        for report in reversed(of_pbx)  # the first report of a call says whose it is
        if (pbx_id, report.linkedid) not in calls
    }
    if missing:
        projects = _Projects(session, missing)
        for (pbx_id, linkedid), report in missing.items():
            calls[pbx_id, linkedid] = CallNow(new_id(), projects.of(pbx_id, report), pbx_id, linkedid, True)
    return [
        _outdated(calls[pbx_id, report.linkedid], report)
        if pbx_id in lost
        else Reported(calls[pbx_id, report.linkedid], report)
        for pbx_id, of_pbx in reports.items()
        for report in of_pbx
    ]


def _outdated(call: CallNow, report: CallReport) -> Reported:
    stages = () if call.ended_on else report.stages
    return Reported(call, report._replace(memory=None, stages=stages), outdated=True)


def leave_removed(session: Session, reported: Iterable[Reported]) -> list[Reported]:
    """The reports without those of calls whose content was removed for good: nothing that is said of them later, by
    CEL or by another listener, brings it back. The tracker's notes on them go."""
    kept, notes = list[Reported](), dict[tuple[int, str], Mapping[str, JSON]]()
    for one in reported:
        if one.call.is_removed:
            notes[one.call.pbx_id or 0, one.call.linkedid] = {}
        else:
            kept.append(one)
    _write_notes(session, notes)
    return kept


def distinct_calls(reported: Iterable[Reported]) -> list[CallNow]:
    """Each call once, in the order of their first reports."""
    return list({one.call.id: one.call for one in reported}.values())


def write_calls(session: Session, calls: Iterable[CallNow]) -> None:
    """Writes the changed calls, then the tracker's notes on them. Always in the order of PBXs and linkedids: two
    listeners that write the same calls in different orders would wait for each other.

    Raises IntegrityError when another listener has inserted one of the calls meanwhile.
    """
    ordered = sorted((call for call in calls if call.changed), key=lambda call: (call.pbx_id or 0, call.linkedid))
    new = [call.row() for call in ordered if call.is_new]
    known = [call.row() for call in ordered if not call.is_new]
    if new:
        _INSERT.run(session, new)
    if known:
        _UPDATE.run(session, known)
    _write_notes(
        session, {(call.pbx_id or 0, call.linkedid): call.memory for call in ordered if call.memory is not None}
    )


def keep_notes(session: Session, pbx_id: int, notes: Mapping[str, Mapping[str, JSON]]) -> None:
    """Writes the tracker's notes on calls of one PBX, by linkedid. Empty notes delete the row."""
    _write_notes(session, {(pbx_id, linkedid): memory for linkedid, memory in notes.items()})


def _write_notes(session: Session, notes: Mapping[tuple[int, str], Mapping[str, JSON]]) -> None:
    """In the order of PBXs and linkedids, as the calls."""
    rows = [
        {"pbx_id": pbx_id, "linkedid": linkedid, "memory": storable(notes[pbx_id, linkedid])}
        for pbx_id, linkedid in sorted(notes)
    ]
    live, over = [row for row in rows if row["memory"]], [row for row in rows if not row["memory"]]
    if live:
        _KEEP.run(session, live)
    if over:
        _LET_GO.run(session, over)


def read_call(session: Session, call_id: UUID) -> CallNow | None:
    """A call by its id; None if it is no longer kept."""
    row = session.execute(select(*_COLUMNS).where(Call.id == call_id)).mappings().one_or_none()
    return None if row is None else known_call(row)


def find_call(session: Session, pbx_id: int, linkedid: str) -> CallNow | None:
    """A call by its linkedid; None until the listener has written it."""
    known = (_CALL.c.pbx_id == pbx_id, _CALL.c.linkedid == linkedid)
    row = session.execute(select(*_COLUMNS).where(*known)).one_or_none()
    return None if row is None else known_call(row)


_COLUMNS = list(_CALL.c)


_GIVEN = {  # pairs of two lists
    "sqlite": "json_each(:linkedids) given CROSS JOIN call ON call.linkedid = given.value"
    " AND call.pbx_id = json_extract(:pbx_ids, '$[' || given.key || ']')",
    "postgresql": "unnest(:pbx_ids, :linkedids) given(pbx_id, linkedid) JOIN call USING (pbx_id, linkedid)",
}
_LOCKING = {"sqlite": "", "postgresql": " FOR NO KEY UPDATE OF call"}
_KNOWN = {
    dialect: Query(
        text(f"SELECT call.* FROM {given} ORDER BY call.pbx_id, call.linkedid{_LOCKING[dialect]}")  # noqa: S608
        .bindparams(
            bindparam("pbx_ids", type_=ListOf(_CALL.c.pbx_id.type)),
            bindparam("linkedids", type_=ListOf(_CALL.c.linkedid.type)),
        )
        .columns(*_COLUMNS)
    )
    for dialect, given in _GIVEN.items()
}


def _read(session: Session, reports: Reports) -> dict[tuple[int, str], CallNow]:
    """The calls that are in the database, locked in one order, whoever locks them: by their PBXs and linkedids."""
    wanted = {(pbx_id, report.linkedid) for pbx_id, of_pbx in reports.items() for report in of_pbx}
    if not wanted:
        return {}
    pbx_ids, linkedids = zip(*wanted, strict=True)
    rows = _KNOWN[session.get_bind().dialect.name].all(session, pbx_ids=pbx_ids, linkedids=linkedids)
    return {(row.pbx_id, row.linkedid): known_call(row) for row in rows}


def known_call(row: Any) -> CallNow:
    """A call that is in the database. row: a Call, or a row with its columns."""
    columns = {column: getattr(row, column) for column in _REPORTED}
    return CallNow(
        row.id, row.project_id, row.pbx_id, row.linkedid, False,
        data=from_json(row.data), answers=row.answers, person=row.person,
        is_removed=row.content_removed_on is not None, **columns,
    )  # fmt: skip


def no_call(project_id: int) -> CallNow:
    """Stands in for the call at a stage that is not about a call: a form, a dialogue, a deal."""
    return CallNow(new_id(), project_id, None, "", False)


_PROJECTS = Query(select(Pbx.id, Pbx.project_id).where(one_of(Pbx.id, "pbx_ids")))
_NUMBERS = Query(
    select(Number.pbx_id, Number.did, Number.project_id).where(
        one_of(Number.pbx_id, "pbx_ids"), one_of(Number.did, "dids")
    )
)


class _Projects:
    """Which project a new call belongs to: the one of its DID, else the PBX's."""

    def __init__(self, session: Session, first: Mapping[tuple[int, str], CallReport]) -> None:
        pbx_ids = sorted({pbx_id for pbx_id, _linkedid in first})
        dids = sorted({did for report in first.values() if (did := _did(report))})
        self._defaults = {row.id: row.project_id for row in _PROJECTS.all(session, pbx_ids=pbx_ids)}
        numbers = _NUMBERS.all(session, pbx_ids=pbx_ids, dids=dids) if dids else ()
        self._by_did = {(row.pbx_id, row.did): row.project_id for row in numbers}

    def of(self, pbx_id: int, report: CallReport) -> int:
        number: int = self._by_did.get((pbx_id, _did(report))) or self._defaults[pbx_id]
        return number


def _did(report: CallReport) -> str:
    """Our own number: the one dialled in an incoming call, the one shown to the outside in an outgoing call."""
    if report.direction == "incoming":
        return report.dst
    return str(report.values.get("outbound_number") or "")
