"""Keeps one PBX connected: logs in, lists the live channels, watches the connection, reconnects after a pause.

Everything goes into one inbox, in order: events as they were received, the channel list of each (re)connect, every
new state, and after these the PBX's answers about ordered calls that it did not place. protocol.py says which parts
of panoramisk are used.
"""

import asyncio
import random
import time
from datetime import datetime, timedelta

from panoramisk.actions import Action

from pbxhub.ami.channel_list import ChannelList, ReceivedEvent, SilentCheck, read_channels, sort_held
from pbxhub.ami.inbox import Inbox
from pbxhub.ami.login import (
    Address,
    AmiTimeouts,
    ask_for_parked,
    clock_ahead,
    list_channels,
    open_session,
    read_boot,
    read_version,
    set_filter,
    uptime,
)
from pbxhub.ami.manager_actions import build
from pbxhub.ami.placing import NotBegun
from pbxhub.ami.protocol import AmiProtocol, AmiResponse, SessionEndedError
from pbxhub.sending.own_address import own_address
from pbxhub.store.clock import unix_now, utc_now
from pbxhub.store.pbx_state_sentences import PbxState

Item = ReceivedEvent | ChannelList | SilentCheck | PbxState | NotBegun
_NOT_CONNECTED = PbxState("lost", "closed")
_MANY_UNWANTED = 100  # discarded events: more than can arrive before a filter takes effect
_IN_USE_TRIES, _IN_USE_PAUSE = 15, 0.2  # seconds; where one may log in, the PBX refuses after one, so 18 s at least
_NEWCHANNEL_DELAY = 2  # seconds after which a channel's Newchannel must have arrived


class AmiConnection:
    """The connection to one PBX. run() keeps it up until cancelled; no task or socket outlives run().

    own_address: the address the hub connects from, as this machine sees it; "" before the first try.
    """

    def __init__(self, address: Address, inbox: Inbox[Item], timeouts: AmiTimeouts) -> None:
        self.state = PbxState("connecting")
        self.own_address = ""
        self._address = address
        self._inbox = inbox
        self._timeouts = timeouts
        self._protocol: AmiProtocol | None = None
        self._held: list[ReceivedEvent] | None = None
        self._filter_refused = ""
        self._boot = ""  # start time of the Asterisk of the previous session

    async def run(self) -> None:
        """Connects again and again until cancelled."""
        self._inbox.put(self.state)
        failures = 0
        while True:
            began = time.monotonic()
            self._tell(await self._session())
            await self._find_own_address()
            failures = 0 if time.monotonic() - began > self._timeouts.steady else failures + 1
            await asyncio.sleep(self._pause(failures))

    async def ask(self, action: Action, seconds: float | None = None) -> AmiResponse:
        """Sends an action and waits for the complete answer (for an Originate: its OriginateResponse).

        Sends it at most once. Raises SessionEndedError when there is no connection, when the connection breaks
        meanwhile, or when no answer comes within these seconds (AmiTimeouts.answer unless given).
        """
        if self._protocol is None or self.state.name != "connected":
            raise SessionEndedError(_NOT_CONNECTED)
        return await self._protocol.ask(action, self._timeouts.answer if seconds is None else seconds)

    def drop(self, state: PbxState) -> None:
        """Ends the current session for this reason; the next one begins after a pause."""
        if self._protocol is not None:
            self._protocol.end(state)

    async def _session(self) -> PbxState:
        """Runs one session; returns the state it ended in. Events are held until the channels are listed."""
        self._held = []
        try:
            self._protocol = protocol = await open_session(self._address, self._timeouts, self._receive)
            self.own_address = protocol.own_address
            try:
                listed = await self._prepare(protocol, await clock_ahead(protocol, self._timeouts))
                return await self._watch(protocol, listed)
            finally:
                protocol.end(PbxState("lost", "stopped"))
        except SessionEndedError as ended:
            return ended.state
        finally:
            self._protocol = None

    async def _prepare(self, protocol: AmiProtocol, ahead: timedelta) -> frozenset[str]:
        """Sets the filter, lists the live channels, and puts the list and the held events into the inbox in order.
        Returns the uniqueids of the listed channels. ahead: of the hub's clock, Asterisk's."""
        started_on = _started_on(uptime(protocol), ahead)
        version = await read_version(protocol, self._timeouts)
        self._filter_refused = await set_filter(protocol, version, self._timeouts)
        boot, before_that = await read_boot(protocol, self._timeouts), self._boot
        restarted = boot != before_that if boot and before_that else None
        self._boot = boot
        await ask_for_parked(protocol, self._timeouts)
        channels = await list_channels(protocol, self._timeouts)
        before, after = sort_held(self._held or (), channels)
        live = ChannelList(channels, utc_now() + ahead, version, started_on, restarted)
        items: list[Item] = [*before, live, *after]
        for item in items:
            self._inbox.put(item)
        self._held = None
        self._tell(PbxState("connected"))
        return frozenset(channel.channel.uniqueid for channel in channels)

    async def _find_own_address(self) -> None:
        """After a refusal: finds the address that the PBX has to let in. The route may have changed since last time."""
        if self.state.name != "refused" or self.state.code == "name_not_found":
            return
        found = await asyncio.to_thread(own_address, self._address.host, self._address.port)
        self.own_address = found or self.own_address

    def _receive(self, block: str) -> bool:
        event = ReceivedEvent(block, unix_now())
        if self._held is None:
            return self._inbox.offer(event)
        self._held.append(event)
        return len(self._held) <= self._inbox.room

    def _tell(self, state: PbxState) -> None:
        if state != self.state:
            self.state = state
            self._inbox.put(state)

    async def _watch(self, protocol: AmiProtocol, listed: frozenset[str]) -> PbxState:
        """Waits for the end of the session. Ends it when the PBX is silent or its events do not arrive."""
        watchers: set[asyncio.Future[PbxState]] = {
            protocol.ended,
            asyncio.create_task(_watch_silence(protocol, self._timeouts)),
            asyncio.create_task(_watch_events(protocol, self._timeouts, listed)),
            asyncio.create_task(self._watch_filter(protocol)),
        }
        try:
            done, _ = await asyncio.wait(watchers, return_when=asyncio.FIRST_COMPLETED)
            return protocol.ended.result() if protocol.ended.done() else done.pop().result()
        finally:
            for watcher in watchers - {protocol.ended}:
                watcher.cancel()
            await asyncio.gather(*(watchers - {protocol.ended}), return_exceptions=True)

    async def _watch_filter(self, protocol: AmiProtocol) -> PbxState:
        """Warns when the PBX refused the hub's filter and has none of its own. Returns when the session ends."""
        while self._filter_refused and protocol.counts.unwanted < _MANY_UNWANTED:
            await asyncio.sleep(self._timeouts.doubt)
        if self._filter_refused:
            self._tell(PbxState("connected", "filter_denied", self._filter_refused))
        return await asyncio.shield(protocol.ended)

    def _pause(self, failures: int) -> float:
        """Grows with the failures. It is short while the listener before this one may still be logged in where only one
        may, such as one that is frozen: nobody hears the PBX from the moment that one leaves."""
        if self.state.code == "login_in_use" and failures <= _IN_USE_TRIES:
            return _IN_USE_PAUSE
        longest = self._timeouts.first_pause * 2.0 ** min(failures, 20)
        return min(self._timeouts.longest_pause, longest) * random.uniform(0.75, 1.25)  # noqa: S311 (no secret)


