"""Calls that go out over trunks and calls that are sent on: numbers, trunks and parties are the right ones."""

import pytest

from pbxhub.calls.phone_numbers import dialled_number
from tests.support.made_events import CALLER, NEW, agent, answered, at, event, stages_of

# ---------------------------------------------------------------- to the outside
OWN = {**agent("101", 1, prefix=""), "ChannelStateDesc": "Ring", "Exten": "15551234"}


def local(end: int, number: int, prefix: str = "Dest") -> dict[str, str]:
    named = {"Channel": f"Local/15551234@out-00000001;{end}", "Uniqueid": f"1795328662.{number}"}
    named |= {"Linkedid": "1795328662.1", "Context": "out"}
    return {f"{prefix}{header}": value for header, value in named.items()}


def trunk_leg(trunk: str, number: int) -> dict[str, str]:
    named = {"DestChannel": f"PJSIP/{trunk}-000000{number:02x}", "DestUniqueid": f"1795328662.{number}"}
    return named | {"DestLinkedid": "1795328662.1", "DestContext": "from-trunk"}


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("answered_early", [False, True])
def test_an_outgoing_call_through_a_local_channel_has_its_stages_in_either_order(
    swapped: bool, answered_early: bool
) -> None:
    near = event("DialBegin", Timestamp=at(1), **OWN, **local(1, 2), DialString="15551234@out")
    far = {**local(2, 3, ""), **trunk_leg("trunk", 4)}
    beyond = event("DialBegin", Timestamp=at(1.1), **far, DialString="15551234@trunk")
    answer = event("DialEnd", Timestamp=at(3), **far, DialStatus="ANSWER")
    dials = [beyond, answer, near] if answered_early else [beyond, near, answer] if swapped else [near, beyond, answer]
    fired = stages_of(
        event("Newchannel", **OWN, Timestamp=at(0)),
        event("Newchannel", **local(1, 2, ""), Timestamp=at(0.9), ChannelStateDesc="Down"),
        event("Newchannel", **local(2, 3, ""), Timestamp=at(0.9), ChannelStateDesc="Ring"),
        *dials,
        event("Hangup", Timestamp=at(9), Uniqueid="1795328662.4", Linkedid="1795328662.1", Cause="16"),
        event("Hangup", Timestamp=at(9), **OWN, Cause="16"),
    )
    assert [name for name, _, _ in fired] == ["outgoing.before", "outgoing.pickup", "outgoing.after"]
    after = fired[-1][2]
    assert (after["dst"], after["extension"], after["disposition"], after["billsec"]) == (
        "15551234",
        "101",
        "ANSWERED",
        6,
    )


@pytest.mark.parametrize("status", ["ANSWER", "CONGESTION"])
def test_a_call_that_goes_out_by_the_second_trunk_names_that_one(status: str) -> None:
    first, second = {**OWN, **trunk_leg("trunkA", 2)}, {**OWN, **trunk_leg("trunkB", 3)}
    fired = stages_of(
        event("Newchannel", **OWN, Timestamp=at(0)),
        event("DialBegin", Timestamp=at(1), **first, DialString="15551234@trunkA"),
        event("DialEnd", Timestamp=at(2), **first, DialStatus="CONGESTION"),
        event("DialBegin", Timestamp=at(2), **second, DialString="15551234@trunkB"),
        event("DialEnd", Timestamp=at(3), **second, DialStatus=status),
        event("Hangup", Timestamp=at(9), **OWN, Cause="16"),
        event("Hangup", Timestamp=at(9), Uniqueid="1795328662.2", Linkedid="1795328662.1", Cause="34"),
        event("Hangup", Timestamp=at(9), Uniqueid="1795328662.3", Linkedid="1795328662.1", Cause="16"),
    )
    assert [values["trunk"] for _, _, values in fired] == ["trunkA", *["trunkB"] * (len(fired) - 1)]
    assert fired[-1][0] == "outgoing.after"


@pytest.mark.parametrize(
    ("dial_string", "number"),
    [
        ("101", "101"),
        ("15551234@trunk", "15551234"),
        ("PJSIP/15551234@trunk", "15551234"),
        ("trunk/15551234", "15551234"),
        ("trunk/sip:15551234@10.0.0.1", "15551234"),
        ("PJSIP/trunk/sip:+15551234@10.0.0.1:5060", "+15551234"),
        ("PJSIP/sip:0671234567@10.0.0.1;transport=tcp", "0671234567"),
        ("trunk/sips:15551234@host", "15551234"),
        ("trunk/sip:15551234;phone-context=x@host", "15551234"),
        ("trunk/sip:10.0.0.1:5060", ""),
        ("tel:+380671234567;phone-context=ua", "+380671234567"),
        ("SIP:15551234@host", "15551234"),
        ("Local/103@from-internal/n", "103"),
        ("Local/103@from-internal-00000005;1", "103"),
        ("user:secret@peer/15551234", "15551234"),
        ("user:secret@peer/15551234@context", "15551234"),
        ("", ""),
    ],
)
def test_the_number_in_a_dial_string(dial_string: str, number: str) -> None:
    assert dialled_number(dial_string) == number


