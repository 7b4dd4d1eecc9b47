"""Reduces a script to the shortest one that shows the same difference: leaves out one act after the other and plays the
rest again."""

from pbxhub.testing.random_calls.lab import Lab, Outcome
from pbxhub.testing.random_calls.script import Act, Script

_BEGINNINGS = ("call", "dial", "order")
_ENDS_OF_CONSULTATIONS = ("complete", "abort")
_ROUNDS = 12


async def reduce(lab: Lab, outcome: Outcome) -> Outcome:
    """The outcome of the shortest script found that differs in the same way; the given outcome when none is shorter."""
    shortest = outcome
    for _ in range(_ROUNDS):
        played = await lab.play_all(shorter(shortest.script))
        still = [each for each in played if each.kind == outcome.kind and not each.failed]
        if not still:
            break
        shortest = still[0]
    return shortest


def shorter(script: Script) -> list[Script]:
    """The scripts with one act less, later acts left out first. The act that begins the call stays. A consultation is
    left out with its end: a caller who waits on hold until the call ends is heard by nobody, but talks."""
    found = []
    for at in range(len(script.acts) - 1, -1, -1):
        act = script.acts[at]
        if act.verb == "consult":
            ends = (later for later in range(at + 1, len(script.acts)) if _ends(script.acts[later], act))
            end = next(ends, None)
            found.append((script if end is None else script.without(end)).without(at))
        elif act.verb not in (*_BEGINNINGS, *_ENDS_OF_CONSULTATIONS):
            found.append(script.without(at))
    return found


def _ends(act: Act, consult: Act) -> bool:
    return act.verb in _ENDS_OF_CONSULTATIONS and act.who == consult.who
