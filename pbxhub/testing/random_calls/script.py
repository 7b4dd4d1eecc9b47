"""What is done in one random call: a list of acts, each with the roles that take part.

Roles: c is the outside caller; e1 to e6 are the phones of the cell; m1 to m3 and m9 are outside numbers behind the
trunks; queue, group, menu and followme are destinations in the dialplan. A script contains no numbers, so it can be
played in any cell.
"""

from dataclasses import dataclass
from typing import Literal

Verb = Literal[
    "set",  # who diverts calls (how: CF, CFB, CFU) to `to`
    "call",  # c calls `to` over the trunk `how`
    "dial",  # who calls `to`; how "second": the first trunk is out of order
    "order",  # the PBX is told to call who and then `to` (how: phone or local)
    "press",  # c presses the keys `how` in a menu
    "answer",  # who answers the ringing call
    "refuse",  # who refuses it with the status `how`
    "divert",  # who diverts it to `to` (302)
    "pickup",  # who picks up the call that rings at `to` (how: *8 or **)
    "ring_out",  # nobody does anything until the ringing stops
    "talk",  # `how` seconds pass
    "hold",  # who puts the other side on hold and resumes
    "blind",  # who transfers the other side to `to` (how: refer or code)
    "consult",  # who calls `to` before transferring the other side there (how: refer or code)
    "complete",  # who completes the transfer
    "abort",  # who returns to the first party
    "park",  # who parks the other side (how: refer or code)
    "retrieve",  # who retrieves it from its slot
    "come_back",  # nobody retrieves it: it rings at who parked it
    "hang_up",  # who hangs up (how: nothing, or code)
]


@dataclass(frozen=True, slots=True)
class Act:
    """One step. Fields that its verb does not use are empty."""

    verb: Verb
    who: str = ""
    to: str = ""
    how: str = ""

    def __str__(self) -> str:
        return " ".join(word for word in (self.verb, self.who, f"-> {self.to}" if self.to else "", self.how) if word)


@dataclass(frozen=True, slots=True)
class Script:
    """name: seed and number, from which it can be drawn again. acts: in order; the first begins the call."""

    name: str
    acts: tuple[Act, ...]

    def without(self, at: int) -> "Script":
        """The same script with one act left out."""
        return Script(self.name, self.acts[:at] + self.acts[at + 1 :])

    def __str__(self) -> str:
        return ", ".join(str(act) for act in self.acts)
