"""Light phones on cells: they ring, talk, are held, transferred and hung up, and know whom they hear."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from pbxhub.testing.pbx.asterisk import PASSWORD, Asterisk, Dialplan, running_asterisk
from pbxhub.testing.phones.light.leg import Leg, LegEvent
from pbxhub.testing.phones.light.phone import LightPhone
from pbxhub.testing.phones.light.until import until

pytestmark = pytest.mark.asterisk
CALLER = "79000000010"
Play = Callable[[dict[str, LightPhone]], Awaitable[None]]


def play(pbx: Asterisk, scene: Play) -> list[tuple[LegEvent, str]]:
    """Runs the scene with three phones of cell 00 and the outside world; returns what they saw, in order."""
    saw: list[tuple[LegEvent, str]] = []

    async def run() -> None:
        numbers = {"2001": PASSWORD, "2002": PASSWORD, "2003": PASSWORD, "outside": ""}
        phones = {
            number: LightPhone(
                number,
                pbx.network.address(host),
                pbx.address,
                password,
                lambda kind, leg: saw.append((kind, leg.number)),
            )
            for host, (number, password) in zip((101, 102, 103, 10), numbers.items(), strict=True)
        }
        try:
            for phone in phones.values():
                await phone.start()
            await scene(phones)
        finally:
            for phone in phones.values():
                phone.close()

    asyncio.run(run())
    pbx.wait_idle()
    return saw


async def take(phone: LightPhone) -> Leg:
    assert await until(lambda: phone.legs)
    leg = phone.legs[-1]
    phone.start_task(leg.answer())
    return leg


@pytest.fixture(scope="module", params=["plain", "freepbx"])
def pbx(request: pytest.FixtureRequest) -> "pytest.Generator[Asterisk]":
    dialplan: Dialplan = request.param
    with running_asterisk(22, dialplan=dialplan, cells=1) as running:
        yield running


def test_a_call_is_held_transferred_and_hung_up(pbx: Asterisk) -> None:
    async def scene(phones: dict[str, LightPhone]) -> None:
        caller = phones["outside"].dial("5500001", CALLER)
        first = await take(phones["2001"])
        assert await until(lambda: caller.voice.hears == "2001" and first.voice.hears == CALLER)
        await first.hold()
        assert await until(lambda: not caller.voice.hears)
        await first.hold(False)
        assert await until(lambda: caller.voice.hears)
        assert await first.refer("2002") == 202
        second = await take(phones["2002"])
        assert await until(lambda: caller.voice.hears == "2002" and first.transfer_status == 200)
        await first.hang_up()
        consultation = phones["2002"].dial("2003")
        await take(phones["2003"])
        assert await until(lambda: consultation.voice.hears == "2003")
        assert await second.refer("2003", consultation) == 202
        assert await until(lambda: caller.voice.hears == "2003" and consultation.state == "over")
        await caller.hang_up()
        assert await until(lambda: not phones["2003"].legs)

    saw = play(pbx, scene)
    assert [number for kind, number in saw if kind == "answered"] == ["2001", "2002", "2003"]
    assert ("left", CALLER) in saw
    assert ("released", "2003") in saw


def test_a_menu_and_a_queue_are_walked_by_keys(pbx: Asterisk) -> None:
    async def scene(phones: dict[str, LightPhone]) -> None:
        caller = phones["outside"].dial("5500012", CALLER)
        assert await until(lambda: caller.state == "talking")
        await asyncio.sleep(0.5)
        await caller.press("2")
        assert await until(lambda: all(phones[number].legs for number in ("2001", "2002", "2003")))
        phones["2001"].legs[0].refuse("603 Decline")
        member = await take(phones["2002"])
        assert await until(lambda: caller.voice.hears == "2002")
        await member.hang_up()
        assert await until(lambda: not phones["outside"].legs)

    saw = play(pbx, scene)
    assert ("refused", "2001") in saw
    assert ("stopped", "2003") in saw
    assert saw[-1] == ("released", CALLER)
