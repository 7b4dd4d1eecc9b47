"""Reads the calls of a group of reports, merges the reports into them and writes them. No value of a call is lost."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Table, bindparam, select
from sqlalchemy.orm import Session

from pbxhub.calls.stages import JSON, OPTIONAL_STAGES, CallReport
from pbxhub.storable import clip, storable
from pbxhub.store.accounts import Number, Pbx
from pbxhub.store.bulk import Delete, Insert, Query, Update, Upsert
from pbxhub.store.columns import one_of
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

    @property
    def known_id(self) -> UUID | None:
        """Its id; None when there is no call (no_call)."""
        return self.id if self.linkedid else None

    def take(self, report: CallReport) -> None:
        """Merges a report into the call. After the end of the call, a report only fills gaps, with two exceptions:

        * an end that was concluded because the call was gone is replaced by one with a Hangup event;
        * a call that looked internal, because only its last channels were seen, becomes incoming or outgoing.
        """
        partial = self.direction == "internal" and report.direction != "internal"
        if partial:
            self.ended_on = None
        late = self.ended_on is not None and not (_has_hangup(report.values) and not _has_hangup(self.data))
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
            "data": storable(self.data),
        }
        return row | ({"answers": self.answers} if self.is_new else {})


def _has_hangup(values: Mapping[str, Any]) -> bool:
    return values.get("end_reason") == "hangup"


_REPORTED = (
    "direction", "caller", "caller_name", "dst", "extension", "started_on", "answered_on", "ended_on", "disposition",
)  # fmt: skip
_FIXED = frozenset({"direction", "started_on"})  # by the first report; later ones do not change them
_CALL: Table = Base.metadata.tables["call"]
_ALSO_WRITTEN = ("project_id", "pbx_id", "linkedid", "data", "person")
_UPDATE = Update(_CALL, ("id",), (*_REPORTED, *_ALSO_WRITTEN))
_INSERT = Insert(_CALL, ("id", "answers", *_REPORTED, *_ALSO_WRITTEN))
_LIVE_CALL: Table = Base.metadata.tables["live_call"]
_KEEP = Upsert(_LIVE_CALL, ("pbx_id", "linkedid"), ("memory",))
_LET_GO = Delete(_LIVE_CALL, ("pbx_id", "linkedid"))


def lock_calls(session: Session, pbx_id: int, reports: Sequence[CallReport]) -> dict[str, CallNow]:
    """The calls of the reports by linkedid: known ones are locked for this transaction, new ones not inserted yet."""
    linkedids = sorted({report.linkedid for report in reports})
    calls = _read(session, pbx_id, linkedids)
    missing = [report for report in reports if report.linkedid not in calls]
    if missing:
        projects = _Projects(session, pbx_id, missing)
        for report in missing:
            if report.linkedid not in calls:
                calls[report.linkedid] = CallNow(new_id(), projects.of(report), pbx_id, report.linkedid, True)
    return calls


def write_calls(session: Session, pbx_id: int, calls: Iterable[CallNow]) -> None:
    """Writes the changed calls, then the tracker's notes on them. Always in the order of linkedids: two listeners that
    write the same calls in different orders would wait for each other.

    Raises IntegrityError when another listener has inserted one of the calls meanwhile.
    """
    ordered = sorted((call for call in calls if call.changed), key=lambda call: call.linkedid)
    new = [call.row() for call in ordered if call.is_new]
    known = [call.row() for call in ordered if not call.is_new]
    if new:
        _INSERT.run(session, new)
    if known:
        _UPDATE.run(session, known)
    notes = {call.linkedid: call.memory for call in ordered if call.memory is not None}
    if notes:
        keep_notes(session, pbx_id, notes)


def keep_notes(session: Session, pbx_id: int, notes: Mapping[str, Mapping[str, JSON]]) -> None:
    """Writes the tracker's notes on calls, in the order of linkedids. Empty notes delete the row."""
    rows = [{"pbx_id": pbx_id, "linkedid": linkedid, "memory": storable(notes[linkedid])} for linkedid in sorted(notes)]
    live, over = [row for row in rows if row["memory"]], [row for row in rows if not row["memory"]]
    if live:
        _KEEP.run(session, live)
    if over:
        _LET_GO.run(session, over)


def read_call(session: Session, call_id: UUID) -> CallNow | None:
    """A call by its id; None if it is not kept any more."""
    row = session.execute(select(*_COLUMNS).where(Call.id == call_id)).mappings().one_or_none()
    return None if row is None else _from_row(dict(row))


def find_call(session: Session, pbx_id: int, linkedid: str) -> CallNow | None:
    """A call by its linkedid; None until the listener has written it."""
    known = (_CALL.c.pbx_id == pbx_id, _CALL.c.linkedid == linkedid)
    row = session.execute(select(*_COLUMNS).where(*known)).mappings().one_or_none()
    return None if row is None else _from_row(dict(row))


_COLUMNS = list(_CALL.c)


_OF_PBX = Query(
    select(*_COLUMNS)
    .where(_CALL.c.pbx_id == bindparam("pbx_id"), one_of(_CALL.c.linkedid, "linkedids"))
    .order_by(_CALL.c.linkedid)
    .with_for_update(key_share=True)
)


def _read(session: Session, pbx_id: int, linkedids: list[str]) -> dict[str, CallNow]:
    rows = _OF_PBX.all(session, pbx_id=pbx_id, linkedids=linkedids) if linkedids else []
    return {row.linkedid: _from_row(row._asdict()) for row in rows}


def _from_row(row: Mapping[str, Any]) -> CallNow:
    columns = {column: row[column] for column in _REPORTED}
    return CallNow(
        row["id"], row["project_id"], row["pbx_id"], row["linkedid"], False,
        data=from_json(row["data"]), answers=row["answers"], person=row["person"], **columns,
    )  # fmt: skip


def no_call(project_id: int) -> CallNow:
    """Stands in for the call at a stage that is not about a call: a form, a dialogue, a deal."""
    return CallNow(new_id(), project_id, None, "", False)


_PROJECT = Query(select(Pbx.project_id).where(Pbx.id == bindparam("pbx_id")))
_NUMBERS = Query(
    select(Number.did, Number.project_id).where(Number.pbx_id == bindparam("pbx_id"), one_of(Number.did, "dids"))
)


class _Projects:
    """Which project a new call belongs to: the one of its DID, else the PBX's."""

    def __init__(self, session: Session, pbx_id: int, reports: Iterable[CallReport]) -> None:
        dids = sorted({did for report in reports if (did := _did(report))})
        self._default: int = _PROJECT.all(session, pbx_id=pbx_id)[0].project_id
        numbers = _NUMBERS.all(session, pbx_id=pbx_id, dids=dids) if dids else ()
        self._by_did: dict[str, int] = dict(numbers)

    def of(self, report: CallReport) -> int:
        return self._by_did.get(_did(report), self._default)


def _did(report: CallReport) -> str:
    """Our own number: the one dialled in an incoming call, the one shown to the outside in an outgoing call."""
    if report.direction == "incoming":
        return report.dst
    return str(report.values.get("outbound_number") or "")
