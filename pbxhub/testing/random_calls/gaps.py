"""The same calls told by a hub that is killed and started again in the middle: nothing lost, nothing doubled."""

import asyncio
import tempfile
from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from random import Random

from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.hub.seen import SeenCall
from pbxhub.testing.pbx.asterisk import Asterisk
from pbxhub.testing.random_calls.compare import Difference
from pbxhub.testing.random_calls.lab import Outcome

Found = list[tuple[Outcome, Difference]]
_UP, _DOWN = (1.0, 5.0), (0.2, 4.0)  # seconds
_CAUGHT_UP = 8.0  # seconds in which a hub reads what it missed


async def play_with_gaps(pbx: Asterisk, seed: int, play: Awaitable[list[Outcome]]) -> tuple[list[Outcome], Found]:
    """Plays beside a hub that listens to the PBX, reads its CEL and is killed again and again meanwhile.

    Returns also which calls it lost, told twice, told a pickup of after their end, or gave a wrong disposition.
    """
    with tempfile.TemporaryDirectory(prefix="gaps-") as folder, Hub(Path(folder)) as hub:
        await asyncio.to_thread(hub.start)
        number = await asyncio.to_thread(hub.listen_to, pbx, "20s", pbx.cel_database)
        enough = asyncio.Event()
        killing = asyncio.create_task(_kill(hub, Random(seed), enough))  # noqa: S311 - it must be repeatable
        outcomes = await play
        enough.set()
        await killing
        await asyncio.to_thread(hub.await_connected, number)
        await asyncio.sleep(_CAUGHT_UP)
        calls = hub.calls()
        played = [outcome for outcome in outcomes if not outcome.failed]
        return outcomes, [(outcome, each) for outcome in played for each in _differences(hub, calls, outcome)]


async def _kill(hub: Hub, random: Random, enough: asyncio.Event) -> None:
    """Up, down, up again, until it is enough."""
    while not enough.is_set():
        await asyncio.sleep(random.uniform(*_UP))
        await asyncio.to_thread(random.choice((hub.kill, hub.stop)))
        await asyncio.sleep(random.uniform(*_DOWN))
        await asyncio.to_thread(hub.start)


def _differences(hub: Hub, calls: Sequence[SeenCall], outcome: Outcome) -> Iterator[Difference]:
    if not outcome.saw.lines:
        return
    began, mine = outcome.saw.lines[0], _calls_of(outcome, calls)
    names = [stage.name for call in mine if call.direction for stage in hub.stages(call)]
    after = f"{outcome.saw.direction}.after"
    if names.count(began.stage) != 1 or names.count(after) != 1:
        yield Difference("lost or doubled", f"one {began.stage} and one {after}; told {' '.join(names) or 'nothing'}")
        return
    if any(name.endswith(".pickup") for name in names[names.index(after) :]):
        yield Difference("pickup after the end", " ".join(names))
    disposition = outcome.saw.lines[-1].what[0]
    told = {call.disposition for call in mine}
    if told != {disposition}:
        yield Difference("wrong disposition", f"{disposition}; told {' '.join(sorted(told))}")


def _calls_of(outcome: Outcome, calls: Sequence[SeenCall]) -> list[SeenCall]:
    """By the number of the outside party, which no other call has; of an ordered call CEL has none, only who called."""
    began, incoming = outcome.saw.lines[0], outcome.saw.direction == "incoming"
    number = began.what[0 if incoming else 1]
    mine = [call for call in calls if (call.caller if incoming else call.dst) == number]
    at_that_time = (call for call in calls if outcome.began - 1 < call.started_on.timestamp() < outcome.ended)
    return mine or [call for call in at_that_time if not incoming and call.extension == began.what[0]]
