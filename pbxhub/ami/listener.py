"""`pbxhub listen`: a connection to every enabled PBX that no other listener has. Added, changed and removed PBX rows
take effect without a restart."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog
from sqlalchemy.exc import SQLAlchemyError

from pbxhub.ami.event_log import EventLog
from pbxhub.ami.lease_heartbeat import LeaseHeartbeat
from pbxhub.ami.login import AmiTimeouts
from pbxhub.ami.observed_states import ObservedStates
from pbxhub.ami.order_wakeup import OrderWakeup
from pbxhub.ami.pbx_listener import PbxListener
from pbxhub.ami.pbx_rows import PbxRow, read_rows
from pbxhub.ami.publisher import Publish, Publisher
from pbxhub.ami.unwritten_stages import id_of, unwritten_files, write_abandoned
from pbxhub.delivery.context import DeliveryContext
from pbxhub.delivery.wakeup import CHANGED, ChangeWatch
from pbxhub.store.listeners import LeaseTokens

_POLL = 3.0  # seconds between looks whether the PBX rows are to be read again; PostgreSQL tells of a change at once
_GATHER = 0.2  # seconds: changes that follow each other as fast as this are read together
_CLOSE = 4.0  # seconds that a stopping PBX listener may take to write its stages
log = structlog.get_logger(__name__)


async def listen(
    context: DeliveryContext, publish: Publish, stage_memory: int, stop: asyncio.Event, data_dir: Path,
    timeouts: AmiTimeouts | None = None, keep_events: bool = True,
    opened: Callable[[Publisher], object] = lambda _publisher: None,
) -> None:  # fmt: skip
    """Listens to this process's share of the enabled PBXs until stop is set; then writes the remaining stages within
    4 s and returns.

    publish(reports, tokens) writes reports by PBX in one transaction, in a thread of its own. It may be called again
    with the same reports.
    data_dir: keeps stages that could not be written before the stop; the next start writes them.
    stage_memory: stages kept per PBX while the database is unavailable (Settings.stage_memory).
    keep_events: whether the events of calls are kept beside their stages (call_events.py).
    opened: gets the publisher once, to measure it.
    """
    publisher, events = Publisher(publish), EventLog(context.database) if keep_events else None
    opened(publisher)
    orders, states = OrderWakeup(context), ObservedStates(context.database)
    orders.start()
    begin = partial(
        PbxListener, context=context, publisher=publisher, orders=orders, states=states, stage_memory=stage_memory,
        timeouts=timeouts or AmiTimeouts(), data_dir=data_dir, events=events,
    )  # fmt: skip
    heartbeat = LeaseHeartbeat(context.database)
    write_files = partial(write_abandoned, database=context.database, publisher=publisher)
    listener = _Listener(context, begin, heartbeat, data_dir, write_files)
    bell = _ChangeBell(heartbeat.changed)
    context.wakeups.add(bell.ring, CHANGED)
    writing = [asyncio.create_task(part.run()) for part in (publisher, events, heartbeat, orders, states) if part]
    try:
        await _poll_until(stop, listener, heartbeat.changed)
    finally:
        context.wakeups.remove(bell.ring, CHANGED)
        await listener.close()
        for task in writing:
            task.cancel()
        await orders.close()
        await heartbeat.close()
        if events:
            await events.close()


async def _poll_until(stop: asyncio.Event, listener: "_Listener", changed: asyncio.Event) -> None:
    stopping = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            try:
                await listener.poll()
            except Exception:
                log.exception("reading the PBX rows failed; existing connections keep running")
            await _first_of(stopping, changed)
    finally:
        stopping.cancel()


async def _first_of(stopping: "asyncio.Task[bool]", changed: asyncio.Event) -> None:
    """Returns when either has happened, or when it is time to read the rows again."""
    change = asyncio.create_task(changed.wait())
    await asyncio.wait({stopping, change}, timeout=_POLL, return_when=asyncio.FIRST_COMPLETED)
    change.cancel()
    changed.clear()


class _ChangeBell:
    """Sets an event of the loop a moment after somebody has changed a setting, once for all who do in that moment."""

    def __init__(self, changed: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._rings: asyncio.TimerHandle | None = None

    def ring(self) -> None:
        """From any thread."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._ring_soon)

    def _ring_soon(self) -> None:
        if self._rings is None:
            self._rings = self._loop.call_later(_GATHER, self._ring_now)

    def _ring_now(self) -> None:
        self._rings = None
        self._changed.set()


