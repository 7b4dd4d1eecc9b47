"""The events of calls as they came, kept for a while so that one can see why a call was told as it was.

Not part of a stage's transaction: every two seconds one statement writes what has come of all calls, behind the stages
that wait. What is lost when the hub is killed is two seconds of evidence, never a stage.
"""

import asyncio
import re
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Table

from pbxhub.ami.resync import ReceivedEvent
from pbxhub.store.bulk import Insert
from pbxhub.store.call_events import CallEvents
from pbxhub.store.ids import new_id
from pbxhub.store.session import Base, Database

_EVERY = 2.0  # seconds
_MOST_OF_A_CALL = 512 * 1024  # characters; the longest recording of a call has 300,000
_MOST_WAITING = 8 * 1024 * 1024  # characters of all calls, while the database is unavailable
_MOST_CALLS = 20_000  # of which the length is remembered
_LINKEDID = re.compile(r"inkedid: ([^\r\n]+)")
_EVENTS: Table = Base.metadata.tables[CallEvents.__tablename__]
_INSERT = Insert(_EVENTS, ("id", "pbx_id", "linkedid", "recorded"))


class EventLog:
    """One PBX's events on their way into the database. put: hands work to the thread that writes."""

    def __init__(self, database: Database, pbx_id: int, put: Callable[[Callable[[], None]], None]) -> None:
        self._database = database
        self._pbx_id = pbx_id
        self._put = put
        self._waiting: dict[str, list[ReceivedEvent]] = {}
        self._size = 0
        self._lengths: dict[str, int] = {}
        self._written = threading.Event()  # set while nothing is being written: one write at a time
        self._written.set()

    def add(self, event: ReceivedEvent) -> None:
        """An event that the tracker was given; one that names two calls (a transfer) is of both."""
        if self._size > _MOST_WAITING:
            return
        for linkedid in dict.fromkeys(_LINKEDID.findall(event.block)):
            length = self._lengths.get(linkedid, 0) + len(event.block)
            if length <= _MOST_OF_A_CALL:
                self._lengths[linkedid] = length
                self._size += len(event.block)
                self._waiting.setdefault(linkedid, []).append(event)
        while len(self._lengths) > _MOST_CALLS:
            del self._lengths[next(iter(self._lengths))]

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            await asyncio.sleep(_EVERY)
            if self._written.is_set():
                self.flush()

    def flush(self) -> None:
        """Has written what is there, now."""
        if self._waiting:
            waiting, self._waiting, self._size = self._waiting, {}, 0
            self._written.clear()
            self._put(partial(write_events, self._database, self._pbx_id, waiting))
            self._put(self._written.set)


def write_events(database: Database, pbx_id: int, events: Mapping[str, Sequence[ReceivedEvent]]) -> None:
    """Writes events by linkedid, in one transaction."""
    rows = [
        {"id": new_id(), "pbx_id": pbx_id, "linkedid": linkedid[:150], "recorded": zlib.compress(_recorded(some))}
        for linkedid, some in events.items()
    ]
    with database.write() as session:
        _INSERT.run(session, rows)


def _recorded(events: Sequence[ReceivedEvent]) -> bytes:
    """In the form that calls/replay.py reads. Half a character, which no receiver of UTF-8 takes, becomes a ?."""
    parts = [f"#T {datetime.fromtimestamp(event.on, UTC):%Y-%m-%dT%H:%M:%S.%f}\n{event.block}\n\n" for event in events]
    return "".join(parts).replace("\r\n", "\n").encode(errors="replace")
