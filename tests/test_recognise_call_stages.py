"""A call on a real Asterisk, recorded, gives exactly the stages it must."""

import gzip
import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from pbxhub.calls.ami_events import Status
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.replay import replay
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker
from pbxhub.webhooks.params import canonical
from tests.support.made_events import CALLER, NEW, agent, answered, at, event, stages_of
from tests.support.recordings import EXPECTED, VERSIONS, Stages, in_comparable_order, messages_of, scenarios, whole


def calls_of(lines: Any) -> list[Stages]:
    calls: dict[str, Stages] = {}
    for stage in replay(lines):
        calls.setdefault(stage["call_id"], []).append(stage)
    return [in_comparable_order(stages) for stages in calls.values()]


def assert_expected(name: str, got: list[Stages]) -> None:
    wanted = [in_comparable_order(stages) for stages in EXPECTED[name]["calls"]]
    assert [[stage["stage"] for stage in call] for call in got] == [
        [stage["stage"] for stage in call] for call in wanted
    ]
    for call, expected_call in zip(got, wanted, strict=True):
        for stage, expected in zip(call, expected_call, strict=True):
            assert {name: stage.get(name) for name in expected} == expected
            if stage["stage"] == "incoming.forward":
                assert stage.get("forward_from") == expected.get("forward_from")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EXPECTED)
def test_every_recorded_scenario_gives_its_stages(version: str, name: str) -> None:
    assert_expected(name, calls_of(scenarios(version)[name]))


@pytest.mark.parametrize("path", whole(), ids=lambda path: path.name)
def test_a_whole_recording_with_all_its_noise_gives_the_same(path: Any) -> None:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        assert_expected(path.name.partition("-")[2].removesuffix(".ami.gz"), calls_of(lines))


def test_a_capture_without_comments_gives_the_same() -> None:
    lines = [line for line in scenarios("22")["ring_group"] if not line.startswith("#")]
    assert_expected("ring_group", calls_of(lines))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EXPECTED)
def test_a_capture_without_any_time_gives_the_same(version: str, name: str) -> None:
    lines = [line for line in scenarios(version)[name] if not line.startswith(("#", "Timestamp:"))]
    assert_expected(name, calls_of(lines))


def last(version: str, name: str) -> dict[str, Any]:
    (call,) = calls_of(scenarios(version)[name])
    return call[-1]


def reports(version: str, name: str) -> list[CallReport]:
    tracker = Tracker()
    return [report for message in messages_of(version, name) for report in tracker.feed(message)]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_end_of_an_answered_call_tells_its_times_and_who_hung_up(version: str) -> None:
    after = last(version, "answered_caller_hangup")
    start, answer, end = (datetime.fromisoformat(after[name]) for name in ("calldate", "answer_time", "end_time"))
    assert after["duration_ms"] == round((end - start) / timedelta(milliseconds=1))
    assert after["duration"] == int((end - start).total_seconds())
    assert 0 <= after["billsec"] <= int((end - answer).total_seconds())
    assert after["waittime"] == int((answer - start).total_seconds())
    assert (after["hangup_by"], after["end_reason"], after["hangup_cause"]) == ("caller", "hangup", 16)
    assert (after["is_answered"], after["is_missed"], after["trunk"]) == (True, False, "trunk")
    (leg,) = after["legs"]
    assert (leg["extension"], leg["status"], leg["answer"]) == ("101", "ANSWERED", after["answer_time"])
    assert leg["ring"] == after["ring_time"] == int((answer - datetime.fromisoformat(leg["start"])).total_seconds())


@pytest.mark.parametrize("version", VERSIONS)
def test_an_agent_who_hangs_up_first_is_named(version: str) -> None:
    assert last(version, "answered_agent_hangup")["hangup_by"] == "employee"


@pytest.mark.parametrize("version", VERSIONS)
def test_hold_is_counted_and_timed(version: str) -> None:
    after = last(version, "hold")
    assert (after["hold_count"], after["hold_time"]) == (1, 1)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_queue_call_tells_the_queue_and_how_long_it_waited(version: str) -> None:
    after = last(version, "queue_second_answers")
    assert (after["queue"], after["queue_wait"], after["waittime"], after["ring_time"]) == ("support", 3, 3, 0)
    rang = [(leg["number"], leg["ring"], leg["status"]) for leg in after["legs"]]
    assert rang == [("101", 2, "NO ANSWER"), ("102", 0, "ANSWERED")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_caller_who_gives_up_in_the_queue_was_missed_there(version: str) -> None:
    after = last(version, "queue_abandon")
    assert (after["queue"], after["queue_wait"], after["is_missed"], after["billsec"]) == ("support", 1, True, 0)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("name", "kind"),
    [("blind_refer", "blind_transfer"), ("blind_feature", "blind_transfer"), ("attended_refer", "attended_transfer")],
)
def test_a_transfer_stays_in_the_parameters_of_the_end(version: str, name: str, kind: str) -> None:
    after = last(version, name)
    assert (after["transfer_type"], after["transfer_from"], after["transfer_to"]) == (kind, "101", "102")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_recorded_call_names_its_caller_and_its_file(version: str) -> None:
    after = last(version, "recorded")
    assert after["caller_name"] == "Иван Петров"
    assert after["has_recording"] is True