class _Listener:
    def __init__(
        self, context: DeliveryContext, new_line: Callable[[PbxRow], PbxListener], heartbeat: LeaseHeartbeat,
        data_dir: Path, write_files: Callable[[Mapping[str, Path]], None],
    ) -> None:  # fmt: skip
        self._database = context.database
        self._vault = context.vault
        self._new_line = new_line
        self._heartbeat = heartbeat
        self._data_dir = data_dir
        self._write_files = write_files
        self._lines: dict[int, tuple[PbxListener, asyncio.Task[None]]] = {}
        self._changes = ChangeWatch(context.database, context.wakeups)
        self._rows: Mapping[int, PbxRow] = {}
        self._read_with: LeaseTokens | None = None

    async def poll(self) -> None:
        """Compares the listeners with the PBX rows: stops those removed, changed or failed, and starts the new ones."""
        try:
            rows = await self._read_rows()
        except SQLAlchemyError as error:
            log.warning("PBX rows cannot be read; existing connections keep running", error=str(error))
            return
        for key in rows.keys() - self._lines.keys():  # first: to end one may take seconds
            self._begin(rows[key])
        wrong = [key for key, (line, task) in self._lines.items() if rows.get(key) != line.row or task.done()]
        await asyncio.gather(*(self._end(key) for key in wrong))
        for key in rows.keys() - self._lines.keys():
            self._begin(rows[key])
        self._heartbeat.release(self._lines.keys())
        for key, (line, _) in self._lines.items():
            line.follow(rows[key])
        await self._write_abandoned()

    async def _read_rows(self) -> Mapping[int, PbxRow]:
        """A PBX listener that begins needs its place in CEL as it is now, of which CHANGED does not tell."""
        tokens = self._heartbeat.tokens
        begins = tokens != self._read_with or any(task.done() for _, task in self._lines.values())
        if self._changes.is_due() or begins:
            self._rows = await asyncio.to_thread(read_rows, self._database, self._vault, tokens)
            self._read_with = tokens
            self._changes.done()
        return self._rows

    async def _write_abandoned(self) -> None:
        """A PBX listener writes the file of its PBX when it starts. Here none will: another host has the PBX, or it is
        disabled; or the file is of a deleted PBX."""
        listened_to = {line.row.key for line, _ in self._lines.values()}
        files = {
            key: file
            for key, file in unwritten_files(self._data_dir).items()
            if key not in listened_to and (id_of(key) in self._lines or self._heartbeat.out_of_reach(id_of(key)))
        }
        try:
            if files:
                await asyncio.to_thread(self._write_files, files)
        except SQLAlchemyError as error:
            log.warning("kept stages cannot be written; trying again", pbxs=sorted(files), error=str(error))

    def _begin(self, row: PbxRow) -> None:
        line = self._new_line(row)
        self._lines[row.id] = line, asyncio.create_task(line.run())

    async def _end(self, key: int) -> None:
        line, task = self._lines[key]
        if not task.done():
            closing = asyncio.create_task(line.close())
            await asyncio.wait({closing, task}, timeout=_CLOSE, return_when=asyncio.FIRST_COMPLETED)
            if not closing.done():
                _keep_unwritten(line)
            closing.cancel()
            task.cancel()
            await asyncio.wait({closing, task})
            _report(closing, key)
        del self._lines[key]
        _report(task, key)

    async def close(self) -> None:
        """Each PBX goes to another host as soon as it is disconnected, and does not wait for the slowest one."""
        self._heartbeat.leave()
        self._changes.close()
        for ended in asyncio.as_completed([self._end(key) for key in tuple(self._lines)]):
            await ended
            self._heartbeat.release(self._lines.keys())


def _keep_unwritten(line: PbxListener) -> None:
    try:
        line.keep_unwritten()
    except OSError as error:
        log.error("stages lost: neither the database nor the disk accepts them", pbx=line.row.id, stages=line.unwritten,
                  error=error.strerror)  # fmt: skip
    else:
        log.warning(
            "database unavailable; the next start will write the stages", pbx=line.row.id, stages=line.unwritten
        )


def _report(task: asyncio.Task[None], key: int) -> None:
    """Logs why a PBX listener failed; the next poll starts it again."""
    if not task.cancelled() and (error := task.exception()):
        log.error("PBX listener failed; restarting it", pbx=key, exc_info=error)
