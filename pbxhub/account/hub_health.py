"""The hub's health: each of its parts, and each PBX with the time since which it is lost."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from pbxhub.settings import Settings
from pbxhub.store.accounts import enabled_pbxs, is_connected, lost_since
from pbxhub.store.parts import SILENT, parts_seen

_NEEDED = ("listener", "worker")  # of every hub; the others are missed once they have run


@dataclass(frozen=True, slots=True)
class PartHealth:
    """seen_on: when a process last said that the part works; None = never."""

    name: str
    works: bool
    seen_on: datetime | None


@dataclass(frozen=True, slots=True)
class PbxHealth:
    """lost_since: None while the hub hears the PBX. reason: what is wrong and what to do. host: whose listener has it,
    where several share the PBXs."""

    id: int
    name: str
    project: str
    lost_since: datetime | None
    reason: str
    last_event_on: datetime | None
    host: str | None


@dataclass(frozen=True, slots=True)
class HubHealth:
    """parts: sorted by name. pbxs: those that are switched on."""

    parts: tuple[PartHealth, ...]
    pbxs: tuple[PbxHealth, ...]

    @property
    def well(self) -> bool:
        return all(part.works for part in self.parts) and not any(pbx.lost_since for pbx in self.pbxs)


def hub_health(session: Session, settings: Settings, now: datetime) -> HubHealth:
    """As the database knows it. FastAGI is left out where PBXHUB_AGI switches it off."""
    seen = parts_seen(session)
    names = {*_NEEDED, *seen} - ({"agi"} if settings.agi is None else set())
    parts = tuple(PartHealth(name, _works(seen.get(name), now), seen.get(name)) for name in sorted(names))
    pbxs = tuple(
        PbxHealth(row.id, row.name, row.project.name, lost_since(row, now),
                  "" if is_connected(row, now) else row.state_reason, row.last_event_on, row.listener_host)
        for row in enabled_pbxs(session)
    )  # fmt: skip
    return HubHealth(parts, pbxs)


def _works(seen_on: datetime | None, now: datetime) -> bool:
    return seen_on is not None and now - seen_on <= SILENT
