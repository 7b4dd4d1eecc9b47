"""The events of calls as they came, kept for a while so that one can see why a call has the stages it has.

They are written beside the stages, not with them: every two seconds one transaction writes what came of all calls of
all PBXs. What is lost when the hub is killed is two seconds of evidence, never a stage.
"""

import asyncio
import zlib
from collections.abc import Mapping, Sequence, Set
from datetime import UTC, datetime

import structlog
from sqlalchemy import Table, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from pbxhub.ami.channel_list import ReceivedEvent
from pbxhub.calls.ami_headers import linkedids_of
from pbxhub.store.accounts import Pbx
from pbxhub.store.bulk import Insert, Query
from pbxhub.store.columns import one_of
from pbxhub.store.database_errors import is_away, reason
from pbxhub.store.history import Call, CallEvents
from pbxhub.store.ids import new_id
from pbxhub.store.listeners import still_held
from pbxhub.store.session import Base, Database

CallKey = tuple[int, int | None, str]  # PBX, token of the lease under which it was heard (PbxRow.token), linkedid

_EVERY = 2.0  # seconds
_MOST_OF_A_CALL = 512 * 1024  # characters; the longest recording of a call has 300,000
_MOST_WAITING = 8 * 1024 * 1024  # characters of all calls, while the database is unavailable
_MOST_CALLS = 20_000  # of which the length is remembered
_EVENTS: Table = Base.metadata.tables[CallEvents.__tablename__]
_INSERT = Insert(_EVENTS, ("id", "pbx_id", "linkedid", "recorded"))
_REMOVED = Query(
    select(Call.pbx_id, Call.linkedid).where(
        one_of(Call.pbx_id, "pbx_ids"), one_of(Call.linkedid, "linkedids"), Call.content_removed_on.is_not(None)
    )
)
log = structlog.get_logger(__name__)


class EventLog:
    """The events of all PBXs of a process on their way into the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: dict[CallKey, list[ReceivedEvent]] = {}
        self._filled = asyncio.Event()
        self._size = 0
        self._lengths: dict[CallKey, int] = {}
        self._is_away = False  # whether the last write failed

    def add(self, pbx_id: int, event: ReceivedEvent, token: int | None = None) -> None:
        """An event that the tracker was given; one that names two calls (a transfer) is of both.

        token: of the lease under which it was heard."""
        if self._size > _MOST_WAITING:
            return
        for linkedid in linkedids_of(event.block):
            key = pbx_id, token, linkedid
            length = self._lengths.get(key, 0) + len(event.block)
            if length <= _MOST_OF_A_CALL:
                self._lengths[key] = length
                self._size += len(event.block)
                self._waiting.setdefault(key, []).append(event)
                self._filled.set()
        while len(self._lengths) > _MOST_CALLS:
            del self._lengths[next(iter(self._lengths))]

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(_EVERY)
            self._filled.clear()
            await self._flush()

    async def close(self) -> None:
        """Writes the rest, unless the database is unavailable."""
        if not self._is_away:
            await self._flush()

    async def _flush(self) -> None:
        waiting, size = self._waiting, self._size
        self._waiting, self._size = {}, 0
        try:
            if waiting:
                await asyncio.to_thread(write_events, self._database, waiting)
            self._is_away = False
        except SQLAlchemyError as error:
            if not self._is_away:
                log.warning("AMI events of calls cannot be written", error=reason(error), calls=len(waiting))
            self._is_away = is_away(error)
            if self._is_away:
                self._put_back(waiting, size)

    def _put_back(self, waiting: Mapping[CallKey, list[ReceivedEvent]], size: int) -> None:
        self._filled.set()
        self._waiting = {**waiting, **{key: [*waiting.get(key, ()), *some] for key, some in self._waiting.items()}}
        self._size += size


def write_events(database: Database, events: Mapping[CallKey, Sequence[ReceivedEvent]]) -> None:
    """Writes events in one transaction; those of PBXs that were deleted meanwhile or that another listener has taken
    over, and of calls whose content was removed for good, are dropped. Packed before it, because that takes longest."""
    packed = {key: zlib.compress(_recorded(some)) for key, some in events.items()}
    pbx_ids, linkedids = list({key[0] for key in packed}), list({key[2] for key in packed})
    with database.write() as session:
        known = _writable(session, {(pbx_id, token) for pbx_id, token, _ in packed})
        removed = {tuple(row) for row in _REMOVED.all(session, pbx_ids=pbx_ids, linkedids=linkedids)}
        rows = [
            {"id": new_id(), "pbx_id": pbx_id, "linkedid": linkedid, "recorded": recorded}
            for (pbx_id, token, linkedid), recorded in packed.items()
            if (pbx_id, token) in known and (pbx_id, linkedid) not in removed
        ]
        if rows:
            _INSERT.run(session, rows)


def _writable(session: Session, heard: Set[tuple[int, int | None]]) -> set[tuple[int, int | None]]:
    """PBXs that are there, with the tokens that hold. One PBX may come with two tokens: it was deleted, and SQLite gave
    its id to another one."""
    there = set(session.scalars(select(Pbx.id).where(one_of(Pbx.id, {pbx_id for pbx_id, _ in heard}))))
    held: set[tuple[int, int | None]] = {(pbx_id, token) for pbx_id, token in heard if token is None}
    fenced = {(pbx_id, token) for pbx_id, token in heard if token is not None}
    while fenced:
        one_each = dict(fenced)
        held |= {(pbx_id, one_each[pbx_id]) for pbx_id in still_held(session, one_each)}
        fenced -= one_each.items()
    return {(pbx_id, token) for pbx_id, token in held if pbx_id in there}


def _recorded(events: Sequence[ReceivedEvent]) -> bytes:
    """In the form that calls/replay.py reads. Half a character, which no receiver of UTF-8 takes, becomes a ?."""
    parts = [f"#T {datetime.fromtimestamp(event.on, UTC):%Y-%m-%dT%H:%M:%S.%f}\n{event.block}\n\n" for event in events]
    return "".join(parts).replace("\r\n", "\n").encode(errors="replace")