@pytest.mark.parametrize("version", VERSIONS)
def test_an_outgoing_call_shows_our_number_and_the_other_sides(version: str) -> None:
    before = calls_of(scenarios(version)["out_answered"])[0][0]
    wanted = {
        "caller": "15551234",
        "dst": "15551234",
        "outbound_number": "5550100",
        "trunk": "trunk",
        "call_type": "out",
    }
    assert {name: before[name] for name in wanted} == wanted


@pytest.mark.parametrize("version", VERSIONS)
def test_a_call_started_by_originate_is_a_callback(version: str) -> None:
    assert last(version, "originate_click2call")["call_type"] == "callback"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_call_between_extensions_is_reported_once_when_it_is_over(version: str) -> None:
    (report,) = reports(version, "internal")
    assert (report.direction, report.stages, report.caller, report.dst) == ("internal", (), "101", "102")
    assert (report.extension, report.disposition, report.memory) == ("102", "ANSWERED", {})
    assert report.ended_on is not None


@pytest.mark.parametrize("version", VERSIONS)
def test_a_consultation_is_no_call_of_its_own(version: str) -> None:
    assert len({report.linkedid for report in reports(version, "attended_refer")}) == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_the_end_of_the_conversation_is_not_the_end_of_the_call_while_the_caller_gives_marks(version: str) -> None:
    given = reports(version, "evaluation")
    after = next(report for report in given if any(stage.name == "incoming.after" for stage in report.stages))
    assert after.ended_on is None
    assert after.memory
    assert given[-1].ended_on is not None
    assert given[-1].memory == {}


def test_a_new_dial_after_the_answer_is_a_redirect() -> None:
    fired = stages_of(event("Newchannel", **NEW), *answered("101", 2, 1), *answered("102", 3, 5))
    assert [(name, key) for name, key, _ in fired] == [
        ("incoming.before", ""),
        ("incoming.forward", "101"),
        ("incoming.pickup", "101"),
        ("incoming.forward", "102"),
        ("incoming.pickup", "102"),
    ]
    assert (fired[3][2]["forward_kind"], fired[3][2]["forward_from"], fired[3][2]["forward_step"]) == (
        "redirect",
        "101",
        2,
    )


def attended_while_ringing() -> list[str]:
    second = agent("101", 8, "1795328662.8", "SecondTransferer")
    return [
        event(
            "Newchannel", Timestamp=at(3), **agent("101", 8, "1795328662.8", ""), Exten="102", ChannelStateDesc="Ring"
        ),
        event("DialBegin", Timestamp=at(4), **agent("101", 8, "1795328662.8", ""), **agent("102", 9, "1795328662.8")),
        event(
            "AttendedTransfer",
            Timestamp=at(5),
            Result="Success",
            **agent("101", 2, prefix="OrigTransferer"),
            **second,
            SecondTransfererConnectedLineNum="102",
            DestType="App",
        ),
    ]


def test_an_attended_transfer_completed_while_ringing_is_picked_up_when_the_new_party_answers() -> None:
    start = [event("Newchannel", **NEW), *answered("101", 2, 1), *attended_while_ringing()]
    assert [(name, key) for name, key, _ in stages_of(*start)][3:] == [("incoming.forward", "102")]
    answer = event("DialEnd", Timestamp=at(7), **CALLER, **agent("102", 9), DialStatus="ANSWER")
    assert [(name, key) for name, key, _ in stages_of(*start, answer)][4:] == [("incoming.pickup", "102")]


@pytest.mark.parametrize(
    ("cause", "status", "wanted"),
    [
        ("21", "NOANSWER", "DECLINE"),
        ("1", "NOANSWER", "FAILED"),
        ("0", "NOANSWER", "NO ANSWER"),
        ("17", "BUSY", "BUSY"),
        ("26", "CANCEL", "NO ANSWER"),
        ("34", "CONGESTION", "FAILED"),
    ],
)
def test_an_unanswered_leg_is_told_by_its_status_and_cause(cause: str, status: str, wanted: str) -> None:
    dial = {**CALLER, **agent("101", 2)}
    fired = stages_of(
        event("Newchannel", **NEW),
        event("DialBegin", Timestamp=at(1), **dial, DialString="101"),
        event("DialEnd", Timestamp=at(4), **dial, DialStatus=status),
        event("Hangup", Timestamp=at(4), **agent("101", 2, prefix=""), Cause=cause),
        event("Hangup", Timestamp=at(5), **CALLER, Cause="127"),
    )
    assert fired[-1][2]["disposition"] == wanted


