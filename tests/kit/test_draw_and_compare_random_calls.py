"""Random calls without a PBX: scripts are drawn the same again, and a difference has the right name."""

import asyncio
from collections.abc import Sequence

import pytest

from pbxhub.testing.phones.light.leg import Leg
from pbxhub.testing.phones.light.phone import LightPhone
from pbxhub.testing.random_calls.cell import Cell, Moment
from pbxhub.testing.random_calls.compare import differences, rough_differences
from pbxhub.testing.random_calls.draw import draw, kinds
from pbxhub.testing.random_calls.reduce import shorter
from pbxhub.testing.random_calls.script import Act, Script
from pbxhub.testing.random_calls.truth import Call, Line, truth

BEFORE, AFTER = Line("incoming.before", ("79000000010", "5500001")), Line("incoming.after", ("ANSWERED",))
RING, PICKUP = Line("incoming.forward", ("ring", "2001")), Line("incoming.pickup", ("2001",))
OTHER_RING = Line("incoming.forward", ("ring", "2002"))
TRANSFER = Line("incoming.forward", ("blind_transfer", "2003", "2001"))


def incoming(
    *lines: Line, talk: float | None = 2.4, hangup_by: str = "caller", asides: frozenset[str] = frozenset()
) -> Call:
    return Call("incoming", (BEFORE, *lines, AFTER), talk, hangup_by, asides)


def found(saw: Call, *told: Call, park: str = "") -> list[str]:
    return [difference.kind for difference in differences(saw, told, park)]


def test_a_seed_draws_the_same_scripts_every_time() -> None:
    first = [draw(7, number, freepbx=True) for number in range(200)]
    assert first == [draw(7, number, freepbx=True) for number in range(200)]
    assert first != [draw(8, number, freepbx=True) for number in range(200)]


@pytest.mark.slow
def test_everything_is_drawn_sooner_or_later_and_nothing_that_is_off() -> None:
    scripts = [draw(1, number, freepbx=True) for number in range(1500)]
    verbs = {act.verb for script in scripts for act in script.acts}
    assert len(verbs) == 20
    off = {"blind refer", "call queue", "hold"}
    assert not off.intersection(*(kinds(draw(1, number, True, off)) for number in range(300)))


def test_a_plain_dialplan_sends_no_calls_on_by_itself() -> None:
    assert not any(act.verb == "set" for number in range(500) for act in draw(1, number, freepbx=False).acts)


def test_a_script_can_be_played_with_an_act_left_out() -> None:
    script = Script("1-1", (Act("call", "c", "e1", "main"), Act("answer", "e1"), Act("hang_up", "c")))
    assert str(script.without(1)) == "call c -> e1 main, hang_up c"


def test_a_script_is_reduced_by_whole_consultations() -> None:
    asked = (Act("consult", "e1", "e2", "refer"), Act("answer", "e2"), Act("abort", "e1"))
    script = Script("1-1", (Act("call", "c", "e1", "main"), Act("answer", "e1"), *asked))
    assert [str(each) for each in shorter(script)] == [
        "call c -> e1 main, answer e1, consult e1 -> e2 refer, abort e1",
        "call c -> e1 main, answer e1, answer e2",
        "call c -> e1 main, consult e1 -> e2 refer, answer e2, abort e1",
    ]


CALLING = "79000000010"


async def judge(phones: tuple[str, ...], seen: Sequence[tuple[float, str, str, str]]) -> Call:
    cell = Cell("00", {}, *(LightPhone(name, "127.0.0.1", "127.0.0.1", "", print) for name in ("main", "second")))
    cell.legs = [Leg(cell.main, number, "") for number in phones]
    legs = {leg.number: id(leg) for leg in cell.legs}
    cell.log = [Moment(when, what, who, to, leg=legs[who]) for when, what, who, to in seen]  # type: ignore[arg-type]
    for leg in cell.legs:
        leg.voice.close()
    return truth(cell)


def test_whoever_gives_up_a_consultation_and_then_transfers_has_not_hung_up() -> None:
    """2003 hangs up on the queue, transfers at once, and a moment later the phone of 2006 refuses."""
    seen = [
        (1.0, "placed", "2001", "8900"), (1.1, "rings", "8900", ""), (1.2, "answered", "8900", ""),
        (2.9, "placed", "2003", "4000"), (3.0, "left", "2003", ""), (3.1, "blind", "2003", "2006"),
        (3.2, "refused", "2006", ""), (3.3, "released", "8900", ""),
    ]  # fmt: skip
    assert asyncio.run(judge(("2001", "8900", "2003", "2006"), seen)).hangup_by == "pbx"


