"""The values a request of one stage may name: what AMI reported, and what the hub knows, looked up on first use."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from pbxhub.calls.stages import Value
from pbxhub.delivery.call_rows import CallNow
from pbxhub.delivery.caller_persons import same_person
from pbxhub.delivery.links import Links
from pbxhub.delivery.recording_files import RecordingFolder, folder_of
from pbxhub.delivery.webhook_cache import ProjectWebhooks
from pbxhub.store.accounts import Employee, Number
from pbxhub.store.history import Call
from pbxhub.webhooks.catalogue import LATER_STAGES
from pbxhub.webhooks.phones import Spelled, spell

PROPER_TALK, SALE_CYCLE = timedelta(seconds=30), timedelta(days=30)
MOST_LOOKED_AT = 200
MOST_COUNTED = 10_000  # call_counter stops here, so that a frequent caller does not slow down every publish


class Lookups:
    """What the database knows of extensions and numbers: each is looked up once, and kept until the publish ends."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._employees: dict[tuple[int, str], Employee | None] = {}
        self._labels: dict[tuple[int | None, str], str | None] = {}
        self._folders: dict[int | None, RecordingFolder | None] = {}
        self._last_extensions: dict[UUID, str] = {}

    def employee(self, project_id: int, extension: str) -> Employee | None:
        key = (project_id, extension)
        if key not in self._employees:
            query = select(Employee).where(Employee.project_id == project_id, Employee.extension == extension)
            self._employees[key] = self._session.scalars(query).one_or_none() if extension else None
        return self._employees[key]

    def label(self, pbx_id: int | None, did: str) -> str | None:
        key = (pbx_id, did)
        if key not in self._labels:
            query = select(Number.label).where(Number.pbx_id == pbx_id, Number.did == did)
            self._labels[key] = self._session.scalars(query).one_or_none()
        return self._labels[key]

    def recording_size(self, pbx_id: int | None, name: str, common: Path | None) -> int | None:
        """Bytes of a recording; None when its file is not in the PBX's folder on this host."""
        if pbx_id not in self._folders:
            self._folders[pbx_id] = folder_of(self._session, pbx_id, common)
        folder = self._folders[pbx_id]
        path = folder.find(name) if folder and name else None
        return path.stat().st_size if path else None

    def calls_made(self, call: CallNow, country: str) -> int | None:
        """How many calls this person has made up to this one, MOST_COUNTED at most; None for a hidden number."""
        total = 1
        for of_person in same_person(call, country):
            earlier = (
                select(Call.id)
                .where(*of_person, Call.direction == call.direction)
                .where(Call.started_on <= call.started_on, Call.id != call.id)
                .limit(MOST_COUNTED - total)
            )
            total += self._session.scalar(select(func.count()).select_from(earlier.subquery())) or 0
        return total if same_person(call, country) else None

    def talked_lately(self, call: CallNow, country: str) -> bool | None:
        """Whether this person has had a proper talk within SALE_CYCLE before this call; None for a hidden number."""
        conditions = same_person(call, country)
        if not conditions or call.started_on is None:
            return None
        earlier = (
            select(Call.answered_on, Call.ended_on)
            .where(Call.direction == call.direction)
            .where(Call.started_on <= call.started_on, Call.started_on >= call.started_on - SALE_CYCLE)
            .where(Call.id != call.id, Call.answered_on.is_not(None), Call.ended_on.is_not(None))
            .order_by(Call.started_on.desc())
            .limit(MOST_LOOKED_AT)
        )
        talks = [talk for of_person in conditions for talk in self._session.execute(earlier.where(*of_person))]
        return any(answered and ended and ended - answered >= PROPER_TALK for answered, ended in talks)

    def last_extension(self, call: CallNow, country: str) -> str:
        """The extension that talked last with this person before this call; "" for none in their MOST_LOOKED_AT last
        calls."""
        if call.id not in self._last_extensions:
            rows = self._calls_before(call, country, MOST_LOOKED_AT)
            talks = [row for row in rows if row.answered_on is not None and row.extension]
            self._last_extensions[call.id] = talks[0].extension if talks else ""
        return self._last_extensions[call.id]

    def last_call_time(self, call: CallNow, country: str) -> datetime | None:
        """When the call of this person before this one began."""
        rows = self._calls_before(call, country, 1)
        return rows[0].started_on if rows else None

    def _calls_before(self, call: CallNow, country: str, most: int) -> list[Any]:
        """The newest first, from and to the outside, however the number was written."""
        if call.started_on is None or call.direction == "internal":
            return []
        before = (
            select(Call.started_on, Call.answered_on, Call.extension)
            .where(Call.direction != "internal", Call.started_on <= call.started_on, Call.id != call.id)
            .order_by(Call.started_on.desc())
            .limit(most)
        )
        found = [row for one in same_person(call, country) for row in self._session.execute(before.where(*one))]
        return sorted(found, key=lambda row: row.started_on, reverse=True)

    def extension_of(self, project_id: int, wanted: str) -> str:
        """The extension of the employee with this extension, or with this id in the CRM; "" for nobody."""
        return wanted if self.employee(project_id, wanted) else self.extension_with_id(project_id, wanted)

    def extension_with_id(self, project_id: int, crm_id: str) -> str:
        """The extension of the employee with this id in the CRM; "" for nobody."""
        query = select(Employee.extension).where(Employee.project_id == project_id, Employee.crm_id == crm_id)
        return self._session.scalar(query.order_by(Employee.id).limit(1)) or "" if crm_id else ""


