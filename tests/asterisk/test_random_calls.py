"""Sixty random calls on a real Asterisk: the hub tells what the phones saw, also when it misses a part of them.

A disagreement is played again before it counts: on a busy machine a phone may be late, and then another call is played
than the script says. More, and other seeds: `pbxhub scenario random`.
"""

import asyncio

import pytest

from pbxhub.testing.pbx.asterisk import Dialplan, running_asterisk
from pbxhub.testing.random_calls.draw import draw
from pbxhub.testing.random_calls.gaps import Found, Gap, play_with_gaps
from pbxhub.testing.random_calls.lab import Lab, Outcome
from pbxhub.testing.random_calls.report import disagreeing

pytestmark = pytest.mark.asterisk
CALLS, AT_ONCE = 30, 10


async def play(lab: Lab, seed: int, freepbx: bool) -> list[Outcome]:
    """All that disagree, twice."""
    await lab.start()
    outcomes = await lab.play_all([draw(seed, number, freepbx) for number in range(CALLS)])
    assert sum(not outcome.failed for outcome in outcomes) > CALLS * 0.9
    again = await lab.play_all([outcome.script for outcome in disagreeing(outcomes)])
    return disagreeing(again)


@pytest.mark.parametrize(("dialplan", "seed"), [("plain", 1), ("freepbx", 2)])
def test_the_hub_tells_what_the_phones_saw(dialplan: Dialplan, seed: int) -> None:
    async def run() -> list[Outcome]:
        lab = Lab(pbx, dialplan, AT_ONCE)
        try:
            return await play(lab, seed, dialplan == "freepbx")
        finally:
            lab.close()

    with running_asterisk(22, dialplan=dialplan, cells=AT_ONCE) as pbx:
        wrong = asyncio.run(run())
    assert not wrong, "\n".join(f"{each.script}: {each.differences[0].sentence}" for each in wrong)


@pytest.mark.parametrize("kind", ["hub", "line", "pbx"])
def test_a_hub_that_misses_a_part_of_the_calls_tells_each_once_and_nothing_after_its_end(kind: Gap) -> None:
    async def run() -> Found:
        lab = Lab(pbx, "freepbx", AT_ONCE)
        try:
            await lab.start()
            scripts = [draw(4, number, True) for number in range(CALLS)]
            _, found = await play_with_gaps(lab, [kind], 4, lab.play_all(scripts))
            return found
        finally:
            lab.close()

    with running_asterisk(22, dialplan="freepbx", cells=AT_ONCE) as pbx:
        found = asyncio.run(run())
    assert not found, "\n".join(f"{outcome.script}: {difference.sentence}" for outcome, difference in found)