def said(name: str, second: float, **fields: str) -> str:
    return event("UserEvent", Timestamp=at(second), **CALLER, UserEvent=name, **fields)


def test_the_dialplan_can_say_what_contexts_do_not_tell() -> None:
    fired = stages_of(
        event("Newchannel", **{**NEW, "Context": "custom"}),
        said("PBXHubDirection", 1, Direction="incoming"),
        said("PBXHubScheme", 2, Name="sales"),
        said("PBXHubVar", 2, Name="order", Value="17"),
        said("PBXHubVar", 2, Name="additional_number", Value="1"),
        said("PBXHubForward", 3, To="900", Kind="redirect"),
        said("PBXHubDisposition", 4, Disposition="VOICEMAIL"),
        said("PBXHubEvaluationStart", 5),
        said("PBXHubEvaluation", 6, Mark="4", CategoryNumber="2", CategoryMark="politeness"),
        event("Hangup", Timestamp=at(7), **CALLER, Cause="16"),
    )
    names = ["incoming.before", "incoming.forward", "incoming.after", "incoming.evaluation"]
    assert [name for name, _, _ in fired] == names
    after, evaluation = fired[2][2], fired[3][2]
    wanted = {"scheme_name": "sales", "var.order": "17", "additional_number": "1", "disposition": "VOICEMAIL"}
    assert {name: after[name] for name in wanted} == wanted
    assert (evaluation["evaluation_mark"], evaluation["category_number"]) == (4, "2")
    assert evaluation["category_mark"] == "politeness"


def test_the_dialplan_can_say_that_a_call_goes_out() -> None:
    own = {"Channel": "PJSIP/101-00000001", "Context": "custom", "CallerIDNum": "101", "Exten": "79160001122"}
    gateway = {**agent("gw", 2), "DestContext": "custom", "DestCallerIDNum": "79160001122"}
    dial = {**CALLER, **own, **gateway}
    fired = stages_of(
        event("Newchannel", **{**NEW, **own}),
        event("UserEvent", Timestamp=at(1), **{**CALLER, **own}, UserEvent="PBXHubDirection", Direction="outgoing"),
        event("DialBegin", Timestamp=at(2), **dial, DialString="79160001122@gw"),
        event("DialEnd", Timestamp=at(4), **dial, DialStatus="ANSWER"),
        event("Hangup", Timestamp=at(9), **gateway | {"Uniqueid": "1795328662.2", "Linkedid": NEW["Linkedid"]}),
        event("Hangup", Timestamp=at(9), **{**CALLER, **own}, Cause="16"),
    )
    assert [name for name, _, _ in fired] == ["outgoing.before", "outgoing.pickup", "outgoing.after"]
    assert (fired[0][2]["dst"], fired[0][2]["extension"]) == ("79160001122", "101")


def test_a_channel_variable_of_manager_conf_becomes_a_parameter_and_names_the_recording() -> None:
    block = event("Newchannel", **NEW) + "ChanVariable: ORDER=17\r\nChanVariable: MIXMONITOR_FILENAME=/m/1.wav\r\n"
    ((_, _, before),) = stages_of(block)
    assert (before["var.ORDER"], before["recording_file"]) == ("17", "/m/1.wav")


def test_a_number_asterisk_does_not_know_is_empty_and_not_invented() -> None:
    ((_, _, before),) = stages_of(event("Newchannel", **{**NEW, "CallerIDNum": "<unknown>"}))
    assert "caller" not in before


def silent_call() -> tuple[Tracker, CallReport, datetime]:
    tracker = Tracker(longest_silence=3600)
    message = parse(event("Newchannel", **NEW))
    assert message is not None
    (begun,) = tracker.feed(message)
    now = begun.started_on + timedelta(days=20_000)  # the clock of the PBX may be anywhere
    assert tracker.sweep(now) == []
    assert tracker.sweep(now + timedelta(minutes=59)) == []
    assert tracker.silent(now + timedelta(minutes=59)) == []
    assert tracker.sweep(now + timedelta(minutes=61)) == []
    assert tracker.silent(now + timedelta(minutes=61)) == [begun.linkedid]
    return tracker, begun, now + timedelta(minutes=61)


