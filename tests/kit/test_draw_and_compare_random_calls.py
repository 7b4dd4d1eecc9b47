"""Random calls without a PBX: scripts are drawn the same again, and a difference has the right name."""

import pytest

from pbxhub.testing.random_calls.compare import differences, rough_differences
from pbxhub.testing.random_calls.draw import draw, kinds
from pbxhub.testing.random_calls.script import Act, Script
from pbxhub.testing.random_calls.truth import Call, Line

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