def ringing_outside(dial_string: str, second: float) -> list[str]:
    dial = {**CALLER, **trunk_leg("trunk", 7)}
    return [
        event("DialBegin", Timestamp=at(second), **dial, DialString=dial_string),
        event("DialEnd", Timestamp=at(second + 1), **dial, DialStatus="ANSWER"),
    ]


def forwards(*blocks: str) -> list[tuple[str, str]]:
    return [(values["forward_kind"], key) for name, key, values in stages_of(*blocks) if name == "incoming.forward"]


def blind_transfer(to: str, second: float) -> str:
    parties = {**agent("101", 2, prefix="Transferer")}
    parties |= {f"Transferee{header}": value for header, value in CALLER.items()}
    return event("BlindTransfer", Timestamp=at(second), Result="Success", **parties, Extension=to)


def test_a_transfer_to_a_number_that_the_dialplan_dials_without_its_prefix_is_one_destination() -> None:
    talking = [event("Newchannel", **NEW), *answered("101", 2, 1), blind_transfer("915551234", 4)]
    told = stages_of(*talking, *ringing_outside("trunk/sip:15551234@host", 5))
    assert [(name, key) for name, key, _ in told][3:] == [
        ("incoming.forward", "915551234"),
        ("incoming.pickup", "15551234"),
    ]
    assert forwards(*talking, *ringing_outside("5559999@trunk", 5))[1:] == [
        ("blind_transfer", "915551234"),
        ("ring", "5559999"),
    ]


def test_a_diversion_to_a_number_that_the_dialplan_dials_with_a_prefix_is_one_destination() -> None:
    dial = {**CALLER, **agent("101", 2)}
    diverted = [
        event("Newchannel", **NEW),
        event("DialBegin", Timestamp=at(1), **dial, DialString="101"),
        event("DialEnd", Timestamp=at(2), **dial, DialStatus="CANCEL", Forward="PJSIP/sip:0671234567@host"),
    ]
    assert forwards(*diverted, *ringing_outside("380671234567@trunk", 3)) == [
        ("ring", "101"),
        ("diversion", "0671234567"),
    ]


def test_the_members_of_a_group_that_a_transfer_names_ring_each_for_itself() -> None:
    talking = [event("Newchannel", **NEW), *answered("101", 2, 1), blind_transfer("600", 4)]
    members = [
        event("DialBegin", Timestamp=at(5), **CALLER, **agent("102", 3), DialString="102"),
        *ringing_outside("15551234@trunk", 5),
    ]
    assert forwards(*talking, *members)[1:] == [("blind_transfer", "600"), ("ring", "102"), ("ring", "15551234")]


# ---------------------------------------------------------------- attended transfers
CONSULTED = {**agent("101", 8, "1795328662.8", ""), "ChannelStateDesc": "Ring", "Exten": "102"}


def colleague_answers(begin: float) -> list[str]:
    """101 calls 102 from a second line, which is a call between extensions."""
    dial = {**CONSULTED, **agent("102", 9, "1795328662.8")}
    return [
        event("Newchannel", Timestamp=at(begin), **CONSULTED),
        event("DialBegin", Timestamp=at(begin), **dial, DialString="102"),
        event("DialEnd", Timestamp=at(begin + 1), **dial, DialStatus="ANSWER"),
    ]


def attended(original: dict[str, str], second: dict[str, str], connected: tuple[str, str], moment: float) -> str:
    prefixed = {f"OrigTransferer{header}": value for header, value in original.items()}
    prefixed |= {f"SecondTransferer{header}": value for header, value in second.items()}
    prefixed |= {"OrigTransfererConnectedLineNum": connected[0], "SecondTransfererConnectedLineNum": connected[1]}
    return event("AttendedTransfer", Timestamp=at(moment), Result="Success", **prefixed, DestType="Bridge")


TALKS, CONSULTS = agent("101", 2, prefix=""), agent("101", 8, "1795328662.8", "")
MOVED = event("BridgeEnter", Timestamp=at(5.9), **{**CONSULTS, "Linkedid": "1795328662.1"})


