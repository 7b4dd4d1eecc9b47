"""One PBX from its socket to the database: connection -> inbox -> tracker -> outlet -> publish."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog
from panoramisk.actions import Action
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.ami.actions import build
from pbxhub.ami.backfill import Backfill
from pbxhub.ami.connection import Connection, Item
from pbxhub.ami.inbox import Inbox
from pbxhub.ami.login import Patience
from pbxhub.ami.pace import Pace
from pbxhub.ami.pbx_rows import PbxRow, Seen, known_trunks, read_notes, write_cursor, write_notes, write_seen
from pbxhub.ami.placing import NotBegun, Placing
from pbxhub.ami.protocol import Answer, SessionEndedError
from pbxhub.ami.publisher import GROUP, Publish, Publisher
from pbxhub.ami.resync import Heard, Living, Stock, read_channels, why_gone
from pbxhub.ami.unwritten_stages import keep_leftovers, leftovers_file, read_leftovers
from pbxhub.calls.ami_events import parse
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker
from pbxhub.delivery.stage_values import Links
from pbxhub.store.pbx_states import PbxState
from pbxhub.store.session import Database

_INBOX = 20_000  # events that may wait for the tracker: about 10 MB
_SLICE = 200  # events between two looks at the rest of the loop: a few milliseconds
_SWEEP = 30.0  # seconds between two looks for calls whose end was never seen
_NOTE = 0.8  # seconds between two writes of what was noted of calls without a stage
_LOOK = 1.0  # seconds between two looks for new CEL rows
_LOOK_AGAIN = 0.2  # the same while the end of a call waits for them
_BACKLOG = 500  # stages on their way into the database beyond which CEL has to wait
_AFTER_A_FAULT = 1.0  # seconds
_SHOW = 1.0  # seconds until a new state is on the PBX's row
_BETWEEN = 5.0  # seconds between two writes of what changes all the time: the last event, how many there were
_ALIVE = 15.0  # seconds after which the row is written though nothing has changed: the listener runs
log = structlog.get_logger(__name__)


class PbxListener:
    """Runs one PBX until it is cancelled; close() ends it without losing what was heard."""

    def __init__(
        self, row: PbxRow, database: Database, publish: Publish, stage_memory: int, patience: Patience, links: Links,
        data_dir: Path,
    ) -> None:  # fmt: skip
        self.row = row
        self._leftovers = leftovers_file(data_dir, row.id)
        self._database = database
        self._patience = patience
        self._inbox: Inbox[Item] = Inbox(_INBOX)
        self._outlet = Publisher(row.id, publish, stage_memory)
        self._tracker = Tracker(row.incoming_contexts)
        self._connecting: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._placing = Placing(
            row.id, database, links, self._ask, lambda: self._seen.state.name == "connected", self._inbox.put
        )
        self._started_on = row.asterisk_started_on
        self._pace = Pace(time.monotonic())
        self._seen = Seen(row.trouble or PbxState("connecting"), _now(), None, "", row.asterisk_started_on)
        self._stopped = asyncio.Event()
        self._noted = threading.Event()  # set while no notes are on their way into the database
        self._noted.set()
        self._backfill = Backfill(row.cel_path, row.cel_cursor, row.incoming_contexts)

    @property
    def unwritten(self) -> int:
        """Stages that wait for the database."""
        return self._outlet.stages

    def keep_unwritten(self) -> None:
        """Puts them into a file for the next start. Raises OSError when the disk has no room either."""
        keep_leftovers(self._leftovers, self._outlet.unwritten(), self._tracker.all_notes())

    async def run(self) -> None:
        """Writes what an earlier run could not, takes up the calls that went on when it ended, then listens. Raises
        what the database does at first."""
        await asyncio.to_thread(self._write_leftovers)
        notes = await asyncio.to_thread(read_notes, self._database, self.row.id)
        self._tracker.restore(notes, await asyncio.to_thread(known_trunks, self._database, self.row))
        works = (
            self._outlet.run, self._follow, self._note, self._sweep, self._show, self._read_cel, self._placing.run,
        )  # fmt: skip
        async with asyncio.TaskGroup() as tasks:
            for work in works:
                tasks.create_task(self._keep_on(work))
            if self.row.trouble is None:
                self._connecting = tasks.create_task(self._keep_on(self._connect))

    def _write_leftovers(self) -> None:
        reports, notes = read_leftovers(self._leftovers)
        for start in range(0, len(reports), GROUP):
            self._outlet.publish_group(reports[start : start + GROUP])
        if notes:
            write_notes(self._database, self.row.id, notes)
        self._leftovers.unlink(missing_ok=True)

    async def _keep_on(self, work: Callable[[], Awaitable[None]]) -> None:
        """A fault in one part must not take down what the others hold: stages that wait, calls that live."""
        while True:
            try:
                await work()
            except Exception:
                log.exception("a part of the line to a PBX stumbled and goes on", pbx=self.row.id, part=repr(work))
            await asyncio.sleep(_AFTER_A_FAULT)

    async def close(self) -> None:
        """Ends the connection, waits until everything heard is in the database, and shows that nobody listens."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait({self._connecting})
        self._inbox.put(PbxState("lost", "stopped"))
        await self._stopped.wait()
        self._put(self._backfill.let_out())
        self._put_notes()
        await self._outlet.empty.wait()
        await asyncio.to_thread(write_seen, self._database, self.row.id, self._present())

    async def _connect(self) -> None:
        """Holds the connection; takes it down while there is no room for more stages."""
        while True:
            self._connection = Connection(self.row.address, self._inbox, self._patience)
            connection = asyncio.create_task(self._connection.run())
            full = asyncio.create_task(self._outlet.full.wait())
            try:
                await asyncio.wait({connection, full}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                full.cancel()
                connection.cancel()
                await asyncio.wait({connection})
            if not connection.cancelled():
                connection.result()  # never ends by itself: raises what went wrong
            self._inbox.put(PbxState("lost", "memory_full", str(self._outlet.stages)))
            await self._outlet.empty.wait()

    async def _ask(self, action: Action, seconds: float) -> Answer:
        if self._connection is None:
            raise SessionEndedError(PbxState("lost", "closed"))
        return await self._connection.ask(action, seconds)

    async def _follow(self) -> None:
        """Gives the tracker everything in the order it was heard."""
        while True:
            for item in await self._inbox.take(_SLICE):
                try:
                    self._take(item)
                except Exception:  # one odd event must not stop the line
                    log.exception("what was heard could not be followed", pbx=self.row.id, item=repr(item)[:500])
            await asyncio.sleep(0)

    def _take(self, item: Item) -> None:
        if isinstance(item, Heard):
            self._pace.hear(item.on)
            message = parse(item.block, item.on)
            if message is not None:
                self._put(self._backfill.hear(message, self._tracker.feed(message), _now()))
        elif isinstance(item, Stock):
            self._take_stock(item)
        elif isinstance(item, Living):
            self._put(self._tracker.expire(item.channels, item.asked_on))
        elif isinstance(item, NotBegun):
            if not self._tracker.rings(item.channel_id):  # else its end is about to be heard, with the reason
                self._outlet.put(partial(self._placing.settle, item))
        else:
            self._turn(item)

    def _put(self, reports: Iterable[CallReport]) -> None:
        for report in reports:
            self._outlet.put(report)

    async def _note(self) -> None:
        """Writes what has changed of calls without a stage, so that a hub that is killed forgets a second at most.

        One write at a time: while the database is away, what has changed is written at once when it is back.
        """
        while True:
            await asyncio.sleep(_NOTE)
            if self._noted.is_set() and not self._backfill.waits:  # notes do not tell of a stage that is held back
                self._put_notes()

    def _put_notes(self) -> None:
        notes = self._tracker.notes()
        if notes:
            self._noted.clear()
            self._outlet.put(partial(write_notes, self._database, self.row.id, notes))
            self._outlet.put(self._noted.set)

    def _turn(self, state: PbxState) -> None:
        """A new state of the connection."""
        log.info("PBX", pbx=self.row.id, state=state.name, reason=state.sentence)
        self._seen = replace(self._seen, state=state, since=_now())
        if state.code == "stopped":
            self._stopped.set()

    def _take_stock(self, stock: Stock) -> None:
        """What the channels that live now tell of the time when nobody listened."""
        why = why_gone(self._started_on, stock)
        reports = self._tracker.resync(stock.channels, stock.taken_on, why, stock.started_on)
        self._put(self._backfill.take_stock(stock, reports))
        self._started_on = stock.started_on or self._started_on
        self._seen = replace(self._seen, version=stock.version, started_on=self._started_on)

    async def _read_cel(self) -> None:
        """Follows CEL beside the events. The cursor is written once everything before it is."""
        written = self.row.cel_cursor
        while True:
            await asyncio.sleep(_LOOK_AGAIN if self._backfill.waits else _LOOK)
            if self._seen.state.name != "connected":
                self._put(self._backfill.let_out())
                continue
            async for report in self._backfill.look(_now()):
                self._outlet.put(report)
                if self._outlet.stages > _BACKLOG:  # what came live goes first
                    await self._outlet.empty.wait()
            if self._backfill.cursor != written:
                written = self._backfill.cursor
                self._outlet.put(partial(write_cursor, self._database, self.row.id, written))
            self._show_cel(self._backfill.trouble)

    def _show_cel(self, trouble: str) -> None:
        state = self._seen.state
        shown = PbxState("connected", "cel_unreadable", trouble) if trouble else PbxState("connected")
        if state.name == "connected" and state.code in ("", "cel_unreadable") and state != shown:
            self._turn(shown)

    async def _sweep(self) -> None:
        """Finds calls of which nothing was heard for long, and asks Asterisk whether they live."""
        while True:
            await asyncio.sleep(_SWEEP)
            self._put(self._tracker.sweep(_now()))
            if self._tracker.silent(_now()):
                await self._ask_who_lives()

    async def _ask_who_lives(self) -> None:
        asked_on = _now()
        try:
            answer = await self._ask(build("Status"), self._patience.answer)
        except SessionEndedError:
            return  # the stock of the next session tells, or the next sweep asks again
        if answer.success:
            self._inbox.put(Living(read_channels(answer.blocks, (), asked_on), asked_on))

    async def _show(self) -> None:
        """Writes on the PBX's row how it stands: a new state at once, the rest every few seconds."""
        shown, written = None, 0.0
        while True:
            seen, since = self._present(), time.monotonic() - written
            turned = shown is None or seen.state != shown.state
            due = turned or since >= _ALIVE or (since >= _BETWEEN and seen != shown)
            if due and not self._outlet.away:
                try:
                    await asyncio.to_thread(write_seen, self._database, self.row.id, seen)
                    shown, written = seen, time.monotonic()
                except SQLAlchemyError as error:
                    log.warning("the state of a PBX could not be written", pbx=self.row.id, error=str(error))
            await asyncio.sleep(_SHOW)

    def _present(self) -> Seen:
        """What is seen now, with what is counted or asked rather than told."""
        return replace(
            self._seen,
            last_event_on=datetime.fromtimestamp(self._pace.last, UTC) if self._pace.last else None,
            events_last_minute=self._pace.last_minute(time.monotonic()),
            hub_address=self._connection.own_address if self._connection else "",
        )


def _now() -> datetime:
    return datetime.now(UTC)
