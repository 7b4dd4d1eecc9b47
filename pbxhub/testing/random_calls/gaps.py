"""The same calls with a hub that misses a part of them: nothing may be lost, reported twice or reported after the end.

Interrupted again and again: the hub (killed or stopped, and started), the connection (cut or frozen), or Asterisk
itself (killed or stopped with all its calls, and started).
"""

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import closing
from math import inf
from pathlib import Path
from random import Random
from typing import Literal

from pbxhub.testing.hub.hub_process import Hub
from pbxhub.testing.hub.seen import SeenCall
from pbxhub.testing.pbx.ami_relay import AmiRelay
from pbxhub.testing.random_calls.compare import Difference
from pbxhub.testing.random_calls.lab import Lab, Outcome

Gap = Literal["hub", "line", "pbx"]
Found = list[tuple[Outcome, Difference]]
_UP, _DOWN = (1.0, 5.0), (0.2, 4.0)  # seconds
_PBX_UP = (10.0, 20.0)  # seconds: every restart ends all calls
_CAUGHT_UP = 60.0  # seconds in which a hub on a busy machine publishes what it missed, at most
_STEADY = 2.0  # seconds without a new row after which Asterisk has written all of CEL
_UNCERTAIN = 1.0  # seconds before Asterisk's end in which it may report nothing, at least


class Gaps:
    """Makes the gaps of a seed while calls are played, and checks what the hub reported. reads_cel: whether it may read
    the CEL of the PBX."""

    def __init__(self, lab: Lab, hub: Hub, kinds: Sequence[Gap], seed: int, reads_cel: bool) -> None:
        self._lab, self._hub, self._kinds, self._reads_cel = lab, hub, kinds, reads_cel
        self._random = Random(seed)  # noqa: S311 - it must be repeatable
        pbx = lab.pbx
        self._relay = AmiRelay(pbx.host, pbx.port, pbx.username, pbx.secret)
        self._enough = asyncio.Event()
        self._ended: list[float] = []  # when Asterisk was ended

    async def play(self, play: Awaitable[list[Outcome]]) -> tuple[list[Outcome], Found]:
        """The outcomes, and which calls the hub lost, told twice or wrong, or told something of after their end."""
        await self._relay.start()
        await asyncio.to_thread(self._hub.start)
        cel = self._lab.pbx.cel_database if self._reads_cel else ""
        number = await asyncio.to_thread(self._hub.listen_to, self._relay, "20s", cel)
        makers = [asyncio.create_task(self._interrupt(kind)) for kind in self._kinds]
        outcomes = await play
        self._enough.set()
        await asyncio.gather(*makers)
        await asyncio.to_thread(self._hub.await_connected, number, "40s")
        await self._catch_up(number)
        self._relay.cut()
        return outcomes, list(_differences(self._hub, [(outcome, self._reported(outcome)) for outcome in outcomes]))

    async def _catch_up(self, pbx_id: int) -> None:
        """Waits until CEL is complete, the hub has published what is in it, and no call is open."""
        ends, rows, before = time.monotonic() + _CAUGHT_UP, self._cel_rows(), -1
        while time.monotonic() < ends and not (rows == before and self._published(pbx_id, rows)):
            await asyncio.sleep(_STEADY)
            rows, before = self._cel_rows(), rows

    def _cel_rows(self) -> int:
        with closing(sqlite3.connect(f"file:{self._lab.pbx.cel_database}?mode=ro", uri=True)) as connection:
            [(newest,)] = connection.execute("SELECT max(AcctId) FROM cel")
        return int(newest or 0)

    def _reported(self, outcome: Outcome) -> float:
        """Up to when all of a call is certainly in CEL. A busy Asterisk writes it seconds late, and one that is ended
        writes no more, not even of calls that have just ended."""
        ended = next((time for time in self._ended if time > outcome.began), 0.0)
        if not ended:
            return inf
        with closing(sqlite3.connect(f"file:{self._lab.pbx.cel_database}?mode=ro", uri=True)) as connection:
            times = connection.execute("SELECT CAST(eventtime AS REAL) AS time FROM cel WHERE time < ?", (ended,))
            newest = max((time for (time,) in times), default=0.0)
        return min(newest, ended - _UNCERTAIN)

    def _published(self, pbx_id: int, rows: int) -> bool:
        """The cursor is written after everything before it."""
        read = self._hub.cel_cursor(pbx_id) == rows or not self._reads_cel
        return read and all(call.ended_on for call in self._hub.calls())

    async def _interrupt(self, kind: Gap) -> None:
        gaps: dict[Gap, Callable[[], Awaitable[None]]] = {
            "hub": self._hub_gap,
            "line": self._line_gap,
            "pbx": self._pbx_gap,
        }
        while not self._enough.is_set():
            await asyncio.sleep(self._random.uniform(*(_PBX_UP if kind == "pbx" else _UP)))
            await gaps[kind]()

    async def _hub_gap(self) -> None:
        await asyncio.to_thread(self._random.choice((self._hub.kill, self._hub.stop)))
        await asyncio.sleep(self._random.uniform(*_DOWN))
        await asyncio.to_thread(self._hub.start)

    async def _line_gap(self) -> None:
        """Frozen for a while, and then cut or as it was before; or cut at once."""
        if self._random.random() < 0.5:
            self._relay.freeze()
            await asyncio.sleep(self._random.uniform(*_DOWN))
            self._relay.thaw()
            if self._random.random() < 0.5:
                return
        self._relay.cut()
        await asyncio.sleep(self._random.uniform(*_DOWN))
        await self._relay.start()

    async def _pbx_gap(self) -> None:
        pbx = self._lab.pbx
        self._ended.append(time.time())
        await self._lab.restart(self._random.choice((pbx.kill, pbx.stop_now)))