class StageValues(Mapping[str, Value]):
    """Catalogue names and their values at one stage of one call. Computed once, however many webhooks ask."""

    def __init__(
        self, reported: Mapping[str, Any], project: ProjectWebhooks, call: CallNow, stage: str, event_id: UUID,
        lookups: Lookups, links: Links, now: datetime,
    ) -> None:  # fmt: skip
        """reported: what AMI has reported so far and what was attached to the call; it overrides the hub's own."""
        self.project = project
        self.call = call
        self.stage = stage
        self.event_id = event_id
        self.lookups = lookups
        self.links = links
        self.now = now
        self._known: dict[str, Value] = {**call.answers, **reported}
        self._looked_up: set[str] = set()

    def __getitem__(self, name: str) -> Value:
        value = self._known.get(name)
        if value is None and name in _HUB and name not in self._looked_up:
            self._looked_up.add(name)
            value = self._known[name] = _HUB[name](self)
        return self._known[name] if value is None else value

    def get(self, name: str, default: Any = None) -> Any:
        """Of Mapping, without its detour: nearly every name asked for is known."""
        value = self._known.get(name)
        return super().get(name, default) if value is None else value

    def after(self, answer: Mapping[str, Value]) -> "StageValues":
        """The values for the next webhook of a chain: the same, and the answer of the one before."""
        return StageValues(
            {**self._known, **answer}, self.project, self.call, self.stage, self.event_id, self.lookups, self.links,
            self.now,
        )  # fmt: skip

    def details(self) -> Value:
        """Everything reported and attached so far, as one object."""
        return {name: value for name, value in self._known.items() if value is not None}

    def __iter__(self) -> Iterator[str]:
        return iter({**self._known, **dict.fromkeys(_HUB)})

    def __len__(self) -> int:
        return len(self._known.keys() | _HUB.keys())


class DeliveryValues(Mapping[str, Value]):
    """The values of a stage, and before them the two that belong to one delivery."""

    def __init__(self, stage: StageValues, delivery_id: UUID, attempt: int = 1) -> None:
        self._stage = stage
        self._own: dict[str, Value] = {"delivery_id": str(delivery_id), "attempt": attempt}

    def __getitem__(self, name: str) -> Value:
        return self._own[name] if name in self._own else self._stage[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self._own[name] if name in self._own else self._stage.get(name, default)

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._own), **dict.fromkeys(self._stage)})

    def __len__(self) -> int:
        return len(self._own.keys() | self._stage.keys())


def _employee(attribute: str, who: str = "extension") -> Callable[[StageValues], Value]:
    def look_up(values: StageValues) -> Value:
        extension = values.get(who) or (values.call.extension if who == "extension" else "")
        employee = values.lookups.employee(values.project.id, str(extension or ""))
        return getattr(employee, attribute) or None if employee else None

    return look_up


def _number(values: StageValues) -> Spelled:
    return spell(str(values.get("caller") or ""), values.project.country)


