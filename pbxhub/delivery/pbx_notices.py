"""Tells a project when one of its PBXs is lost, and when it is back.

told_lost_on of the PBX says where it stands, for all processes and across restarts:

empty   no notice is open. Left when the PBX has not been heard for LOST_AFTER and a worker has watched it all that
        time: the notice "lost" is written in the same transaction.
filled  the project knows. Left when the PBX has been connected for BACK_AFTER: the notice "back" is written. Left
        without a notice when the PBX is switched off.

Each change is one conditional UPDATE: of two workers that see the same, one changes the row and writes the notice.
"""

from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session, defer, lazyload

from pbxhub.store.accounts import Pbx, is_connected, lost_since, unheard
from pbxhub.store.ids import new_id
from pbxhub.store.notices import PBX_BACK, PBX_LOST, Notice
from pbxhub.store.session import Database

LOST_AFTER = timedelta(minutes=2)
BACK_AFTER = timedelta(seconds=30)
_ALONE = lazyload(Pbx.project), defer(Pbx.listener_host)  # every worker asks every few seconds


class PbxWatch:
    """What one worker has seen. A worker that starts knows nothing: after a restart, the listener has LOST_AFTER to
    connect before anybody is told."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._missing: dict[int, datetime] = {}  # by PBX: since when this worker has seen it missing

    def look(self, now: datetime) -> None:
        """Call it every few seconds."""
        with self._database.read() as session:
            rows = session.scalars(select(Pbx).options(*_ALONE).order_by(Pbx.id)).all()
        missing = {row.id for row in rows if _is_missing(row, now)}
        self._missing = {pbx_id: self._missing.get(pbx_id, now) for pbx_id in missing}
        changed = [row for row in rows if self._is_news(row, now)]
        if changed:
            with self._database.write() as session:
                for row in changed:
                    _tell(session, row, self._missing.get(row.id, now), now)

    def _is_news(self, pbx: Pbx, now: datetime) -> bool:
        if pbx.told_lost_on is not None:
            return not pbx.enabled or _is_back(pbx, now)
        return pbx.id in self._missing and now - self._missing[pbx.id] >= LOST_AFTER


def _is_missing(pbx: Pbx, now: datetime) -> bool:
    """A PBX that never worked is being set up: whoever does that sees its state."""
    return pbx.enabled and pbx.asterisk_version != "" and not is_connected(pbx, now)


def _is_back(pbx: Pbx, now: datetime) -> bool:
    return is_connected(pbx, now) and pbx.state_since is not None and now - pbx.state_since >= BACK_AFTER


def _tell(session: Session, pbx: Pbx, seen_missing: datetime, now: datetime) -> None:
    lost = pbx.told_lost_on is None
    since = min(lost_since(pbx, now) or now, seen_missing)
    told = Pbx.told_lost_on.is_(None) if lost else Pbx.told_lost_on == pbx.told_lost_on
    done = session.execute(
        update(Pbx).where(Pbx.id == pbx.id, told).values(told_lost_on=since if lost else None),
        execution_options={"synchronize_session": False},
    )
    if done.rowcount == 1 and pbx.enabled:  # type: ignore[attr-defined]
        kind, text = (PBX_LOST, _lost(pbx, since, now)) if lost else (PBX_BACK, _back(pbx, now))
        session.add(Notice(id=new_id(), project_id=pbx.project_id, pbx_id=pbx.id, kind=kind, text=text[:1000],
                           created_on=now, due_on=now))  # fmt: skip


def _lost(pbx: Pbx, since: datetime, now: datetime) -> str:
    what = f"PBX {pbx.name} is lost: the hub has not heard its calls since {since:%Y-%m-%d %H:%M} UTC."
    if unheard(pbx, now):
        return f"{what} No listener of the hub is running. Start it: pbxhub run, or pbxhub listen."
    return f"{what} {pbx.state_reason}".rstrip()


def _back(pbx: Pbx, now: datetime) -> str:
    lost = pbx.told_lost_on or now
    minutes = max(1, round(((pbx.state_since or now) - lost).total_seconds() / 60))
    return f"PBX {pbx.name} is back: the hub hears its calls again after {minutes} minute{'s' if minutes > 1 else ''}."
