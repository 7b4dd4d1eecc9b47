"""Random calls over trunks of other drivers than chan_pjsip."""

import asyncio

import pytest
from click.testing import CliRunner

from pbxhub.cli import main
from pbxhub.testing.pbx.asterisk import TrunkDriver, running_asterisk
from pbxhub.testing.random_calls.draw import draw
from pbxhub.testing.random_calls.lab import Lab, Outcome
from pbxhub.testing.random_calls.report import disagreeing


@pytest.mark.asterisk
@pytest.mark.parametrize("trunk", ["chan_sip", "iax2"])
def test_the_hub_tells_what_the_phones_saw_over_trunks_of_other_drivers(trunk: TrunkDriver) -> None:
    async def play() -> list[Outcome]:
        lab = Lab(pbx, "freepbx", 5)
        try:
            await lab.start()
            outcomes = await lab.play_all([draw(3, number, True) for number in range(10)])
            assert sum(not outcome.failed for outcome in outcomes) > 8
            return disagreeing(await lab.play_all([outcome.script for outcome in disagreeing(outcomes)]))
        finally:
            lab.close()

    with running_asterisk(16, dialplan="freepbx", cells=5, trunk=trunk) as pbx:
        wrong = asyncio.run(play())
    assert not wrong, "\n".join(f"{each.script}: {each.differences[0].sentence}" for each in wrong)


def test_chan_sip_is_refused_where_no_asterisk_has_it() -> None:
    done = CliRunner().invoke(main, ["scenario", "random", "--trunk", "chan_sip", "--asterisk", "22"])
    assert (done.exit_code, "add --asterisk 16" in done.output) == (2, True)