def test_a_talk_lasts_at_least_until_its_last_pickup() -> None:
    """On a busy machine, a caller who talks to somebody for half a second hears nobody."""
    seen = [
        (1.0, "placed", CALLING, "5500001"), (1.1, "rings", "2001", ""), (1.2, "pickup", "2001", ""),
        (1.5, "consult", "2001", "2002"), (1.6, "rings", "2002", ""), (1.8, "answered", "2002", ""),
        (3.4, "complete", "2001", "2002"), (5.0, "released", CALLING, ""),
    ]  # fmt: skip
    assert asyncio.run(judge((CALLING, "2001", "2002"), seen)).talk == pytest.approx(2.2)


def test_a_talk_lasts_until_a_transfer_by_a_feature_code_is_dialled() -> None:
    seen = [
        (1.0, "placed", CALLING, "5500001"), (1.1, "rings", "2001", ""), (1.2, "pickup", "2001", ""),
        (1.1, "connected", "2001", ""), (2.0, "blind", "2001", "8900"), (3.7, "released", "2001", ""),
        (9.0, "released", CALLING, ""),
    ]  # fmt: skip
    assert asyncio.run(judge((CALLING, "2001"), seen)).talk == pytest.approx(2.5)
    seen = [
        (1.0, "placed", "2001", "8900"), (1.1, "rings", "8900", ""), (1.2, "answered", "8900", ""),
        (2.0, "blind", "2001", "2002"), (3.7, "released", "2001", ""), (9.0, "left", "8900", ""),
    ]  # fmt: skip
    assert asyncio.run(judge(("2001", "8900"), seen)).talk == pytest.approx(2.5)


def test_a_colleague_who_gives_up_dialling_has_not_ended_the_call_of_another() -> None:
    """2003 dials for a pickup, and a busy PBX answers nothing; the queue ends the call half a second later."""
    seen = [
        (1.0, "placed", "2001", "8900"), (1.1, "rings", "8900", ""), (1.2, "answered", "8900", ""),
        (1.3, "connected", "2001", ""), (2.0, "blind", "2001", "4000"), (2.5, "released", "2001", ""),
        (2.6, "placed", "2003", "**2002"), (7.5, "left", "2003", ""), (8.0, "released", "8900", ""),
    ]  # fmt: skip
    assert asyncio.run(judge(("2001", "8900", "2003"), seen)).hangup_by == "pbx"


def test_what_agrees_has_no_difference() -> None:
    assert found(incoming(RING, OTHER_RING, PICKUP), incoming(OTHER_RING, RING, PICKUP)) == []
    assert found(Call("internal"), Call("internal")) == []


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (incoming(RING, OTHER_RING, TRANSFER), "missing incoming.pickup"),
        (incoming(RING, OTHER_RING, PICKUP), "missing incoming.forward blind_transfer"),
        (incoming(RING, OTHER_RING, PICKUP, PICKUP, TRANSFER), "extra incoming.pickup"),
        (incoming(RING, RING, PICKUP, TRANSFER), "wrong incoming.forward ring"),
        (incoming(RING, OTHER_RING, PICKUP, TRANSFER, hangup_by="pbx"), "hangup_by pbx instead of caller"),
        (incoming(RING, OTHER_RING, PICKUP, TRANSFER, talk=5.0), "wrong talk time"),
        (Call("internal"), "no incoming call"),
    ],
)
def test_a_difference_has_a_name(told: Call, kind: str) -> None:
    assert found(incoming(RING, OTHER_RING, PICKUP, TRANSFER), told) == [kind]


@pytest.mark.parametrize(("talk", "agrees"), [(1.0, True), (2.0, True), (3.0, True), (4.0, False), (0.0, False)])
def test_talk_time_may_be_a_second_off(talk: float, agrees: bool) -> None:
    assert (found(incoming(RING, PICKUP), incoming(RING, PICKUP, talk=talk)) == []) is agrees


def test_a_transfer_to_the_parking_extension_may_be_told_before_the_park() -> None:
    park = Line("incoming.forward", ("park", "7001", "2001"))
    to_parking = Line("incoming.forward", ("blind_transfer", "7000", "2001"))
    assert found(incoming(RING, PICKUP, park), incoming(RING, PICKUP, to_parking, park), park="7000") == []


def test_a_question_to_somebody_outside_may_be_a_call_of_its_own_but_only_whole() -> None:
    saw = incoming(RING, PICKUP, asides=["89000000011"])
    told = incoming(RING, PICKUP)
    before, after = Line("outgoing.before", ("2001", "89000000011")), Line("outgoing.after", ("ANSWERED",))
    assert found(saw, told, Call("outgoing", (before, after))) == []
    assert found(saw, told, Call("outgoing", (before,))) == ["extra outgoing call"]
    assert found(told, told, Call("outgoing", (before, after))) == ["extra outgoing call"]


def test_cel_must_tell_who_answered_first_and_how_it_ended() -> None:
    saw = incoming(RING, OTHER_RING, PICKUP, TRANSFER)
    assert rough_differences(saw, [incoming(PICKUP)]) == []
    wrong = rough_differences(saw, [incoming(Line("incoming.pickup", ("2002",)))])
    assert [difference.kind for difference in wrong] == ["wrong outcome"]