@pytest.mark.parametrize("moved_first", [False, True])
@pytest.mark.parametrize("older", ["caller", "colleague"])
@pytest.mark.parametrize("shown", ["79161234567", "9161234567"])
def test_an_attended_transfer_names_the_colleague_whichever_line_is_the_older(
    older: str, shown: str, moved_first: bool
) -> None:
    call = [event("Newchannel", **NEW), *answered("101", 2, 1)]
    lines = [*call, *colleague_answers(3)] if older == "caller" else [*colleague_answers(-3), *call]
    transfer = attended(TALKS, CONSULTS, (shown, "102"), 6)
    if older == "colleague":
        transfer = attended(CONSULTS, TALKS, ("102", shown), 6)
    fired = stages_of(*lines, *([MOVED] if moved_first else []), transfer)
    assert [(name, key) for name, key, _ in fired][-2:] == [("incoming.forward", "102"), ("incoming.pickup", "102")]


@pytest.mark.parametrize(("consultation", "party"), [(colleague_answers(3), "102"), ([], "7102")])
def test_the_new_party_is_the_one_who_was_consulted_and_what_the_line_shows_where_nobody_saw_it(
    consultation: list[str], party: str
) -> None:
    rewritten = attended(TALKS, CONSULTS, ("79161234567", "7102"), 6)
    fired = stages_of(
        event("Newchannel", **NEW),
        *answered("101", 2, 1),
        *consultation,
        rewritten,
        event("Hangup", Timestamp=at(6), **TALKS, Cause="16"),
        event("Hangup", Timestamp=at(6), **CONSULTS, Cause="16"),
        event("Hangup", Timestamp=at(66), **CALLER, Cause="16"),
        event("Hangup", Timestamp=at(66), **agent("102", 9, prefix=""), Cause="16"),
    )
    assert [(name, key) for name, key, _ in fired][3:5] == [("incoming.forward", party), ("incoming.pickup", party)]
    assert fired[-1][2]["billsec"] == 64


def test_two_outside_callers_whom_an_agent_joins_by_a_transfer_talk_until_they_hang_up() -> None:
    other = {**CALLER, "Channel": "PJSIP/trunk-00000005", "Uniqueid": "1795328662.5", "Linkedid": "1795328662.5"}
    other |= {"CallerIDNum": "79031234567"}
    line = {**agent("101", 6, "1795328662.5", "")}
    dial = {**other, **{f"Dest{header}": value for header, value in line.items()}}
    fired = stages_of(
        event("Newchannel", **NEW),
        *answered("101", 2, 1),
        event("Newchannel", **other, Timestamp=at(2)),
        event("DialBegin", Timestamp=at(2), **dial, DialString="101"),
        event("DialEnd", Timestamp=at(3), **dial, DialStatus="ANSWER"),
        attended(TALKS, line, ("79161234567", "79031234567"), 5),
        event("Hangup", Timestamp=at(5), **TALKS, Cause="16"),
        event("Hangup", Timestamp=at(5), **line, Cause="16"),
        event("Hangup", Timestamp=at(20), **CALLER, Cause="16"),
        event("Hangup", Timestamp=at(20), **other, Cause="16"),
    )
    ends = {values["call_id"]: values["billsec"] for name, _, values in fired if name == "incoming.after"}
    assert ends == {"1795328662.1": 18, "1795328662.5": 17}


def test_a_voice_bot_is_a_pickup_only_if_the_dialplan_says_so() -> None:
    bot = {"Channel": "AudioSocket/127.0.0.1:9092-1795328662.5", "Uniqueid": "1795328662.5"}
    leg = agent("101", 9)
    says = event("UserEvent", Timestamp=at(2), **CALLER, UserEvent="PBXHubPickup", By="bot")
    begun = event("Newchannel", **NEW) + event("Newchannel", **{**NEW, **bot, "Timestamp": at(1)})
    taken = [
        says, says,
        event("DialBegin", Timestamp=at(10), **CALLER, **leg, DialString="101"),
        event("DialEnd", Timestamp=at(13), **CALLER, **leg, DialStatus="ANSWER"),
    ]  # fmt: skip
    over = [event("Hangup", Timestamp=at(20), **CALLER, Cause="16")]
    over += [event("Hangup", Timestamp=at(20), **agent("101", 9, prefix=""), Cause="16")]
    fired = stages_of(begun, *taken, *over)
    assert [(name, key) for name, key, _ in fired] == [
        ("incoming.before", ""), ("incoming.pickup", "bot"), ("incoming.forward", "101"), ("incoming.pickup", "101"),
        ("incoming.after", ""),
    ]  # fmt: skip
    assert (fired[2][2]["forward_kind"], fired[2][2]["forward_from"]) == ("redirect", "bot")
    assert (fired[-1][2]["disposition"], fired[-1][2]["billsec"]) == ("ANSWERED", 18)
    (_, (name, _, values)) = stages_of(begun, over[0])
    assert (name, values["disposition"]) == ("incoming.after", "NO-FORWARD")
