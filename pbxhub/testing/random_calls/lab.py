"""Plays many random calls at once and counts how often the hub's stages match what the phones saw."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pbxhub.testing.pbx.ami_stream import AmiStream
from pbxhub.testing.pbx.asterisk import PASSWORD, Asterisk, Dialplan
from pbxhub.testing.phones.light.leg import Leg, LegEvent
from pbxhub.testing.phones.light.phone import LightPhone
from pbxhub.testing.random_calls.cell import Cell, Moment, cell_of
from pbxhub.testing.random_calls.compare import Difference, differences
from pbxhub.testing.random_calls.listening import Block, Listening
from pbxhub.testing.random_calls.play import Play
from pbxhub.testing.random_calls.script import Script
from pbxhub.testing.random_calls.truth import Call, truth

_CODES = {
    "plain": {"blind": "#1", "consult": "*2", "hang_up": "*0"},
    "freepbx": {"blind": "##", "consult": "*2", "hang_up": "**"},
}
_AFTERWARDS = 0.7  # seconds for the last events of a call to arrive


@dataclass(frozen=True, slots=True)
class Outcome:
    """One played script: what the phones saw, what the hub reported, and the differences."""

    script: Script
    cell: str
    began: float  # seconds since 1970
    ended: float
    saw: Call
    told: tuple[Call, ...]
    differences: tuple[Difference, ...]
    log: tuple[Moment, ...]
    events: tuple[Block, ...]
    failed: str = ""  # why the phones could not play it
    cut: float = 0.0  # when Asterisk was ended in the middle of it; 0 when it was not

    @property
    def kind(self) -> str:
        """The kind of the first difference; empty when there is none."""
        return self.differences[0].kind if self.differences else ""


class Lab:
    """Cells on a running Asterisk, and the hub's listener for it."""

    def __init__(self, pbx: Asterisk, dialplan: Dialplan, cells: int) -> None:
        self.pbx, self.dialplan = pbx, dialplan
        self.listening = Listening(pbx)
        self._admin = AmiStream(pbx.address)
        self._serial = 0
        self._lives = asyncio.Event()  # the Asterisk
        self._lives.set()
        network, speaks_to = pbx.outside
        outside = [
            LightPhone(name, network.address(host), speaks_to, "", self._saw)
            for name, host in (("main", 10), ("second", 11))
        ]
        self._phones = list(outside)
        self.cells: dict[str, Cell] = {}
        for index in range(cells):
            name = f"{index:02d}"
            phones = {f"e{n}": self._phone(name, index, n) for n in range(1, 7)}
            self.cells[name] = Cell(name, phones, *outside)

    def _phone(self, cell: str, index: int, n: int) -> LightPhone:
        host = self.pbx.network.address(20 + index * 6 + n)
        phone = LightPhone(f"2{cell}{n}", host, self.pbx.address, PASSWORD, self._saw)
        self._phones.append(phone)
        return phone

    async def start(self) -> None:
        """Opens and registers all phones."""
        for phone in self._phones:
            await phone.start()

    def close(self) -> None:
        """Closes the phones and the listener; Asterisk keeps running."""
        for phone in self._phones:
            phone.close()
        self.listening.close()
        self._admin.close()

    async def restart(self, end: Callable[[], None]) -> None:
        """Ends the Asterisk with all its calls, as `end` does, and starts it again; new calls wait until it lives."""
        self._lives.clear()
        for cell in self.cells.values():
            cell.cut = time.time()
        await asyncio.to_thread(end)
        for cell in self.cells.values():
            cell.cut_off()
        await asyncio.to_thread(self._start_again)
        for phone in self._phones:
            await phone.register()
        self._lives.set()

    def _start_again(self) -> None:
        self.listening.close()
        self._admin.close()
        self.pbx.start()
        self.listening, self._admin = Listening(self.pbx), AmiStream(self.pbx.address)

    def _saw(self, what: LegEvent, leg: Leg) -> None:
        cell = self.cells.get(cell_of(leg.number))
        if cell is not None:
            cell.saw(what, leg)

    async def _ask(self, action: str, **headers: str) -> None:
        """Asks the Asterisk; raises AssertionError when it refuses, or ends meanwhile."""
        await self._lives.wait()
        try:
            await asyncio.to_thread(self._admin.ask, action, **headers)
        except OSError as error:
            raise AssertionError(f"{action}: {error}") from error

    async def originate(self, channel: str, number: str) -> None:
        """Orders a call: Asterisk rings the channel first, then the number."""
        headers = {"Channel": channel, "Context": "from-internal", "Exten": number, "Priority": "1", "Async": "true"}
        await self._ask("Originate", **headers, Timeout="6000", CallerID=number)

    async def remember(self, family: str, key: str, value: str) -> None:
        """Sets a value in Asterisk's database; an empty value deletes it."""
        if value:
            await self._ask("DBPut", Family=family, Key=key, Val=value)
        else:
            await self._ask("DBDel", Family=family, Key=key)

    async def play(self, cell: Cell, script: Script) -> Outcome:
        """Plays one script on one cell. What the hub told of a call that ended with the Asterisk is not compared."""
        await self._lives.wait()
        self._serial += 1
        cell.begin(self._serial)
        began, failed = time.time() - 0.05, ""
        try:
            await Play(cell, script, _CODES[self.dialplan], self).play()
        except AssertionError as error:
            failed = str(error)
        await asyncio.sleep(_AFTERWARDS)
        saw, told = truth(cell), self.listening.calls(cell.name, began)
        found = [] if cell.cut else differences(saw, told, park=cell.number("park"))
        events = self.listening.events(cell.name, began) if found else []
        seen = saw, tuple(told), tuple(found), tuple(cell.log), tuple(events)
        return Outcome(script, cell.name, began, time.time(), *seen, failed, cell.cut)

    async def play_all(
        self, scripts: Sequence[Script], seen: Callable[[Outcome], None] = lambda outcome: None
    ) -> list[Outcome]:
        """Plays the scripts on all cells at once. Returns the outcomes in the order of the scripts.

        seen is called with each outcome when its call is over.
        """
        waiting = list(reversed(list(enumerate(scripts))))
        outcomes: dict[int, Outcome] = {}

        async def on(cell: Cell) -> None:
            while waiting:
                at, script = waiting.pop()
                outcomes[at] = await self.play(cell, script)
                seen(outcomes[at])

        await asyncio.gather(*(on(cell) for cell in self.cells.values()))
        return [outcomes[at] for at in range(len(scripts))]
