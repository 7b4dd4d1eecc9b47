"""Other drivers, dialplans and phones than those of a plain Asterisk with chan_pjsip: recordings and their stages."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from pbxhub.calls.ami_events import DialEnd, ParkedCall, Status
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.cel_rows import read_row
from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS, IncomingContexts
from pbxhub.calls.replay import replay
from pbxhub.calls.tracker import Tracker
from tests.support.made_events import CALLER, NEW, agent, at, event, stages_of
from tests.support.recordings import TRACES, VERSIONS, Stages, in_comparable_order, messages_of, more

EXPECTED: dict[str, Any] = json.loads((TRACES / "more-expected.json").read_text())
RECORDED = [name for name in more() if name.partition("/")[2] in EXPECTED]


def calls_of(name: str) -> list[Stages]:
    contexts = EXPECTED.get(name.partition("/")[2], {}).get("contexts") or DEFAULT_INCOMING_CONTEXTS
    calls: dict[str, Stages] = {}
    for stage in replay(more()[name], Tracker(contexts)):
        calls.setdefault(stage["call_id"], []).append(stage)  # type: ignore[arg-type]
    return [in_comparable_order(stages) for stages in calls.values()]


def wanted_of(name: str) -> list[Stages]:
    return [in_comparable_order(stages) for stages in EXPECTED[name.partition("/")[2]]["calls"]]


def without_consultations(got: list[Stages], wanted: list[Stages]) -> list[Stages]:
    """A consultation with somebody outside is an outgoing call of its own until the transfer; it is not in the file."""
    goes_out = any(stage["stage"].startswith("outgoing") for call in wanted for stage in call)
    return got if goes_out else [call for call in got if not call[0]["stage"].startswith("outgoing")]


@pytest.mark.parametrize("name", RECORDED)
def test_a_call_of_another_pbx_gives_its_stages(name: str) -> None:
    wanted = wanted_of(name)
    got = without_consultations(calls_of(name), wanted)
    assert [[stage["stage"] for stage in call] for call in got] == [
        [stage["stage"] for stage in call] for call in wanted
    ]
    for call, expected_call in zip(got, wanted, strict=True):
        for stage, expected in zip(call, expected_call, strict=True):
            assert {key: stage.get(key, "") for key in expected} == expected
            if stage["stage"] == "incoming.forward":
                assert stage.get("forward_from") == expected.get("forward_from")


@pytest.mark.parametrize(
    ("context", "incoming"),
    [
        ("from-trunk", True),
        ("from-trunk-sip-provider", True),
        ("from-did-direct", True),
        ("from-digital-2", True),
        ("SIP-TRUNK-mobile-incoming", True),
        ("SIP-TRUNK-mobile-outgoing", False),
        ("from-internal", False),
        ("not-from-trunk", False),
        ("From-Trunk", False),
        ("", False),
    ],
)
def test_a_context_is_an_incoming_one_when_its_whole_name_fits_a_pattern(context: str, incoming: bool) -> None:
    assert (context in IncomingContexts(DEFAULT_INCOMING_CONTEXTS)) is incoming


def test_only_the_star_is_special_in_a_pattern() -> None:
    assert "in.1" in IncomingContexts(["in.*"])
    assert "inx1" not in IncomingContexts(["in.*"])
    assert "from-trunk" not in IncomingContexts([])


def test_a_pattern_with_many_stars_does_not_hold_up_the_listener() -> None:
    begun = time.process_time()
    assert "a" * 60 not in IncomingContexts([f"{'*a' * 30}*b", "c"])
    assert time.process_time() - begun < 2
    assert "from-abab-x" in IncomingContexts(["from-*ab*-x"])
    assert "from-ab" in IncomingContexts(["x*", "from*b"])
    assert "ab" not in IncomingContexts(["ab*b"])


def names_of(*blocks: str) -> list[str]:
    return [name for name, _, _ in stages_of(*blocks)]


DOWN = {**NEW, "Channel": "SIP/provider-00000001", "ChannelStateDesc": "Down", "Exten": "s"}


def test_a_channel_that_reaches_ring_later_begins_an_incoming_call_with_the_numbers_it_has_then() -> None:
    ring = {**DOWN, "ChannelStateDesc": "Ring", "Exten": "5550100", "Timestamp": at(1)}
    begun = event("Newchannel", **{**DOWN, "Context": "default", "CallerIDNum": "<unknown>"})
    assert names_of(begun) == []
    ((name, _, values),) = stages_of(begun, event("Newstate", **ring))
    assert (name, values["caller"], values["dst"], values["trunk"], values["context"]) == (
        "incoming.before", "79161234567", "5550100", "provider", "from-trunk",
    )  # fmt: skip


def test_a_trunk_that_asterisk_itself_dials_is_no_incoming_call() -> None:
    dials = {f"Dest{name}": DOWN[name] for name in ("Channel", "Uniqueid", "Linkedid", "Context", "CallerIDNum")}
    dial = event("DialBegin", Timestamp=at(1), **dials, DialString="15551234@provider")
    up = event("Newstate", **{**DOWN, "ChannelStateDesc": "Up", "Timestamp": at(4)})
    assert "incoming.before" not in names_of(event("Newchannel", **DOWN), dial, up)


def test_a_trunk_learnt_from_an_incoming_call_is_a_trunk_of_outgoing_calls_whatever_its_context() -> None:
    came = [event("Newchannel", **NEW), event("Hangup", Timestamp=at(1), **CALLER, Cause="16")]
    own = {**NEW, "Channel": "PJSIP/101-00000008", "Uniqueid": "1795328662.8", "Linkedid": "1795328662.8"}
    own |= {"Context": "from-internal", "CallerIDNum": "101", "Exten": "15551234"}
    leg = {"DestChannel": "PJSIP/trunk-00000009", "DestUniqueid": "1795328662.9", "DestLinkedid": own["Linkedid"]}
    leg |= {"DestContext": "default", "DialString": "15551234@trunk"}
    gone = [event("Newchannel", **own), event("DialBegin", **{**own, **leg, "Timestamp": at(3)})]
    assert names_of(*gone) == []
    assert names_of(*came, *gone) == ["incoming.before", "incoming.after", "outgoing.before"]


def test_an_isdn_trunk_is_its_group_whatever_number_was_dialled() -> None:
    came = {**NEW, "Channel": "DAHDI/i1/79161234567-2"}
    own = {**NEW, "Channel": "PJSIP/101-00000008", "Uniqueid": "1795328662.8", "Linkedid": "1795328662.8"}
    own |= {"Context": "from-internal", "CallerIDNum": "101", "Exten": "15551234"}
    leg = {"DestChannel": "DAHDI/i1/15551234-3", "DestUniqueid": "1795328662.9", "DestLinkedid": own["Linkedid"]}
    leg |= {"DestContext": "default", "DialString": "g1/15551234"}
    fired = stages_of(
        event("Newchannel", **came), event("Hangup", Timestamp=at(1), **CALLER, Cause="16"),
        event("Newchannel", **own), event("DialBegin", **{**own, **leg, "Timestamp": at(3)}),
    )  # fmt: skip
    assert [(name, values["trunk"]) for name, _, values in fired] == [
        ("incoming.before", "i1"), ("incoming.after", "i1"), ("outgoing.before", "i1"),
    ]  # fmt: skip
    assert fired[-1][2]["dst"] == "15551234"


@pytest.mark.parametrize(
    "technology", ["Message", "UnicastRTP", "MulticastRTP", "AudioSocket", "Snoop", "Surrogate", "CBRec"]
)
def test_plumbing_is_never_a_caller(technology: str) -> None:
    assert names_of(event("Newchannel", **{**NEW, "Channel": f"{technology}/ast_msg_queue-00000001"})) == []


@pytest.mark.parametrize("name", ["Snoop/1795328662.1-00000001", "CBAnn/conf-00000001;1", "Announcer/ARI-00000001;2"])
def test_plumbing_keeps_no_call_open(name: str) -> None:
    helper = {**agent("101", 7, prefix=""), "Channel": name, "ChannelStateDesc": "Up"}
    assert names_of(
        event("Newchannel", **NEW),
        event("Newchannel", Timestamp=at(1), **helper),
        event("Hangup", Timestamp=at(2), **CALLER, Cause="16"),
    ) == ["incoming.before", "incoming.after"]


def rung(endpoint: str, caller_id: str, tracker: Tracker | None = None, number: int = 2) -> str:
    """Whom the hub names when this endpoint rings."""
    phone = {**agent("x", number, prefix=""), "Channel": f"PJSIP/{endpoint}-0000000{number}", "CallerIDNum": caller_id}
    dest = {f"Dest{name}": value for name, value in phone.items()}
    blocks = [
        event("Newchannel", **NEW),
        event("Newchannel", Timestamp=at(1), **{**phone, "ChannelStateDesc": "Down", "Exten": "s"}),
        event("DialBegin", Timestamp=at(number), **{**CALLER, **dest}, DialString=endpoint),
    ]
    return [str(values["forward_to"]) for name, _, values in stages_of(*blocks, tracker=tracker) if "forward" in name][
        -1
    ]


@pytest.mark.parametrize(
    ("endpoint", "caller_id", "extension"),
    [
        ("101", "101", "101"),
        ("anna2", "<unknown>", "anna2"),
        ("anna2", "105", "105"),
        ("desk-101", "<unknown>", "101"),
        ("201-WS", "<unknown>", "201"),
        ("0004f20a1b07", "<unknown>", "0004f20a1b07"),
        ("0004f20a1b07", "0441234567", "0004f20a1b07"),
        ("site1-2", "<unknown>", "2"),
        ("1-2", "<unknown>", "1-2"),
        ("101", "5550100", "101"),
        ("102", "55501", "102"),
        ("Anna", "107", "107"),
        ("anna", "107", "333"),
    ],
)
def test_an_employee_is_named_by_the_channel(endpoint: str, caller_id: str, extension: str) -> None:
    tracker = Tracker(endpoints={"anna": "333"}, own_numbers=["55501"])
    assert rung(endpoint, caller_id, tracker) == extension


def test_a_number_that_two_endpoints_show_names_neither_of_them() -> None:
    tracker = Tracker()
    assert rung("olga", "200", tracker, number=2) == "200"
    assert rung("petro", "200", tracker, number=3) == "petro"
    assert rung("olga", "200", tracker, number=4) == "olga"


def test_employees_that_are_added_while_the_hub_runs_are_named() -> None:
    tracker = Tracker()
    tracker.know_employees({"olga": "301"}, [])
    assert rung("olga", "<unknown>", tracker) == "301"


@pytest.mark.parametrize(
    "shown",
    ["anonymous", "Unavailable", "RESTRICTED", "<private>", "+withheld", "anonymous@anonymous.invalid", "<unknown>"],
)
def test_a_hidden_number_is_empty(shown: str) -> None:
    ((_, _, values),) = stages_of(event("Newchannel", **{**NEW, "CallerIDNum": shown}))
    assert "caller" not in values
    assert read_row({"cidnum": shown}).cidnum == "", "nor does CEL give it another one"


def test_a_name_that_begins_like_a_hidden_number_is_none() -> None:
    ((_, _, values),) = stages_of(event("Newchannel", **{**NEW, "CallerIDNum": "privateer"}))
    assert values["caller"] == "privateer"


def test_a_call_of_a_phone_that_says_ring_later_goes_out_and_was_not_asked_for_by_ami() -> None:
    own = {"Channel": "SIP/801-00000001", "CallerIDNum": "801", "Context": "from-internal", "Exten": "15551234"}
    trunk = {**agent("x", 2), "DestChannel": "SIP/provider-00000002", "DestContext": "from-pstn"}
    ((name, _, values),) = stages_of(
        event("Newchannel", **{**NEW, **own, "ChannelStateDesc": "Down"}),
        event("Newstate", **{**NEW, **own, "ChannelStateDesc": "Ring"}),
        event("DialBegin", Timestamp=at(1), **{**CALLER, **own, **trunk}, DialString="provider/15551234"),
    )
    assert (name, values["call_type"], values["extension"]) == ("outgoing.before", "out", "801")


# ---------------------------------------------------------------- who talks to the caller
def bridged(channel: dict[str, str], second: float, bridge: str = "b", kind: str = "basic") -> str:
    return event("BridgeEnter", Timestamp=at(second), **channel, BridgeUniqueid=bridge, BridgeType=kind)


def keys_of(*blocks: str) -> list[tuple[str, str]]:
    return [(name.removeprefix("incoming."), key) for name, key, _ in stages_of(*blocks)]


PHONE = agent("101", 2, prefix="")
ANSWERED = [
    event("DialBegin", Timestamp=at(1), **CALLER, **agent("101", 2), DialString="101"),
    event("DialEnd", Timestamp=at(2), **CALLER, **agent("101", 2), DialStatus="ANSWER"),
]
OTHER = {**agent("900", 90, "1795328662.90", prefix="")}
WITH_BRIDGES = bridged(OTHER, 0)  # any before tells that this stream has them


def test_a_question_on_the_employees_leg_is_no_pickup_before_the_caller_is_connected() -> None:
    asked = [WITH_BRIDGES, event("Newchannel", **NEW), *ANSWERED]
    refused = event("Hangup", Timestamp=at(6), **PHONE, Cause="16")
    end = event("Hangup", Timestamp=at(9), **CALLER, Cause="16")
    assert keys_of(*asked) == [("before", ""), ("forward", "101")]
    *_, (name, _, values) = stages_of(*asked, refused, end)
    assert (name, values["is_answered"]) == ("incoming.after", False)
    *_, (name, _, values) = stages_of(*asked, bridged(PHONE, 6), bridged(CALLER, 6))
    assert (name, values["extension"], values["waittime"]) == ("incoming.pickup", "101", 5)


def test_a_recording_with_bridges_tells_already_the_first_question_right() -> None:
    refused = [event("Hangup", Timestamp=at(6), **PHONE, Cause="16"), event("Hangup", Timestamp=at(9), **CALLER)]
    blocks = [event("Newchannel", **NEW), *ANSWERED, *refused, WITH_BRIDGES.replace(at(0), at(10))]
    *_, after = replay("\r\n".join(blocks).splitlines())
    assert (after["stage"], after["disposition"]) == ("incoming.after", "DECLINE")


def test_of_several_who_accept_the_question_only_the_one_who_is_connected_is_the_pickup() -> None:
    both = [
        event(name, Timestamp=at(second), **CALLER, **agent(extension, number), DialStatus="ANSWER")
        for name, second in (("DialBegin", 1), ("DialEnd", 2))
        for extension, number in (("101", 2), ("102", 3))
    ]
    connected = bridged(agent("102", 3, prefix=""), 5)
    assert keys_of(WITH_BRIDGES, event("Newchannel", **NEW), *both, connected)[-2:] == [
        ("forward", "102"), ("pickup", "102"),
    ]  # fmt: skip


def test_a_page_is_answered_by_the_first_who_answers() -> None:
    fired = stages_of(
        WITH_BRIDGES, event("Newchannel", **NEW), *ANSWERED,
        bridged(CALLER, 3, kind="base"), bridged(PHONE, 3, kind="base"),
        event("Hangup", Timestamp=at(9), **PHONE, Cause="16"), event("Hangup", Timestamp=at(9), **CALLER, Cause="16"),
    )  # fmt: skip
    assert (fired[-1][2]["disposition"], fired[-1][2]["extension"]) == ("ANSWERED", "101")


def logged_in(second: float) -> list[str]:
    return [
        event("Newchannel", Timestamp=at(second), **AGENT, ChannelStateDesc="Ring", Exten="*11"),
        bridged(AGENT, second + 1, "hold", "agent_hold"),
    ]


AGENT = agent("101", 50, "1795328662.50", prefix="")
MERGED = {**CALLER, "Linkedid": AGENT["Linkedid"]}  # the older one, as Asterisk has it


def test_an_agent_who_is_logged_in_talks_to_two_callers_and_stays_logged_in() -> None:
    blocks = logged_in(-5)
    for number in (1, 60):
        own = {"Uniqueid": f"1795328662.{number}", "Linkedid": f"1795328662.{number}"}
        start = float(number)
        blocks += [
            event("Newchannel", **{**NEW, **own, "Timestamp": at(start)}),
            bridged({**CALLER, **own}, start + 1),
            bridged(AGENT, start + 1.1),
            event("Hangup", Timestamp=at(start + 9), **{**MERGED, "Uniqueid": own["Uniqueid"]}, Cause="16"),
            bridged(AGENT, start + 9.2, "hold", "agent_hold"),
        ]
    tracker = Tracker()
    fired = stages_of(*blocks, tracker=tracker)
    assert [(name.removeprefix("incoming."), key) for name, key, _ in fired] == [
        ("before", ""), ("pickup", "101"), ("after", ""),
    ] * 2  # fmt: skip
    assert [values["billsec"] for name, _, values in fired if name.endswith("after")] == [7, 7]
    assert tracker.live_calls == 1


def test_the_whole_recording_of_an_agent_pool_ends_each_call_with_its_caller() -> None:
    calls = calls_of("more-small/pool22")
    assert [[stage["stage"] for stage in call] for call in calls] == [
        ["incoming.before", "incoming.pickup", "incoming.after"]
    ] * 2
    assert [call[-1]["disposition"] for call in calls] == ["ANSWERED", "ANSWERED"]


def test_a_transfer_that_comes_back_is_a_pickup_of_the_first_employee_again() -> None:
    transfer = {f"OrigTransferer{name}": value for name, value in PHONE.items()}
    transfer |= {f"SecondTransferer{name}": value for name, value in PHONE.items()}
    again = agent("101", 9, prefix="")
    local = {**agent("x", 5, prefix=""), "Channel": "Local/102@from-internal-00000001;1"}
    fired = stages_of(
        WITH_BRIDGES, event("Newchannel", **NEW), *ANSWERED, bridged(CALLER, 2), bridged(PHONE, 2),
        event("Newchannel", Timestamp=at(4), **local, ChannelStateDesc="Down", Exten="102"),
        event("AttendedTransfer", Timestamp=at(5), Result="Success", **transfer, DestType="App"),
        event("BridgeLeave", Timestamp=at(5), **PHONE), event("Hangup", Timestamp=at(5), **PHONE, Cause="16"),
        event("Newchannel", Timestamp=at(20), **again, ChannelStateDesc="Down", Exten="s"),
        bridged(again, 24),
        event("Hangup", Timestamp=at(30), **again, Cause="16"), event("Hangup", Timestamp=at(30), **CALLER, Cause="16"),
    )  # fmt: skip
    assert [(name, key) for name, key, _ in fired][-3:] == [
        ("incoming.forward", "102"), ("incoming.pickup", "101#2"), ("incoming.after", ""),
    ]  # fmt: skip
    assert "transfer_to" not in fired[-1][2]


def test_two_channels_bridged_by_ami_are_a_pickup() -> None:
    joined = {**agent("102", 4, prefix=""), "Linkedid": CALLER["Linkedid"]}
    assert keys_of(
        event("Newchannel", **NEW),
        event("Newchannel", Timestamp=at(1), **{**joined, "Linkedid": joined["Uniqueid"]}, ChannelStateDesc="Ring"),
        bridged(CALLER, 3),
        bridged(joined, 3),
    ) == [("before", ""), ("pickup", "102")]


def test_two_callers_joined_by_an_employee_go_on_apart_and_name_nobody_new() -> None:
    ids = {"Uniqueid": "1795328662.30", "Linkedid": "1795328662.30"}
    second = {**CALLER, **ids, "Channel": "PJSIP/trunk-00000030", "CallerIDNum": "79990000000"}
    line = agent("101", 31, ids["Linkedid"], prefix="")
    answers = {f"Dest{name}": value for name, value in line.items()}
    lines = {f"OrigTransferer{name}": value for name, value in PHONE.items()}
    lines |= {f"SecondTransferer{name}": value for name, value in line.items()}
    lines |= {"OrigTransfererConnectedLineNum": "79161234567", "SecondTransfererConnectedLineNum": "79990000000"}
    fired = stages_of(
        event("Newchannel", **NEW), *ANSWERED,
        event("Newchannel", **{**second, "Timestamp": at(3)}),
        event("DialBegin", **{**second, **answers, "Timestamp": at(4)}, DialString="101"),
        event("DialEnd", **{**second, **answers, "Timestamp": at(5)}, DialStatus="ANSWER"),
        event("AttendedTransfer", Timestamp=at(8), Result="Success", **lines, DestType="Bridge"),
        *[event("Hangup", Timestamp=at(8), **each, Cause="16") for each in (PHONE, line)],
        *[event("Hangup", Timestamp=at(20), **each, Cause="16") for each in (CALLER, second)],
    )  # fmt: skip
    assert [(name, values["call_id"]) for name, _, values in fired if name != "incoming.before"] == [
        ("incoming.forward", "1795328662.1"), ("incoming.pickup", "1795328662.1"),
        ("incoming.forward", "1795328662.30"), ("incoming.pickup", "1795328662.30"),
        ("incoming.after", "1795328662.1"), ("incoming.after", "1795328662.30"),
    ]  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_a_call_parked_so_quickly_that_parked_call_comes_first_was_picked_up_before(version: str) -> None:
    told = list(messages_of(version, "park_retrieve"))
    parked = next(message for message in told if isinstance(message, ParkedCall))
    told.remove(parked)
    told.insert(next(at for at, message in enumerate(told) if isinstance(message, DialEnd)), parked)
    tracker, plain = Tracker(), Tracker()
    keys, wanted = (
        [(stage.name, stage.key) for message in messages for report in one.feed(message) for stage in report.stages]
        for one, messages in ((tracker, told), (plain, messages_of(version, "park_retrieve")))
    )
    assert keys == wanted


def test_of_a_park_that_nobody_takes_the_caller_who_leaves_has_hung_up() -> None:
    parked = {f"Parkee{name}": value for name, value in CALLER.items()}
    fired = stages_of(
        event("Newchannel", **NEW), *ANSWERED,
        event("ParkedCall", Timestamp=at(5), **parked, ParkingSpace="701"),
        event("HangupRequest", Timestamp=at(5), **PHONE), event("Hangup", Timestamp=at(5), **PHONE, Cause="16"),
        event("HangupRequest", Timestamp=at(30), **CALLER), event("Hangup", Timestamp=at(30), **CALLER, Cause="16"),
    )  # fmt: skip
    assert fired[-1][2]["hangup_by"] == "caller"


def test_an_attended_transfer_to_a_group_that_still_rings_rings_its_members_for_the_caller() -> None:
    line = {**agent("101", 8, "1795328662.8", prefix=""), "Exten": "600"}
    ringing = [
        event("DialBegin", Timestamp=at(4), **line, **agent(each, number, "1795328662.8"), DialString=each)
        for each, number in (("102", 9), ("103", 10))
    ]
    lines = {f"OrigTransferer{name}": value for name, value in PHONE.items()}
    lines |= {f"SecondTransferer{name}": value for name, value in line.items()}
    transfer = event(
        "AttendedTransfer", Timestamp=at(5), Result="Success", **lines, SecondTransfererConnectedLineNum="600",
        DestType="App",
    )  # fmt: skip
    taken = event("DialEnd", Timestamp=at(7), **CALLER, **agent("103", 10), DialStatus="ANSWER")
    start = [event("Newchannel", **NEW), *ANSWERED, event("Newchannel", Timestamp=at(3), **line), *ringing]
    assert keys_of(*start, transfer, taken)[3:] == [
        ("forward", "600"), ("forward", "102"), ("forward", "103"), ("pickup", "103"),
    ]  # fmt: skip


# ---------------------------------------------------------------- after the hub was away
def status_of(channel: dict[str, str], second: float = 0, **more: str) -> Status:
    lines = {"Event": "Status", **channel, "Timestamp": at(second), "ChannelStateDesc": "Up", **more}
    message = parse("\n".join(f"{name}: {value}" for name, value in lines.items()))
    assert isinstance(message, Status)
    return message


def stock(tracker: Tracker, *channels: Status) -> list[tuple[str, str]]:
    now = datetime.fromtimestamp(float(at(20)), UTC)
    reports = tracker.resync(channels, now, "lost_while_disconnected")
    return [(stage.name.removeprefix("incoming."), stage.key) for report in reports for stage in report.stages]


def test_an_agent_and_the_caller_are_two_calls_for_a_hub_that_was_away() -> None:
    tracker = Tracker()
    agent_logged_in = status_of(AGENT, Application="AgentLogin", BridgeID="b", Seconds="9000")
    assert stock(tracker, agent_logged_in, status_of(MERGED, Application="Queue", BridgeID="b", Seconds="9")) == [
        ("before", ""), ("pickup", "101"),
    ]  # fmt: skip
    hangup = parse(event("Hangup", Timestamp=at(30), **MERGED, Cause="16"))
    assert hangup is not None
    (report,) = tracker.feed(hangup)
    assert (report.linkedid, [stage.name for stage in report.stages]) == (CALLER["Uniqueid"], ["incoming.after"])
    assert tracker.live_calls == 1


def test_an_agent_who_waits_is_nobodys_pickup_for_a_hub_that_was_away() -> None:
    waiting = status_of(AGENT, Application="AgentLogin", BridgeID="hold", Seconds="9000")
    assert stock(Tracker(), waiting, status_of(CALLER, Application="Queue", Seconds="9")) == [("before", "")]


def test_plumbing_that_lives_is_no_call_for_a_hub_that_was_away() -> None:
    media = {**CALLER, "Channel": "UnicastRTP/127.0.0.1:4000-0x1"}
    tracker = Tracker()
    assert stock(tracker, status_of(media)) == []
    assert tracker.live_calls == 0


def test_a_phone_that_is_still_asked_is_picked_up_when_it_is_connected_after_the_hub_was_away() -> None:
    tracker = Tracker()
    asked = status_of(PHONE, Application="AppDial", ConnectedLineNum=CALLER["CallerIDNum"], Seconds="3")
    assert stock(tracker, status_of(CALLER, Application="Dial", Seconds="9"), asked) == [
        ("before", ""), ("forward", "101"),
    ]  # fmt: skip
    fired = stages_of(bridged(PHONE, 25), bridged(CALLER, 25), tracker=tracker)
    assert [(name, key) for name, key, _ in fired] == [("incoming.pickup", "101")]
