"""A connection to a played PBX inside a test: what it heard, which states it went through, waiting for either."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

from pbxhub.ami.channel_list import ChannelList, ReceivedEvent
from pbxhub.ami.connection import AmiConnection, Item
from pbxhub.ami.inbox import Inbox
from pbxhub.ami.login import Address, AmiTimeouts
from pbxhub.store.pbx_state_sentences import PbxState
from pbxhub.testing.pbx.pbx_player import PbxPlayer
from tests.support.waiting import PATIENCE

HASTY = AmiTimeouts(
    connect=1.0, answer=1.0, quiet=5.0, pong=5.0, doubt=5.0, first_pause=0.02, longest_pause=0.1, steady=30.0
)


async def until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Waits until the condition holds; fails the test when it does not in time."""
    limit = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < limit, "it did not come true in time"
        await asyncio.sleep(0.005)


@dataclass
class Line:
    """One running connection and everything that came out of it."""

    connection: AmiConnection
    items: list[Item] = field(default_factory=list)

    @property
    def states(self) -> list[PbxState]:
        return [item for item in self.items if isinstance(item, PbxState)]

    @property
    def events(self) -> list[str]:
        """The events of calls, as text."""
        blocks = [item.block for item in self.items if isinstance(item, ReceivedEvent)]
        return [block for block in blocks if "FullyBooted" not in block]

    @property
    def stocks(self) -> list[ChannelList]:
        return [item for item in self.items if isinstance(item, ChannelList)]

    async def until_state(self, name: str, code: str = "") -> PbxState:
        def reached() -> list[PbxState]:
            return [state for state in self.states if (state.name, state.code) == (name, code)]

        await until(reached)
        return reached()[-1]


def address_of(player: PbxPlayer, **changes: object) -> Address:
    return replace(Address("127.0.0.1", player.port, player.username, player.secret), **changes)  # type: ignore[arg-type]


@asynccontextmanager
async def line_to(address: Address, timeouts: AmiTimeouts = HASTY, room: int = 10_000) -> AsyncIterator[Line]:
    inbox: Inbox[Item] = Inbox(room)
    line = Line(AmiConnection(address, inbox, timeouts))

    async def read() -> None:
        while True:
            line.items.extend(await inbox.take(100))

    tasks = [asyncio.create_task(line.connection.run()), asyncio.create_task(read())]
    try:
        yield line
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


@asynccontextmanager
async def playing(player: PbxPlayer | None = None) -> AsyncIterator[PbxPlayer]:
    player = player or PbxPlayer()
    await player.start()
    try:
        yield player
    finally:
        await player.kill()