def _label(values: StageValues) -> Value:
    ours = values.get("dst") if values.call.direction == "incoming" else values.get("outbound_number")
    return values.lookups.label(values.call.pbx_id, str(ours or "")) or None


def _answered(values: StageValues) -> bool:
    """Whether somebody has talked by this stage; the call itself may be further on."""
    if values.get("answer_time") is not None:
        return True
    return values.call.answered_on is not None and not values.stage.endswith((".before", ".forward"))


def _is_over(values: StageValues) -> bool:
    return values.stage in _AFTER


def _missed(values: StageValues) -> bool | None:
    return not _answered(values) and values.call.direction == "incoming" if _is_over(values) else None


def _proper(values: StageValues) -> bool | None:
    """A talk of PROPER_TALK or more, the first one of this number in SALE_CYCLE."""
    billsec = values.get("billsec")
    if not _is_over(values) or not isinstance(billsec, int):
        return None
    if billsec < PROPER_TALK.total_seconds():
        return False
    lately = values.lookups.talked_lately(values.call, values.project.country)
    return None if lately is None else not lately


def _repeated(values: StageValues) -> bool | None:
    count = _counter(values) if _is_over(values) else None
    return None if count is None else count > 1


def _recording_size(values: StageValues) -> int | None:
    name = str(values.get("recording_file") or "")
    return values.lookups.recording_size(values.call.pbx_id, name, values.links.common_folder)


def _counter(values: StageValues) -> int | None:
    return values.lookups.calls_made(values.call, values.project.country)


def _recording(values: StageValues) -> Value:
    name = str(values.get("recording_file") or "")
    if not name:
        return None
    call, rule = values.call, values.project.recording_links
    return values.links.recording(call.id, call.pbx_id, name, rule, values.now)


def _last_employee(values: StageValues) -> Value:
    return values.lookups.last_extension(values.call, values.project.country) or None


def _responsible(values: StageValues) -> Value:
    """Whom a lookup has named, if that is somebody here; otherwise who talked last."""
    saved: Any = values.get("webhook.saved") or {}
    named = str(saved.get("responsible") or "") if isinstance(saved, dict) else ""
    find = values.lookups.extension_of
    project_id = values.project.id
    return find(project_id, named) or find(project_id, str(values.get("last_employee") or "")) or None


_AFTER = ("incoming.after", "outgoing.after", *LATER_STAGES)
_HUB: Mapping[str, Callable[[StageValues], Value]] = {
    "event": lambda values: values.stage,
    "stage": lambda values: values.stage,
    "event_id": lambda values: str(values.event_id),
    "project_id": lambda values: values.project.id,
    "project_name": lambda values: values.project.name,
    "now": lambda values: values.now,
    "call_id": lambda values: values.call.linkedid or None,
    "caller": lambda values: values.call.caller,
    "caller_name": lambda values: values.call.caller_name,
    "dst": lambda values: values.call.dst,
    "extension": lambda values: values.call.extension or None,
    "direction": lambda values: values.call.direction,
    "calldate": lambda values: values.call.started_on,
    "caller_e164": lambda values: _number(values).e164,
    "region": lambda values: _number(values).region,
    "country": lambda values: _number(values).country,
    "operator": lambda values: _number(values).operator,
    "n_alias": _label,
    "employee_name": _employee("name"),
    "employee_email": _employee("email"),
    "department": _employee("department"),
    "manager_id": _employee("crm_id"),
    "forward_from_id": _employee("crm_id", "forward_from"),
    "last_employee": _last_employee,
    "last_employee_id": _employee("crm_id", "last_employee"),
    "last_call_time": lambda values: values.lookups.last_call_time(values.call, values.project.country),
    "responsible": _responsible,
    "call_counter": _counter,
    "first_call": lambda values: None if (count := _counter(values)) is None else count == 1,
    "is_answered": _answered,
    "is_missed": _missed,
    "proper_flag": _proper,
    "repeated_flag": _repeated,
    "recording_size": _recording_size,
    "has_recording": lambda values: bool(values.get("recording_file")),
    "recording": _recording,
    "call_card": lambda values: values.links.call_card(values.call.id) if values.call.linkedid else None,
    "details": StageValues.details,
}
