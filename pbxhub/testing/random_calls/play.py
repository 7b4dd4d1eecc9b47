"""Plays a script with the phones of a cell. An act that is impossible at the moment is skipped, so a reduced script can
be played, too.

Wherever possible it waits for something that a phone sees (it rings, two phones hear each other), not for a time.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from pbxhub.testing.phones.light.leg import Leg
from pbxhub.testing.phones.light.until import until
from pbxhub.testing.random_calls.cell import Cell
from pbxhub.testing.random_calls.script import Act, Script, Verb

_SETTLED = 0.15  # seconds in which no further phone begins to ring
_FAREWELL = 1.0  # seconds for a hang-up to reach everybody
_SILENCE = 1.8  # seconds in which no phone sees anything
_RINGS_OUT = 14.0  # seconds: longer than any destination of the dialplans rings


class Orders(Protocol):
    """What the script asks of the PBX itself."""

    async def originate(self, channel: str, number: str) -> None:
        """Orders a call: Asterisk rings the channel first, then the number."""

    async def remember(self, family: str, key: str, value: str) -> None:
        """Sets a value in Asterisk's database; an empty value deletes it."""


@dataclass(slots=True)
class Consultation:
    """who consults somebody while the other side waits. second: the call for that; None with a feature code."""

    who: str
    to: str
    first: Leg
    second: Leg | None
    taker: Leg | None = None


