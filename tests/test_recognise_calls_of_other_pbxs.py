"""Other drivers, dialplans and phones than those of a plain Asterisk with chan_pjsip: recordings and their stages."""

import json
from typing import Any

import pytest

from pbxhub.calls.incoming_contexts import DEFAULT_INCOMING_CONTEXTS, IncomingContexts
from pbxhub.calls.replay import replay
from pbxhub.calls.tracker import Tracker
from tests.support.made_events import CALLER, NEW, agent, at, event, stages_of
from tests.support.recordings import TRACES, more
from tests.test_recognise_call_stages import Stages, in_comparable_order

EXPECTED: dict[str, Any] = json.loads((TRACES / "more-expected.json").read_text())
RECORDED = [name for name in more() if name.partition("/")[2] in EXPECTED]


def calls_of(name: str) -> list[Stages]:
    contexts = EXPECTED[name.partition("/")[2]].get("contexts") or DEFAULT_INCOMING_CONTEXTS
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


OPEN = {  # transfers behind Local channels, and consultations that lines do not tell
    "aba_queue", "att_out_gosub", "att_out_gosub_16", "atx_three", "d302_queue", "freepbx_atx", "park_by_refer_order",
    "queue_blind_busy", "redirect_behind_local",
    "25_16_attended_feature_company_number", "25_22_attended_refer_company_number",
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in RECORDED if name.partition("/")[2] not in OPEN])
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


@pytest.mark.parametrize("technology", ["Message", "UnicastRTP", "MulticastRTP", "AudioSocket", "Snoop", "Surrogate"])
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
