"""A disagreement reduced to the shortest script that still shows it: acts are left out, one by one, and what is left is
played again."""

from pbxhub.testing.random_calls.lab import Lab, Outcome
from pbxhub.testing.random_calls.script import Script

_BEGINNINGS = ("call", "dial", "order")
_ROUNDS = 12


async def reduce(lab: Lab, outcome: Outcome) -> Outcome:
    """The outcome of the shortest script found that disagrees in the same way; the one given when none is shorter."""
    shortest = outcome
    for _ in range(_ROUNDS):
        played = await lab.play_all(_shorter(shortest.script))
        still = [each for each in played if each.kind == outcome.kind and not each.failed]
        if not still:
            break
        shortest = still[0]
    return shortest


def _shorter(script: Script) -> list[Script]:
    """Each with one act less, those that lack a late one first; a call must still begin."""
    acts = range(len(script.acts) - 1, -1, -1)
    return [script.without(at) for at in acts if script.acts[at].verb not in _BEGINNINGS]