def test_a_call_silent_for_long_that_asterisk_does_not_know_any_more_ended_when_it_was_last_heard_of() -> None:
    tracker, begun, now = silent_call()
    other = parse("Event: Status\nUniqueid: 5.1\nLinkedid: 5.1\nChannel: PJSIP/1-1")
    assert isinstance(other, Status)
    (closed,) = tracker.expire([other], now)
    assert [stage.name for stage in closed.stages] == ["incoming.after"]
    assert (closed.values["end_reason"], closed.ended_on, tracker.live_calls) == ("expired", begun.started_on, 0)


def test_a_call_silent_for_long_that_lives_goes_on_and_is_asked_for_again_later() -> None:
    tracker, begun, now = silent_call()
    living = parse(event("Status", **CALLER).replace("\r\n", "\n"))
    assert isinstance(living, Status)
    assert tracker.expire([living], now) == []
    assert tracker.sweep(now + timedelta(minutes=59)) == []
    assert tracker.silent(now + timedelta(minutes=59)) == []
    assert tracker.sweep(now + timedelta(minutes=61)) == []
    assert tracker.silent(now + timedelta(minutes=61)) == [begun.linkedid]


def test_a_call_silent_for_twice_as_long_of_which_nobody_could_be_asked_is_closed() -> None:
    tracker, begun, now = silent_call()
    (closed,) = tracker.sweep(now + timedelta(minutes=60))
    assert (closed.values["end_reason"], closed.ended_on, tracker.live_calls) == ("expired", begun.started_on, 0)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EXPECTED)
def test_every_stage_is_json_and_names_only_parameters_of_the_catalogue(version: str, name: str) -> None:
    for stage in replay(scenarios(version)[name]):
        assert json.loads(json.dumps(stage)) == stage
        assert [key for key in stage if key not in ("stage", "time") and canonical(key) != key] == []


def test_a_consultation_with_an_outside_number_is_an_outgoing_call_that_ends_with_the_transfer() -> None:
    second = {**agent("101", 8, "1795328662.8", ""), "ChannelStateDesc": "Ring", "Exten": "15551234"}
    trunk = {"DestChannel": "PJSIP/trunk-00000009", "DestUniqueid": "1795328662.9", "DestLinkedid": "1795328662.8"}
    trunk |= {"DestContext": "from-trunk"}
    fired = stages_of(
        event("Newchannel", **NEW),
        *answered("101", 2, 1),
        event("Newchannel", Timestamp=at(3), **second),
        event("DialBegin", Timestamp=at(4), **second, **trunk, DialString="15551234@trunk"),
        event("DialEnd", Timestamp=at(5), **second, **trunk, DialStatus="ANSWER"),
        event(
            "AttendedTransfer",
            Timestamp=at(6),
            Result="Success",
            **agent("101", 2, prefix="OrigTransferer"),
            **agent("101", 8, "1795328662.8", "SecondTransferer"),
            SecondTransfererConnectedLineNum="15551234",
            DestType="Bridge",
        ),
        event("Hangup", Timestamp=at(7), **agent("101", 2, prefix=""), Cause="16"),
        event("Hangup", Timestamp=at(7), **second, Cause="16"),
        event("Hangup", Timestamp=at(9), **CALLER, Cause="16"),
        event("Hangup", Timestamp=at(9), Uniqueid="1795328662.9", Linkedid="1795328662.1", Cause="16"),
    )
    assert [(name, key) for name, key, _ in fired][3:] == [
        ("outgoing.before", ""),
        ("outgoing.pickup", ""),
        ("outgoing.after", ""),
        ("incoming.forward", "15551234"),
        ("incoming.pickup", "15551234"),
        ("incoming.after", ""),
    ]
    assert (fired[-1][2]["call_type"], fired[-1][2]["billsec"]) == ("transitin", 7)


def test_two_outside_callers_joined_by_an_agent_stay_two_calls_each_with_its_own_end() -> None:
    other = {**CALLER, "Channel": "PJSIP/trunk-00000005", "Uniqueid": "1795328662.5", "Linkedid": "1795328662.5"}
    joined = {**other, "Linkedid": "1795328662.1"}
    fired = stages_of(
        event("Newchannel", **NEW),
        event("Newchannel", **other, Timestamp=at(1)),
        event("BridgeEnter", **joined, Timestamp=at(2)),
        event("Hangup", **joined, Timestamp=at(3), Cause="16"),
        event("Hangup", **CALLER, Timestamp=at(4), Cause="16"),
    )
    assert [(name, values["call_id"]) for name, _, values in fired] == [
        ("incoming.before", "1795328662.1"),
        ("incoming.before", "1795328662.5"),
        ("incoming.after", "1795328662.5"),
        ("incoming.after", "1795328662.1"),
    ]