def _differences(hub: Hub, outcomes: Iterable[tuple[Outcome, float]]) -> Iterator[tuple[Outcome, Difference]]:
    """outcomes: each with the time up to which all of it is certainly in CEL."""
    calls = hub.calls()
    for outcome, reported in outcomes:
        if outcome.saw.lines and _is_certain(outcome, reported):
            for difference in _differences_of(hub, calls, outcome, reported):
                yield outcome, difference


def _is_certain(outcome: Outcome, reported: float) -> bool:
    """Whether the call had rung somewhere, or was answered, while Asterisk still reported everything; an outgoing call:
    outside. If it came to an end, a listener without gaps has heard of it, too: a busy PBX refuses calls."""
    outgoing = outcome.saw.direction == "outgoing"
    signs = (
        moment.time
        for moment in outcome.log
        if moment.what != "placed" and (not outgoing or (moment.what == "rings" and moment.who.startswith("89")))
    )
    return any(time < reported for time in signs) and (outcome.cut > 0 or any(call.lines for call in outcome.told))


def _differences_of(hub: Hub, calls: Sequence[SeenCall], outcome: Outcome, reported: float) -> Iterator[Difference]:
    began, mine = outcome.saw.lines[0], _calls_of(outcome, calls)
    names = [stage.name for call in mine if call.direction for stage in hub.stages(call)]
    after = f"{outcome.saw.direction}.after"
    if names.count(began.stage) != 1 or names.count(after) != 1:
        yield Difference("lost or doubled", f"one {began.stage} and one {after}; told {' '.join(names) or 'nothing'}")
        return
    if any(name.endswith((".pickup", ".forward")) for name in names[names.index(after) :]):
        yield Difference("told after the end", " ".join(names))
    disposition, told = outcome.saw.lines[-1].what[0], {call.disposition for call in mine}
    right = {disposition, *_heard(outcome, after), *_dialled_at_the_cut(outcome)}
    if not told <= right and not outcome.failed and not _is_undecided(outcome, reported):
        yield Difference("wrong disposition", f"{disposition}; told {' '.join(sorted(told))}")


def _heard(outcome: Outcome, after: str) -> Iterator[str]:
    """The dispositions that a listener without gaps heard. On a busy machine phones hear each other too late, or not at
    all before a call goes on, and see no answer; the random calls without gaps are played again then, these cannot."""
    for line in (line for call in outcome.told for line in call.lines):
        if line.stage == after:
            yield line.what[0]
        elif line.stage.endswith(".pickup"):  # Asterisk may have been ended before the call's end
            yield "ANSWERED"


def _dialled_at_the_cut(outcome: Outcome) -> Iterator[str]:
    """The disposition of a call that Asterisk had sent to a phone when it ended, of which the phone has not seen
    anything."""
    if outcome.cut and not any(moment.what == "rings" for moment in outcome.log):
        yield "NO ANSWER"


def _is_undecided(outcome: Outcome, reported: float) -> bool:
    """Whether a phone rang, or somebody took or refused the call, when Asterisk no longer had to report it."""
    return any(moment.what in ("rings", "answered", "refused") and moment.time > reported for moment in outcome.log)


def _calls_of(outcome: Outcome, calls: Sequence[SeenCall]) -> list[SeenCall]:
    """Calls by the number of their outside party, which is unique. For an ordered call, CEL has only the caller."""
    began, incoming = outcome.saw.lines[0], outcome.saw.direction == "incoming"
    number = began.what[0 if incoming else 1]
    mine = [call for call in calls if (call.caller if incoming else call.dst) == number]
    at_that_time = (call for call in calls if outcome.began - 1 < call.started_on.timestamp() < outcome.ended)
    return mine or [call for call in at_that_time if not incoming and call.extension == began.what[0]]


async def play_with_gaps(
    lab: Lab, kinds: Sequence[Gap], seed: int, play: Awaitable[list[Outcome]], reads_cel: bool = True
) -> tuple[list[Outcome], Found]:
    """Plays calls while a hub listens to the PBX, reads its CEL if it may, and is interrupted in these ways."""
    with tempfile.TemporaryDirectory(prefix="gaps-") as folder, Hub(Path(folder)) as hub:
        return await Gaps(lab, hub, kinds, seed, reads_cel).play(play)
