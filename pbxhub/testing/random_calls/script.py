"""What is done in one random call: a list of acts, each with the roles that take part.

Roles: c the caller outside, e1 to e6 the phones of the cell, m1 to m3 and m9 outside numbers behind the trunks, queue,
group, menu and followme the destinations of the dialplan. A script knows no numbers: it can be played in any cell, and
with acts left out.
"""

from dataclasses import dataclass
from typing import Literal

Verb = Literal[
    "set",  # who has calls sent on (how: CF, CFB, CFU) to `to`
    "call",  # c calls `to` over the trunk `how`
    "dial",  # who calls `to`; how "second": the first trunk is out of order
    "order",  # the PBX is told to call who and then `to` (how: phone or local)
    "press",  # c presses the keys `how` in a menu
    "answer",  # who takes the call that rings there
    "refuse",  # who refuses it with the status `how`
    "divert",  # who sends it on to `to` (302)
    "pickup",  # who takes the call that rings at `to` (how: *8 or **)
    "ring_out",  # nobody does anything until it rings no more
    "talk",  # so many seconds pass (how)
    "hold",  # who puts the other side on hold and takes it back
    "blind",  # who sends the other side to `to` (how: refer or code)
    "consult",  # who asks `to` before sending the other side there (how: refer or code)
    "complete",  # who leaves the two others together
    "abort",  # who goes back to the first
    "park",  # who parks the other side (how: refer or code)
    "retrieve",  # who takes it from its slot
    "come_back",  # nobody takes it from its slot: it rings at who parked it
    "hang_up",  # who hangs up
]


@dataclass(frozen=True, slots=True)
class Act:
    """One step. Empty fields are not used by its verb."""

    verb: Verb
    who: str = ""
    to: str = ""
    how: str = ""

    def __str__(self) -> str:
        return " ".join(word for word in (self.verb, self.who, f"-> {self.to}" if self.to else "", self.how) if word)


@dataclass(frozen=True, slots=True)
class Script:
    """name: seed and number, which draw it again. acts: in their order; the first begins the call."""

    name: str
    acts: tuple[Act, ...]

    def without(self, at: int) -> "Script":
        """The same with one act left out."""
        return Script(self.name, self.acts[:at] + self.acts[at + 1 :])

    def __str__(self) -> str:
        return ", ".join(str(act) for act in self.acts)
