"""Any number of PBXs in a process of their own, which play answered calls at a fixed rate and note when.

A call is the recording answered.ami, made fresh: four stages, about two seconds, the events that the hub asks for.
"""

import asyncio
import multiprocessing
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pbxhub.testing.pbx.pbx_player import PbxPlayer
from pbxhub.testing.pbx.recordings import FOLDER, Played, Recording, freshen, name_of, read_recording, reduce
from rig.scripts import STAGES

EVENTS = ("Newchannel", "DialBegin", "DialEnd", "BridgeEnter", "BridgeLeave", "HangupRequest", "Hangup")
SECRET = "hubsecret"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a PBX of the process listens, in the form that the kit's Hub takes."""

    port: int
    host: str = "127.0.0.1"
    username: str = "hub"
    secret: str = SECRET


@dataclass(slots=True)
class Pbxs:
    """addresses: of all PBXs, in order."""

    addresses: list[Address]
    _wire: Any = field(repr=False)

    def play(self, rate: float, calls: int) -> Mapping[str, float]:
        """Plays that many calls, `rate` a second over all PBXs; returns when the last event has been written.

        The answer: "<linkedid> incoming.<stage>" -> when the bytes of the event behind it were written, by time.time().
        Raises RuntimeError when the process could not keep the pace.
        """
        self._wire.send((rate, calls))
        written, late = self._wire.recv()
        if late > 0.05:
            raise RuntimeError(f"the PBXs were {late * 1000:.0f} ms late: this machine is too busy for {rate}/s")
        return dict(written)


@contextmanager
def pbxs(number: int) -> Iterator[Pbxs]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(there, number), daemon=True)
    process.start()
    try:
        yield Pbxs([Address(port) for port in here.recv()], here)
    finally:
        process.kill()
        process.join()


def _serve(wire: Any, number: int) -> None:
    asyncio.run(_play_on_request(wire, number))


async def _play_on_request(wire: Any, number: int) -> None:
    players = [PbxPlayer(secret=SECRET) for _ in range(number)]
    for player in players:
        await player.start()
    wire.send([player.port for player in players])
    template = reduce(read_recording(FOLDER / "answered.ami"), EVENTS)
    while True:
        rate, calls = await asyncio.to_thread(wire.recv)
        plan = _plan(template, rate, calls, number)
        wire.send(await _play(players, plan))


def _plan(template: Recording, rate: float, calls: int, number: int) -> list[tuple[float, int, bytes, str]]:
    """What to write when: seconds from the beginning, which PBX, the bytes, and the moment that they bring about."""
    chance, now, plan = random.Random(calls), datetime.now(UTC), []
    for call in range(calls):
        begin = (call + chance.random()) / rate
        events = freshen(template, now).events
        linkedid = _header(events[0], "Linkedid")
        ends = [place for place, played in enumerate(events) if name_of(played.block) == "Hangup"]
        seen: set[str] = set()
        for place, played in enumerate(events):
            stage = STAGES.get(name_of(played.block), "")
            if stage in seen or (stage == "after" and place != ends[-1]):
                stage = ""
            seen.add(stage)
            data = (played.block.replace("\n", "\r\n") + "\r\n\r\n").encode()
            plan.append((begin + played.after, call % number, data, stage and f"{linkedid} incoming.{stage}"))
    return sorted(plan)


def _header(played: Played, name: str) -> str:
    return next(line.partition(": ")[2] for line in played.block.split("\n") if line.startswith(f"{name}: "))


async def _play(players: list[PbxPlayer], plan: list[tuple[float, int, bytes, str]]) -> tuple[dict[str, float], float]:
    """When each moment was brought about, and by how many seconds the 99th percentile of the writes came late."""
    begin, written, late = time.time() + 0.1, {}, []
    for at, player, data, moment in plan:
        if (wait := begin + at - time.time()) > 0.001:
            await asyncio.sleep(wait)
        now = time.time()
        late.append(now - begin - at)
        if moment:
            written[moment] = now
        await players[player].send_bytes(data)
    return written, sorted(late)[len(late) * 99 // 100]