def _started_on(uptime: int | None, ahead: timedelta) -> datetime | None:
    return None if uptime is None else utc_now() + ahead - timedelta(seconds=uptime)


async def _watch_silence(protocol: AmiProtocol, timeouts: AmiTimeouts) -> PbxState:
    """Returns when the PBX no longer answers pings. Any byte from it counts as an answer."""
    now = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(max(0.0, protocol.last_byte + timeouts.quiet - now()))
        asked = now()
        if protocol.last_byte + timeouts.quiet > asked:
            continue
        ping = asyncio.ensure_future(_ping(protocol, timeouts.pong))
        await asyncio.wait({ping})
        if protocol.last_byte <= asked:
            return PbxState("lost", "silent", f"{timeouts.quiet + timeouts.pong:g}")


async def _ping(protocol: AmiProtocol, seconds: float) -> None:
    try:
        await protocol.ask(build("Ping"), seconds)
    except SessionEndedError:
        return  # the caller checks whether any byte arrived, which says more


async def _watch_events(protocol: AmiProtocol, timeouts: AmiTimeouts, listed: frozenset[str]) -> PbxState:
    """Returns when channels began after the list was read but no Newchannel arrived: the PBX withholds its events."""
    while not protocol.got_newchannel:
        await asyncio.sleep(timeouts.doubt)
        try:
            status = await protocol.ask(build("Status"), timeouts.answer)
        except SessionEndedError as ended:
            return ended.state
        for channel in read_channels(status.blocks, (), utc_now()):
            missing = channel.channel.uniqueid not in listed and channel.seconds >= _NEWCHANNEL_DELAY
            if missing and not protocol.got_newchannel:
                return PbxState("refused", "no_events", f"{channel.channel.name} for example")
    return await asyncio.shield(protocol.ended)  # events arrive, so there is nothing more to check
