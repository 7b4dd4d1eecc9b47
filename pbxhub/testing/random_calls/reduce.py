"""Reduces a script to the shortest one that shows the same difference: leaves out one act after the other and plays the
rest again."""

from pbxhub.testing.random_calls.lab import Lab, Outcome
from pbxhub.testing.random_calls.script import Script

_BEGINNINGS = ("call", "dial", "order")
_ROUNDS = 12


async def reduce(lab: Lab, outcome: Outcome) -> Outcome:
    """The outcome of the shortest script found that differs in the same way; the given outcome when none is shorter."""
    shortest = outcome
    for _ in range(_ROUNDS):
        played = await lab.play_all(_shorter(shortest.script))
        still = [each for each in played if each.kind == outcome.kind and not each.failed]
        if not still:
            break
        shortest = still[0]
    return shortest


def _shorter(script: Script) -> list[Script]:
    """The scripts with one act less, later acts left out first. The act that begins the call stays."""
    acts = range(len(script.acts) - 1, -1, -1)
    return [script.without(at) for at in acts if script.acts[at].verb not in _BEGINNINGS]
