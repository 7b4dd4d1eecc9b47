"""PBXs outside the hosts, which play answered calls of a chosen length at a fixed rate, and note when."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from rig.pbxs import EVENTS, SECRET, Address
from rig.scripts import STAGES

from pbxhub.testing.pbx.pbx_player import PbxPlayer
from pbxhub.testing.pbx.recordings import FOLDER, Played, Recording, freshen, name_of, read_recording, reduce


class Traffic:
    """played: "<linkedid> incoming.<stage>" -> when the event behind it was written, by time.time()."""

    def __init__(self, host: str, number: int, chance: random.Random) -> None:
        self.played: dict[str, float] = {}
        self._chance = chance
        self._template = reduce(read_recording(FOLDER / "answered.ami"), EVENTS)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._players = [PbxPlayer(secret=SECRET) for _ in range(number)]
        for player in self._players:
            self._do(player.start(host=host))
        self.addresses = [Address(player.port, host) for player in self._players]

    @contextmanager
    def calls(self, rate: float, seconds: float) -> Iterator[None]:
        """Within the block, so many calls a second begin, each of that length; afterwards they come to their ends."""
        ends, done = asyncio.Event(), threading.Event()
        asyncio.run_coroutine_threadsafe(self._go_on(rate, seconds, ends, done), self._loop)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(ends.set)
            done.wait(seconds + 30)

    def unheard(self, act: Callable[[], None], pbxs: int) -> list[float]:
        """Does something by which so many PBXs lose their listener. For how many seconds each had none."""
        watching = asyncio.run_coroutine_threadsafe(self._watch(pbxs), self._loop)
        act()
        return watching.result(120)

    async def _watch(self, pbxs: int) -> list[float]:
        gone, gaps = dict[PbxPlayer, float](), list[float]()
        while len(gaps) < pbxs:
            for player in self._players:
                if not player.listeners:
                    gone.setdefault(player, time.monotonic())
                elif player in gone:
                    gaps.append(time.monotonic() - gone.pop(player))
            await asyncio.sleep(0.005)
        return gaps

    async def _go_on(self, rate: float, seconds: float, ends: asyncio.Event, done: threading.Event) -> None:
        calls: list[asyncio.Task[None]] = []
        while not ends.is_set():
            player = self._players[len(calls) % len(self._players)]
            calls.append(asyncio.create_task(self._play(player, seconds)))
            await asyncio.sleep(self._chance.uniform(0.5, 1.5) / rate)
        await asyncio.gather(*calls)
        done.set()

    async def _play(self, player: PbxPlayer, seconds: float) -> None:
        recording = freshen(self._template, datetime.now(UTC))
        begin, slower = time.time(), seconds / recording.events[-1].after
        for played, moment in with_moments(recording):
            await asyncio.sleep(max(0.0, begin + played.after * slower - time.time()))
            if moment:
                self.played[moment] = time.time()
            await player.send(played.block)

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


def with_moments(recording: Recording) -> Iterator[tuple[Played, str]]:
    """Its events with the moment that each brings about; "" for most."""
    linkedid = _header(recording.events[0], "Linkedid")
    last = max(place for place, played in enumerate(recording.events) if name_of(played.block) == "Hangup")
    seen: set[str] = set()
    for place, played in enumerate(recording.events):
        stage = STAGES.get(name_of(played.block), "")
        if stage in seen or (stage == "after" and place != last):
            stage = ""
        seen.add(stage)
        yield replace(played), stage and f"{linkedid} incoming.{stage}"


def _header(played: Played, name: str) -> str:
    return next(line.partition(": ")[2] for line in played.block.split("\n") if line.startswith(f"{name}: "))
