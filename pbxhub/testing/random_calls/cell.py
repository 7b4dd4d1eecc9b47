"""A cell: the phones of one small company on the PBX, the numbers of its roles, and the log of what the phones saw."""

import time
from dataclasses import dataclass, replace
from typing import Literal

from pbxhub.testing.phones.light.leg import Leg, LegEvent
from pbxhub.testing.phones.light.phone import LightPhone

# Added by the player of the script: an act that has worked, as the phones have confirmed.
Done = Literal["blind", "consult", "complete", "abort", "park", "retrieve", "pickup"]
_TAKEN = ("answered", "connected")
_DIDS = {"queue": "10", "group": "11", "menu": "12", "followme": "13"}


@dataclass(frozen=True, slots=True)
class Moment:
    """One entry of the log. time: seconds since 1970. who: a number. to: where a call was sent. leg: the one that saw
    it."""

    time: float
    what: LegEvent | Done
    who: str
    to: str = ""
    status: int = 0
    leg: int = 0


class Cell:
    """name: two digits. phones: e1 to e6. main, second: the outside world behind the two trunks, for all cells."""

    def __init__(self, name: str, phones: dict[str, LightPhone], main: LightPhone, second: LightPhone) -> None:
        self.name, self.phones, self.main, self.second = name, phones, main, second
        self.begin(1)

    def begin(self, serial: int) -> None:
        """Prepares the next script: outside numbers that no script has used, and an empty log."""
        self.serial = serial
        self.out_of_order = False  # the main trunk
        self.cut = 0.0  # when somebody ended the Asterisk meanwhile
        self.legs: list[Leg] = []
        self.log: list[Moment] = []

    def saw(self, what: LegEvent, leg: Leg) -> None:
        """Logs what one of its phones sees."""
        if leg not in self.legs:
            self.legs.append(leg)
        to = leg.peer if what == "placed" else leg.diverted_to
        self.log.append(Moment(time.time(), what, leg.number, to, leg.status, id(leg)))
        if what == "rings" and leg.phone is self.main and self.out_of_order:
            leg.refuse("503 Service Unavailable")

    def cut_off(self) -> None:
        """The Asterisk has ended, and has not told everybody."""
        for leg in self.legs:
            leg.cut_off()

    def done(self, what: Done, who: str, to: str = "", when: float = 0.0) -> None:
        """Logs that an act has worked."""
        self.log.append(Moment(when or time.time(), what, self.number(who), to))

    def left(self, leg: Leg, when: float) -> None:
        """Logs that it was this phone that hung up, by a feature code, although the PBX has released it."""
        self.log = [replace(seen, what="left", time=when) if _is_release(seen, leg) else seen for seen in self.log]

    def number(self, role: str) -> str:
        """The number of a role, as employees dial it and phones show it."""
        if role.startswith("e"):
            return f"2{self.name}{role[1]}"
        if role == "m9":
            return f"89{self.name}0000009"
        if role.startswith("m"):
            return f"89{self.name}{self.serial:06d}{role[1]}"
        fixed = {
            "queue": f"4{self.name}0",
            "group": f"6{self.name}0",
            "park": f"7{self.name}0",
            "slot": f"7{self.name}1",
        }
        return fixed.get(role, f"79{self.name}{self.serial:06d}0")

    def did(self, role: str) -> str:
        """The number that the outside world dials to reach a role."""
        return f"55{self.name}0{_DIDS.get(role) or f'0{role[1]}'}"

    def leg(self, role: str, *states: str) -> Leg | None:
        """The latest call of a role in one of these states."""
        number = self.number(role)
        return next((leg for leg in reversed(self.legs) if leg.number == number and leg.state in states), None)

    def rings(self) -> bool:
        """Whether any phone rings."""
        return any(leg.state == "ringing" for leg in self.legs)

    def over(self, silence: float) -> bool:
        """Whether all calls are over. A queue pauses for a second between two rings."""
        states = {leg.state for leg in self.legs}
        silent = time.time() - self.log[-1].time > silence if self.log else False
        return not states.intersection(("ringing", "dialling")) and (silent or states == {"over"})

    def talks(self, leg: Leg) -> bool:
        """Whether the phone hears another phone, which has heard it since this call was answered."""
        taken = max((seen.time for seen in self.log if seen.leg == id(leg) and seen.what in _TAKEN), default=0.0)
        others = [each for each in self.legs if each.number == leg.voice.hears and each.state == "talking"]
        return any(each.voice.hears == leg.number and each.voice.heard_until > taken for each in others)

    def quiet(self, seconds: float) -> bool:
        """Whether no phone has begun to ring in the last `seconds`."""
        rang = [moment.time for moment in self.log if moment.what == "rings"]
        return not rang or time.time() - rang[-1] > seconds


def _is_release(seen: Moment, leg: Leg) -> bool:
    return seen.what == "released" and seen.leg == id(leg)


def cell_of(number: str) -> str:
    """The name of the cell to which a number belongs; empty when it belongs to none."""
    if len(number) in (7, 11) and number[:2] in ("55", "79", "89"):
        return number[2:4]
    return number[1:3] if len(number) == 4 and number[0] in "2467" else ""