class Play:
    """Plays one script on one cell."""

    def __init__(self, cell: Cell, script: Script, codes: Mapping[str, str], orders: Orders) -> None:
        """codes: the dialplan's feature codes for blind, consult and hang_up."""
        self.cell, self.script, self.codes, self.orders = cell, script, codes, orders
        self.consultation: Consultation | None = None
        self._set: list[tuple[str, str]] = []

    async def play(self) -> None:
        """Plays all acts; then everybody hangs up."""
        verbs: Mapping[Verb, Callable[[Act], Awaitable[None]]] = {
            "set": self._set_forward, "call": self._call, "dial": self._dial, "order": self._order,
            "press": self._press, "answer": self._answer, "refuse": self._refuse, "divert": self._divert,
            "pickup": self._pickup, "ring_out": self._ring_out, "talk": self._talk, "hold": self._hold,
            "blind": self._blind,
            "consult": self._consult, "complete": self._complete, "abort": self._abort, "park": self._park,
            "retrieve": self._retrieve, "come_back": self._come_back, "hang_up": self._hang_up,
        }  # fmt: skip
        try:
            for act in self.script.acts:
                if not self.cell.cut:
                    await verbs[act.verb](act)
        finally:
            await self._finish()

    # ---------------------------------------------------------------- beginnings

    async def _set_forward(self, act: Act) -> None:
        who = self.cell.number(act.who)
        self._set.append((act.how, who))
        await self.orders.remember(act.how, who, self.cell.number(act.to))

    async def _call(self, act: Act) -> None:
        phone = self.cell.second if act.how == "second" else self.cell.main
        leg = phone.dial(self.cell.did(act.to), self.cell.number("c"))
        await self._taken_up(leg)
        await until(lambda: self.cell.rings() or self.cell.leg("c", "talking", "over"))

    async def _dial(self, act: Act) -> None:
        self.cell.out_of_order = act.how == "second"
        await self._taken_up(self.cell.phones[act.who].dial(self.cell.number(act.to)))
        await until(lambda: self.cell.rings() or self.cell.leg(act.who, "over"))

    async def _taken_up(self, leg: Leg) -> None:
        """Raises AssertionError when the PBX does not accept the call in time."""
        await until(lambda: leg.tried or leg.state == "over", 20)
        assert leg.tried or leg.status not in (0, 408), "the PBX did not take the call"

    async def _order(self, act: Act) -> None:
        who = self.cell.number(act.who)
        channel = f"Local/{who}@from-internal" if act.how == "local" else f"PJSIP/{who}"
        await self.orders.originate(channel, self.cell.number(act.to))

    async def _press(self, act: Act) -> None:
        if await until(lambda: self.cell.leg("c", "talking")):
            await asyncio.sleep(0.5)  # until the menu accepts keys
            leg = self.cell.leg("c", "talking")
            if leg is not None:
                await leg.press(act.how)

    # ---------------------------------------------------------------- it rings

    async def _answer(self, act: Act) -> None:
        leg = await self._ringing(act.who)
        if leg is None:
            return
        leg.phone.start_task(leg.answer())
        if self.consultation is not None:
            self.consultation.taker = leg
        await until(lambda: leg.state == "over" or self.cell.talks(leg))

    async def _refuse(self, act: Act) -> None:
        leg = await self._ringing(act.who)
        if leg is not None:
            leg.refuse(act.how)

    async def _divert(self, act: Act) -> None:
        leg = await self._ringing(act.who)
        if leg is not None:
            leg.refuse("302 Moved Temporarily", self.cell.number(act.to))

    async def _pickup(self, act: Act) -> None:
        target = await self._ringing(act.to)
        if target is None:
            return
        number = "*8" if act.how == "*8" else f"**{self.cell.number(act.to)}"
        leg = self.cell.phones[act.who].dial(number)
        if await self._reaches_somebody(leg) and leg.state == "talking":
            self.cell.done("pickup", act.who)

    async def _reaches_somebody(self, leg: Leg) -> bool:
        """Whether the call to a number at which the PBX answers at once is over, or both hear each other. An overloaded
        PBX drops the phone's INVITE, and may take one that is sent again when the script has gone on."""
        reached = await until(lambda: leg.state == "over" or self.cell.talks(leg))
        assert leg.state != "dialling", "the PBX did not answer a phone"
        return reached

    async def _ring_out(self, act: Act) -> None:
        """Waits until the phone of `who` stops ringing; without `who`, until no phone rings or will ring."""
        if act.who:
            await until(lambda: not self.cell.leg(act.who, "ringing"), _RINGS_OUT)
            return
        await until(lambda: self.cell.over(_SILENCE), _RINGS_OUT)

    # ---------------------------------------------------------------- they talk

    async def _talk(self, act: Act) -> None:
        await asyncio.sleep(float(act.how))

    async def _hold(self, act: Act) -> None:
        leg = self.cell.leg(act.who, "talking")
        if leg is None:
            return
        await leg.hold()
        await asyncio.sleep(0.6)
        if leg.state == "talking":
            await leg.hold(False)
            await until(lambda: leg.state == "over" or self.cell.talks(leg))

    async def _blind(self, act: Act) -> None:
        leg, number = self.cell.leg(act.who, "talking"), self.cell.number(act.to)
        began = time.time()
        if leg is not None and await self._send_on(leg, number, act.how):
            self.cell.done("blind", act.who, number, began)

    async def _park(self, act: Act) -> None:
        leg = self.cell.leg(act.who, "talking")
        talks = leg is not None and await until(lambda: self.cell.talks(leg), 2)
        began = time.time()
        if leg is not None and talks and await self._send_on(leg, self.cell.number("park"), act.how):
            self.cell.done("park", act.who, self.cell.number("slot"), began)

    async def _send_on(self, leg: Leg, number: str, how: str) -> bool:
        """Makes a blind transfer. Returns whether it worked, as the phone sees it."""
        parking = number == self.cell.number("park")
        if how == "code":
            await leg.press(self.codes["blind"] + number)
            return await (self._parked(leg) if parking else until(lambda: leg.state == "over", 8))
        if await leg.refer(number) != 202:
            return False
        if parking:
            return await self._parked(leg)
        await until(lambda: leg.state == "over" or leg.transfer_status >= 180)
        if 180 <= leg.transfer_status < 300:
            await leg.hang_up()  # phones hang up when the destination rings
        return leg.state == "over"

    async def _parked(self, leg: Leg) -> bool:
        """The PBX announces the parking slot; the script goes on without waiting for the end."""
        worked = await until(lambda: not leg.voice.hears)
        await asyncio.sleep(0.5)
        await leg.hang_up()
        return worked

    async def _retrieve(self, act: Act) -> None:
        """A call that nobody takes in time rings at who parked it: anybody else has got the call. They may hear nobody:
        of 120 calls parked behind Local channels, Asterisk passes on no audio in 1 to 3."""
        if not any(seen.what == "park" for seen in self.cell.log):
            return  # an empty slot says so for a while, and hangs up
        leg = self.cell.phones[act.who].dial(self.cell.number("slot"))
        heard = await self._reaches_somebody(leg)
        if leg.state == "talking" and (heard or not self.cell.rings()):
            self.cell.done("retrieve", act.who)

    async def _come_back(self, act: Act) -> None:
        await until(lambda: self.cell.leg(act.who, "ringing"), 8)

    # ---------------------------------------------------------------- they ask first

    async def _consult(self, act: Act) -> None:
        leg, number = self.cell.leg(act.who, "talking"), self.cell.number(act.to)
        if leg is None or self.consultation is not None:
            return
        self.cell.done("consult", act.who, number)
        second = None
        if act.how == "refer":
            await leg.hold()
            second = self.cell.phones[act.who].dial(number)
        else:
            await leg.press(self.codes["consult"] + number)
        self.consultation = Consultation(act.who, number, leg, second)
        await until(lambda: self.cell.rings() or (second is not None and second.state == "over"), 6)

    async def _complete(self, act: Act) -> None:
        consultation, self.consultation = self.consultation, None
        if consultation is None:
            return
        first, second, began = consultation.first, consultation.second, time.time()
        if second is None:
            rings = consultation.taker is None and self.cell.rings()
            assert rings or consultation.taker is not None, "nobody took the call of the one who asks first"
            await first.hang_up()
            worked = rings or await until(lambda: self._other_hears(consultation))
        else:
            if second.state == "dialling":
                await until(lambda: second.remote_tag)
            accepted = await first.refer(consultation.to, second) if second.state != "over" else 0
            tried = accepted == 202 and await until(lambda: first.transfer_status >= 180 or first.state == "over")
            worked = tried and (first.state == "over" or first.transfer_status < 300)
            for leg in (first, second):
                await leg.hang_up()
        answered = consultation.taker
        to = answered.number if answered is not None else consultation.to
        self.cell.done("complete" if worked else "abort", act.who, to, began)

    def _other_hears(self, consultation: Consultation) -> bool:
        taker = consultation.taker
        return taker is not None and taker.voice.hears not in ("", self.cell.number(consultation.who))

    async def _abort(self, act: Act) -> None:
        consultation, self.consultation = self.consultation, None
        if consultation is None:
            return
        first, second, taker = consultation.first, consultation.second, consultation.taker
        if second is not None:
            await second.hang_up()
            if first.state == "talking":
                await first.hold(False)
        elif taker is not None and taker.state == "talking":
            await taker.hang_up()
        back = await until(lambda: first.state == "over" or self.cell.talks(first), 8)
        assert back or second is not None, "a machine took the call of the one who asks first"
        self.cell.done("abort", act.who)

    # ---------------------------------------------------------------- the end

    async def _hang_up(self, act: Act) -> None:
        leg = self.cell.leg(act.who, "talking", "dialling")
        if leg is not None and (act.how != "code" or not await self._hang_up_by_code(leg)):
            await leg.hang_up()

    async def _hang_up_by_code(self, leg: Leg) -> bool:
        """Returns whether the PBX has released the call: it lets only those who were dialled, or dialled themselves,
        do so by a code."""
        await leg.press(self.codes["hang_up"])
        pressed = time.time()
        released = await until(lambda: leg.state == "over", 2)
        if released:
            self.cell.left(leg, pressed)
        return released

    async def _finish(self) -> None:
        await until(lambda: all(leg.state == "over" for leg in self.cell.legs), _FAREWELL)
        first = self.cell.legs[0] if self.cell.legs else None
        if first is not None and first.state in ("talking", "dialling"):
            await first.hang_up()
            await asyncio.sleep(0.3)
        for leg in [leg for leg in self.cell.legs if leg.state != "over"]:
            await leg.hang_up()
        await until(lambda: all(leg.state == "over" for leg in self.cell.legs))
        for family, key in self._set:
            await self.orders.remember(family, key, "")

    async def _ringing(self, role: str) -> Leg | None:
        """The ringing call of this role, after all phones that ring together have begun."""
        await until(lambda: self.cell.leg(role, "ringing"))
        if self.cell.leg(role, "ringing"):
            await until(lambda: self.cell.quiet(_SETTLED))
        return self.cell.leg(role, "ringing")
