"""Keeps one PBX connected: logs in, takes stock, watches the line, comes back after a pause. See protocol.py for
what is used of panoramisk and what is guarded.

Everything goes into one ordered inbox: events as they were heard, the stock of each (re)connect, every new state;
behind them what the PBX answered to an order that it did not place.
"""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta

from panoramisk.actions import Action

from pbxhub.ami.actions import build
from pbxhub.ami.inbox import Inbox
from pbxhub.ami.login import (
    Address,
    Patience,
    open_session,
    read_boot,
    read_version,
    set_filter,
    take_stock,
    uptime,
)
from pbxhub.ami.placing import NotBegun
from pbxhub.ami.protocol import AmiProtocol, Answer, SessionEndedError
from pbxhub.ami.resync import Heard, Living, Stock, read_channels, sort_held
from pbxhub.sending.own_address import own_address
from pbxhub.store.pbx_states import PbxState

Item = Heard | Stock | Living | PbxState | NotBegun
_NOT_CONNECTED = PbxState("lost", "closed")
_MANY_UNWANTED = 100  # events thrown away: more than a filter lets slip before it is set
_SETTLED = 2  # seconds after which a channel's Newchannel must have been heard


class Connection:
    """The line to one PBX. run() holds it until it is cancelled; nothing of it outlives run().

    own_address: where the hub connects from, as its own machine sees it; empty before the first try.
    """

    def __init__(self, address: Address, inbox: Inbox[Item], patience: Patience) -> None:
        self.state = PbxState("connecting")
        self.own_address = ""
        self._address = address
        self._inbox = inbox
        self._patience = patience
        self._protocol: AmiProtocol | None = None
        self._held: list[Heard] | None = None
        self._filter_refused = ""
        self._boot = ""  # of the Asterisk of the session before

    async def run(self) -> None:
        """Connects again and again until cancelled."""
        self._inbox.put(self.state)
        failures = 0
        while True:
            began = time.monotonic()
            self._tell(await self._session())
            await self._find_own_address()
            failures = 0 if time.monotonic() - began > self._patience.steady else failures + 1
            await asyncio.sleep(self._pause(failures))

    async def ask(self, action: Action, seconds: float | None = None) -> Answer:
        """Sends an action over the line and waits for the whole answer (of an Originate: its OriginateResponse).

        It is sent at most once. Raises SessionEndedError when there is no line, it breaks meanwhile, or the answer
        does not come within these seconds (Patience.answer unless given).
        """
        if self._protocol is None or self.state.name != "connected":
            raise SessionEndedError(_NOT_CONNECTED)
        return await self._protocol.ask(action, self._patience.answer if seconds is None else seconds)

    def drop(self, state: PbxState) -> None:
        """Ends the present session for this reason; the next one begins after a pause."""
        if self._protocol is not None:
            self._protocol.end(state)

    async def _session(self) -> PbxState:
        """One session from connecting to its end; the state it ended in. Until the stock is taken events are held."""
        self._held = []
        try:
            self._protocol = protocol = await open_session(self._address, self._patience, self._hear)
            self.own_address = protocol.own_address
            try:
                known = await self._settle(protocol, _started_on(uptime(protocol)))
                return await self._watch(protocol, known)
            finally:
                protocol.end(PbxState("lost", "stopped"))
        except SessionEndedError as ended:
            return ended.state
        finally:
            self._protocol = None

    async def _settle(self, protocol: AmiProtocol, started_on: datetime | None) -> frozenset[str]:
        """Sets the filter and takes stock; the stock and what was heard meanwhile go into the inbox in order.
        Returns the uniqueids of the channels in the stock."""
        version = await read_version(protocol, self._patience)
        self._filter_refused = await set_filter(protocol, version, self._patience)
        boot, before_that = await read_boot(protocol, self._patience), self._boot
        restarted = boot != before_that if boot and before_that else None
        self._boot = boot
        channels = await take_stock(protocol, self._patience)
        before, after = sort_held(self._held or (), channels)
        stock = Stock(channels, datetime.now(UTC), version, started_on, restarted)
        items: list[Item] = [*before, stock, *after]
        for item in items:
            self._inbox.put(item)
        self._held = None
        self._tell(PbxState("connected"))
        return frozenset(channel.channel.uniqueid for channel in channels)

    async def _find_own_address(self) -> None:
        """What the PBX has to let in, where a try has failed: the way there may be another one than last time."""
        if self.state.name != "refused" or self.state.code == "name_not_found":
            return
        found = await asyncio.to_thread(own_address, self._address.host, self._address.port)
        self.own_address = found or self.own_address

    def _hear(self, block: str) -> bool:
        heard = Heard(block, time.time())
        if self._held is None:
            return self._inbox.offer(heard)
        self._held.append(heard)
        return len(self._held) <= self._inbox.room

    def _tell(self, state: PbxState) -> None:
        if state != self.state:
            self.state = state
            self._inbox.put(state)

    async def _watch(self, protocol: AmiProtocol, known: frozenset[str]) -> PbxState:
        """Waits for the end of the session, and ends it when the PBX is silent or its events do not arrive."""
        watchers: set[asyncio.Future[PbxState]] = {
            protocol.ended,
            asyncio.create_task(_watch_silence(protocol, self._patience)),
            asyncio.create_task(_watch_doubt(protocol, self._patience, known)),
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
        """Warns when the PBX refused the hub's filter and has none of its own. Ends with the session only."""
        while self._filter_refused and protocol.counts.unwanted < _MANY_UNWANTED:
            await asyncio.sleep(self._patience.doubt)
        if self._filter_refused:
            self._tell(PbxState("connected", "filter_denied", self._filter_refused))
        return await asyncio.shield(protocol.ended)

    def _pause(self, failures: int) -> float:
        longest = self._patience.first_pause * 2.0 ** min(failures, 20)
        return min(self._patience.longest_pause, longest) * random.uniform(0.75, 1.25)  # noqa: S311 (no secret)


def _started_on(uptime: int | None) -> datetime | None:
    return None if uptime is None else datetime.now(UTC) - timedelta(seconds=uptime)


async def _watch_silence(protocol: AmiProtocol, patience: Patience) -> PbxState:
    """Returns when the PBX answers no ping any more. Any byte counts as life."""
    now = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(max(0.0, protocol.last_byte + patience.quiet - now()))
        asked = now()
        if protocol.last_byte + patience.quiet > asked:
            continue
        ping = asyncio.ensure_future(_ping(protocol, patience.pong))
        await asyncio.wait({ping})
        if protocol.last_byte <= asked:
            return PbxState("lost", "silent", f"{patience.quiet + patience.pong:g}")


async def _ping(protocol: AmiProtocol, seconds: float) -> None:
    try:
        await protocol.ask(build("Ping"), seconds)
    except SessionEndedError:
        return  # whether a byte came tells more


async def _watch_doubt(protocol: AmiProtocol, patience: Patience, known: frozenset[str]) -> PbxState:
    """Returns when channels began since the stock, but no Newchannel was heard: events are filtered or forbidden."""
    while not protocol.heard_newchannel:
        await asyncio.sleep(patience.doubt)
        try:
            status = await protocol.ask(build("Status"), patience.answer)
        except SessionEndedError as ended:
            return ended.state
        for channel in read_channels(status.blocks, (), datetime.now(UTC)):
            unheard = channel.channel.uniqueid not in known and channel.seconds >= _SETTLED
            if unheard and not protocol.heard_newchannel:
                return PbxState("refused", "no_events", f"{channel.channel.name} for example")
    return await asyncio.shield(protocol.ended)  # events arrive: no more doubt on this line
