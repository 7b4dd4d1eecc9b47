"""One PBX from its socket to the database: connection -> inbox -> tracker -> publisher -> publish."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog
from panoramisk.actions import Action

from pbxhub.ami.backfill import Backfill
from pbxhub.ami.channel_list import ChannelList, ReceivedEvent, SilentCheck, read_channels
from pbxhub.ami.connection import AmiConnection, Item
from pbxhub.ami.event_log import EventLog
from pbxhub.ami.inbox import Inbox
from pbxhub.ami.login import AmiTimeouts
from pbxhub.ami.manager_actions import build
from pbxhub.ami.observed_states import ObservedStates
from pbxhub.ami.order_wakeup import OrderWakeup
from pbxhub.ami.pbx_rows import (
    Observed,
    ObservedPbx,
    PbxRow,
    known_trunks,
    read_notes,
    write_cursor,
    write_notes,
    write_observed,
)
from pbxhub.ami.placing import NotBegun, Placing
from pbxhub.ami.protocol import AmiResponse, SessionEndedError
from pbxhub.ami.publisher import Publisher
from pbxhub.ami.unwritten_stages import keep_unwritten, unwritten_file, write_unwritten
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.cel_calls import Place
from pbxhub.calls.resync import why_gone
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker
from pbxhub.delivery.context import DeliveryContext
from pbxhub.store.clock import utc_now
from pbxhub.store.pbx_state_sentences import PbxState

_INBOX = 20_000  # events that may wait for the tracker: about 10 MB
_SLICE = 200  # events processed before other tasks of the loop run: a few milliseconds
_SWEEP = 30.0  # seconds between searches for calls whose end was never received
_NOTE = 0.8  # seconds between saves of the notes on calls that have no new stage
_POLL_CEL = 1.0  # seconds between reads of new CEL rows
_POLL_CEL_FAST = 0.2  # the same while the end of a call is held for them
_FIRST_LOOK = 2.0  # seconds that the connection waits for the start in CEL, at most
_BACKLOG = 500  # unwritten stages beyond which CEL reports wait: live ones go first
_AFTER_A_FAULT = 1.0  # seconds
log = structlog.get_logger(__name__)


class EventRate:
    """Counts events. count() runs for every event and does almost nothing; last_minute() runs about every second."""

    def __init__(self, now: float) -> None:
        self.last = 0.0  # arrival of the newest event, Unix time; 0 before the first
        self._count = 0
        self._samples = deque([(now, 0)])  # (time, count), over a little more than a minute

    def count(self, on: float) -> None:
        """Counts an event that arrived at this Unix time."""
        self._count += 1
        self.last = on

    def last_minute(self, now: float) -> int:
        """Events of the last 60 s, as exact as the interval between calls. now: seconds of one monotonic clock."""
        self._samples.append((now, self._count))
        while len(self._samples) > 1 and self._samples[1][0] <= now - 60.0:
            self._samples.popleft()
        return self._count - self._samples[0][1]


class PbxListener:
    """Runs one PBX until it is cancelled; close() ends it without losing a stage."""

    def __init__(
        self, row: PbxRow, context: DeliveryContext, publisher: Publisher, orders: OrderWakeup, states: ObservedStates,
        stage_memory: int, timeouts: AmiTimeouts, data_dir: Path, events: EventLog | None = None,
    ) -> None:  # fmt: skip
        self.row = row
        self._unwritten_file = unwritten_file(data_dir, row.key)
        self._database = context.database
        self._timeouts = timeouts
        self._inbox: Inbox[Item] = Inbox(_INBOX)
        self._publisher = publisher
        self._orders = orders
        self._states = states
        self._queue = publisher.open_queue(row.id, stage_memory, row.token)
        self._events = events
        self._tracker = row.new_tracker()
        self._connecting: asyncio.Task[None] | None = None
        self._connection: AmiConnection | None = None
        self._placing = Placing(context, row, self._ask, self._is_connected, self._inbox.put)
        self._started_on = row.asterisk_started_on
        self._known_before = frozenset[str]()  # channels, when the connection broke
        self._rate = EventRate(time.monotonic())
        self._observed = ObservedPbx(
            row.trouble or PbxState("connecting"), utc_now(), None, "", row.asterisk_started_on
        )
        self._stopped = asyncio.Event()
        self._noted = threading.Event()  # set while no notes are being written to the database
        self._noted.set()
        self._backfill = Backfill(row.new_cel_source(), row.cel_cursor, self._tracker_of_cel)
        self._touched = asyncio.Event()  # set when something may have changed in a call
        self._looked = asyncio.Event()  # set when the start in CEL is in the database, or CEL cannot be read

    def follow(self, row: PbxRow) -> None:
        """Follows what is no reason to connect anew: the cards of employees, the numbers, the optional stages."""
        self._tracker.report_optional(row.optional_stages)
        known, self.row = self.row, row
        if (row.endpoints, row.own_numbers) != (known.endpoints, known.own_numbers):
            self._tracker.know_employees(row.endpoints, row.own_numbers)

    def _is_connected(self) -> bool:
        return self._observed.state.name == "connected"

    def _tracker_of_cel(self) -> Tracker:
        """For one call. It knows the trunks: CEL gives the leg of an IAX2 trunk the context "default"."""
        tracker = self.row.new_tracker()
        tracker.restore({}, self._tracker.trunks)
        return tracker

    @property
    def unwritten(self) -> int:
        """Stages not yet in the database."""
        return self._queue.stages

    def keep_unwritten(self) -> None:
        """Saves them in a file for the next start. Raises OSError when the disk is full."""
        keep_unwritten(self._unwritten_file, self.row.token, self._queue.unwritten(), self._tracker.all_notes())

    async def run(self) -> None:
        """Writes the stages that an earlier run could not, restores the calls in progress, then listens.

        Raises database errors during this start only."""
        await asyncio.to_thread(self._take_up)
        works = [self._follow, self._note, self._sweep, self._read_cel, self._placing.run]
        self._orders.add(self.row.id, self._placing.turn)
        self._states.add(self.row.id, self._shown)
        try:
            async with asyncio.TaskGroup() as tasks:
                for work in works:
                    tasks.create_task(self._keep_on(work))
                if self.row.trouble is None:
                    self._connecting = tasks.create_task(self._keep_on(self._connect))
        finally:
            self._orders.remove(self.row.id, self._placing.turn)
            self._states.remove(self.row.id, self._shown)
            await self._backfill.close()
            self._publisher.close_queue(self._queue)

    def _take_up(self) -> None:
        """Writes what an earlier run kept, and restores the calls in progress."""
        write_unwritten(self._unwritten_file, self.row.id, self.row.token, self._database, self._publisher)
        notes = read_notes(self._database, self.row.id)
        self._tracker.restore(notes, known_trunks(self._database, self.row))
        self._known_before = self._tracker.channels()

    async def _keep_on(self, work: Callable[[], Awaitable[None]]) -> None:
        """Restarts a part that failed: the other parts hold unwritten stages and calls in progress."""
        while True:
            try:
                await work()
            except Exception:
                log.exception("unexpected error in the PBX listener; continuing", pbx=self.row.id, part=repr(work))
            await asyncio.sleep(_AFTER_A_FAULT)

    async def close(self) -> None:
        """Disconnects, waits until every stage is in the database, and marks the PBX as not listened to."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        self._states.remove(self.row.id, self._shown)  # the last write is the one below
        self._inbox.put(PbxState("lost", "stopped"))
        await self._stopped.wait()
        async for report in self._backfill.poll_held(utc_now()):
            self._queue.put(report)
        self._put(self._backfill.release_held())
        self._put_notes()
        await self._queue.empty.wait()
        await asyncio.to_thread(write_observed, self._database, [self._current()])

    async def _connect(self) -> None:
        """Keeps the connection up; disconnects while there is no room for more stages.

        Where CEL begins is in the database before the first connection is up, if it is found within _FIRST_LOOK.
        Without it: 1. the hub connects; 2. a call begins; 3. the hub looks where CEL ends, or is killed before it does;
        4. CEL has only half of the call.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._looked.wait(), _FIRST_LOOK)
        while True:
            self._connection = AmiConnection(self.row.address, self._inbox, self._timeouts)
            connection = asyncio.create_task(self._connection.run())
            full = asyncio.create_task(self._queue.full.wait())
            try:
                await asyncio.wait({connection, full}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                full.cancel()
                connection.cancel()
                await asyncio.wait({connection})
            if not connection.cancelled():
                connection.result()  # run() returns only by an exception: raise it here
            self._inbox.put(PbxState("lost", "memory_full", str(self._queue.stages)))
            await self._queue.empty.wait()

    async def _ask(self, action: Action, seconds: float) -> AmiResponse:
        if self._connection is None:
            raise SessionEndedError(PbxState("lost", "closed"))
        return await self._connection.ask(action, seconds)

    async def _follow(self) -> None:
        """Passes every item to the tracker in the order received."""
        while True:
            for item in await self._inbox.take(_SLICE):
                try:
                    if isinstance(item, ChannelList):
                        await self._resync(item)
                    else:
                        self._take(item)
                except Exception:  # one event that cannot be processed must not stop the listener
                    log.exception("event cannot be processed; skipping it", pbx=self.row.id, item=repr(item)[:500])
            self._touched.set()
            await asyncio.sleep(0)

    def _take(self, item: ReceivedEvent | SilentCheck | NotBegun | PbxState) -> None:
        if isinstance(item, ReceivedEvent):
            self._rate.count(item.on)
            message = parse(item.block, item.on)
            if message is not None:
                if self._events is not None:
                    self._events.add(self.row.id, item, self.row.token)
                self._put(self._backfill.feed(message, self._tracker.feed(message), utc_now()))
        elif isinstance(item, SilentCheck):
            self._put(self._tracker.expire(item.channels, item.asked_on))
        elif isinstance(item, NotBegun):
            if not self._tracker.rings(item.channel_id):  # otherwise its Hangup follows, with the reason
                self._queue.put(partial(self._placing.record_failure, item))
        else:
            self._set_state(item)

    def _put(self, reports: Iterable[CallReport]) -> None:
        for report in reports:
            self._queue.put(report)

    async def _note(self) -> None:
        """Saves what changed in calls without a new stage, so that a killed hub forgets one second at most.

        One write at a time: while the database is unavailable, changes add up and are written together afterwards.
        """
        while True:
            await self._touched.wait()
            await asyncio.sleep(_NOTE)
            if self._noted.is_set() and not self._backfill.holds_ends:  # the notes are ahead of a held stage
                self._touched.clear()
                self._put_notes()

    def _put_notes(self) -> None:
        notes = self._tracker.notes()
        if notes:
            self._noted.clear()
            self._queue.put(partial(write_notes, self._database, self.row.id, self.row.token, notes))
            self._queue.put(self._noted.set)

    def _set_state(self, state: PbxState) -> None:
        """A new state of the connection."""
        tell = log.info if state.code in ("", "stopped") else log.warning
        tell("PBX state changed", pbx=self.row.id, host=self.row.address.host, state=state.name, reason=state.sentence)
        self._observed = replace(self._observed, state=state, since=utc_now())
        if state.name != "connected":
            self._backfill.interrupt()
            self._known_before = self._tracker.channels()
        else:
            self._orders.look()
        if state.code == "stopped":
            self._stopped.set()

    async def _resync(self, live: ChannelList) -> None:
        """Publishes what happened during the gap, as far as CEL and the list of live channels show it.

        Whether an old channel lives on is asked of those known before the connection broke: 1. Asterisk restarts; 2. a
        phone begins a call; 3. the hub connects, and takes this call up from CEL. The tracker knows it now, and yet it
        says nothing against a restart. tests/test_go_on_after_a_restart.py
        """
        self._put(await self._backfill.take_up(live, self._tracker, utc_now()))
        lives_on = any(status.channel.uniqueid in self._known_before for status in live.channels)
        why = why_gone(self._started_on, live.started_on, live.restarted, lives_on)
        reports = self._tracker.resync(live.channels, live.taken_on, why, live.started_on)
        self._put(self._backfill.resync(live, reports, utc_now()))
        self._started_on = live.started_on or self._started_on
        self._observed = replace(self._observed, version=live.version, started_on=self._started_on)

    async def _read_cel(self) -> None:
        """Reads CEL, if there is any, while events arrive. The cursor is written after everything before it."""
        await self._backfill.begin(utc_now())
        written = self._write_cursor(self.row.cel_cursor)
        await self._queue.empty.wait()
        self._looked.set()
        if not self._backfill.reads:
            await asyncio.Event().wait()
        while True:
            await asyncio.sleep(_POLL_CEL_FAST if self._backfill.holds_ends else _POLL_CEL)
            if self._observed.state.name != "connected":
                async for report in self._backfill.poll_held(utc_now()):
                    self._queue.put(report)
                continue
            async for report in self._backfill.poll(utc_now()):
                self._queue.put(report)
                if self._queue.stages > _BACKLOG:  # live stages go first
                    await self._queue.empty.wait()
            written = self._write_cursor(written)
            self._show_cel(self._backfill.trouble)

    def _write_cursor(self, written: Place) -> Place:
        """Writes the cursor when it has moved since; returns it."""
        cursor = self._backfill.cursor
        if cursor != written:
            self._queue.put(partial(write_cursor, self._database, self.row, cursor))
        return cursor

    def _show_cel(self, trouble: str) -> None:
        state = self._observed.state
        shown = PbxState("connected", "cel_unreadable", trouble) if trouble else PbxState("connected")
        if state.name == "connected" and state.code in ("", "cel_unreadable") and state != shown:
            self._set_state(shown)

    async def _sweep(self) -> None:
        """Finds calls that had no event for a long time, and asks Asterisk whether they still exist."""
        while True:
            await asyncio.sleep(_SWEEP)
            self._put(self._tracker.sweep(utc_now()))
            self._touched.set()
            if self._tracker.silent(utc_now()):
                await self._check_silent()

    async def _check_silent(self) -> None:
        asked_on = utc_now()
        try:
            answer = await self._ask(build("Status"), self._timeouts.answer)
        except SessionEndedError:
            return  # the next session lists the channels, or the next sweep asks again
        if answer.success:
            self._inbox.put(SilentCheck(read_channels(answer.blocks, (), asked_on), asked_on))

    def _shown(self) -> Observed | None:
        return None if self._queue.away else self._current()

    def _current(self) -> Observed:
        """The state with the figures that are counted or measured."""
        observed = replace(
            self._observed,
            last_event_on=datetime.fromtimestamp(self._rate.last, UTC) if self._rate.last else None,
            events_last_minute=self._rate.last_minute(time.monotonic()),
            hub_address=self._connection.own_address if self._connection else "",
        )
        return Observed(self.row.id, self.row.token, observed)
