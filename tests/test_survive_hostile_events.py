"""Whatever comes over the AMI connection, in whatever order: no exception, no stage invented, memory bounded."""

import json
import tracemalloc
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbxhub.calls import annotations as marks
from pbxhub.calls import live_calls as live
from pbxhub.calls.ami_events import (
    AttendedTransfer,
    BlindTransfer,
    Bridge,
    Cdr,
    DialBegin,
    DialEnd,
    FullyBooted,
    Message,
    Newchannel,
    ParkedCall,
    Pickup,
    Shutdown,
    UnParkedCall,
)
from pbxhub.calls.ami_headers import LONGEST_TEXT, LONGEST_VALUE, variables_of
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.replay import blocks
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker
from tests.support.recordings import EXPECTED, VERSIONS, messages_of, scenarios

RECORDED = [(version, name) for version in VERSIONS for name in EXPECTED]
Keys = dict[str, list[tuple[str, str]]]


def keys_of(reports: Iterable[CallReport]) -> Keys:
    """The stages of each call, in the order they fired."""
    calls: Keys = {}
    for report in reports:
        calls.setdefault(report.linkedid, []).extend((stage.name, stage.key) for stage in report.stages)
    return {linkedid: keys for linkedid, keys in calls.items() if keys}


def feed(messages: Iterable[Message], tracker: Tracker | None = None) -> list[CallReport]:
    tracker = tracker or Tracker()
    return [report for message in messages for report in tracker.feed(message)]


# ---------------------------------------------------------------- order across channels is not guaranteed
def channels_named(message: Message) -> set[str]:
    """Channels whose own order a message takes part in."""
    if isinstance(message, DialBegin):
        return {message.uniqueid, message.dest.uniqueid} - {""}
    if isinstance(message, DialEnd):
        return {message.uniqueid or message.dest.uniqueid}
    if isinstance(message, Newchannel):
        return {message.channel.uniqueid}
    uniqueid: str = getattr(message, "uniqueid", "")
    return {uniqueid}


WHOLE_CALL = (AttendedTransfer, BlindTransfer, ParkedCall, UnParkedCall, Pickup, Shutdown, FullyBooted, Cdr)


def keeps_order(earlier: Message, later: Message) -> bool:
    """Whether Asterisk never swaps these two: same channel, new channels, an answer and its hangup."""
    if isinstance(earlier, Newchannel) and isinstance(later, Newchannel):
        return True
    if isinstance(later, DialEnd) and later.status == "ANSWER" and isinstance(earlier, DialBegin | Newchannel):
        return bool(channels_named(earlier) & {later.uniqueid, later.dest.uniqueid})
    if isinstance(earlier, DialEnd) and earlier.status == "ANSWER" and not isinstance(later, Bridge):
        return bool(channels_named(later) & {earlier.uniqueid, earlier.dest.uniqueid}) or isinstance(later, WHOLE_CALL)
    if isinstance(earlier, WHOLE_CALL) or isinstance(later, WHOLE_CALL):
        return not (isinstance(earlier, Bridge) or isinstance(later, Bridge))
    return bool(channels_named(earlier) & channels_named(later))


@cache
def predecessors(version: str, name: str) -> tuple[frozenset[int], ...]:
    messages = messages_of(version, name)
    return tuple(
        frozenset(index for index in range(at) if keeps_order(messages[index], messages[at]))
        for at in range(len(messages))
    )


LONGEST_OVERTAKING = 1.0  # seconds


def shuffled(version: str, name: str, random: Random) -> list[Message]:
    """Another order that Asterisk could have sent the same events in: threads of different channels overtake each
    other by up to a second, but no consultation ends before the call that it is about was answered."""
    messages, before = messages_of(version, name), predecessors(version, name)
    waiting, sent, order = list(range(len(messages))), set[int](), []
    while waiting:
        latest = messages[waiting[0]].time + LONGEST_OVERTAKING
        ready = [index for index in waiting if before[index] <= sent and messages[index].time <= latest]
        chosen = random.choice(ready)
        waiting.remove(chosen)
        sent.add(chosen)
        order.append(messages[chosen])
    return order


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(RECORDED), st.integers(0, 2**32))
def test_any_order_that_keeps_each_channels_own_gives_the_same_stages(recorded: tuple[str, str], seed: int) -> None:
    wanted = keys_of(feed(messages_of(*recorded)))
    got = keys_of(feed(shuffled(*recorded, Random(seed))))
    assert {call: sorted(keys) for call, keys in got.items()} == {call: sorted(keys) for call, keys in wanted.items()}
    for keys in got.values():
        names = [name for name, _ in keys]
        assert names[0].endswith(".before")
        assert [name for name in names if "evaluation" not in name][-1].endswith(".after")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_phone_whose_events_come_after_the_hangup_of_the_caller_has_talked_to_the_caller(version: str) -> None:
    messages = messages_of(version, "answered_caller_hangup")
    phone = next(each.dest.uniqueid for each in messages if isinstance(each, DialBegin))
    tracker = Tracker()
    tracker.expect_bridges()
    told = feed(sorted(messages, key=lambda each: getattr(each, "uniqueid", "") == phone), tracker)
    assert keys_of(told) == keys_of(feed(messages))
    assert told[-1].values["hangup_by"] == "caller"


@pytest.mark.parametrize("recorded", RECORDED, ids="-".join)
def test_headers_in_another_order_are_read_as_ever(recorded: tuple[str, str]) -> None:
    version, name = recorded
    for block, _ in blocks(scenarios(version)[name]):
        assert parse("\n".join(sorted(block.splitlines()))) == parse(block)


# ---------------------------------------------------------------- repeated, cut, mixed up, made up
@pytest.mark.parametrize("recorded", RECORDED, ids="-".join)
def test_a_repeated_event_changes_nothing(recorded: tuple[str, str]) -> None:
    messages = messages_of(*recorded)
    wanted = keys_of(feed(messages))
    assert keys_of(feed(message for message in messages for _ in range(2))) == wanted
    tracker = Tracker()
    assert keys_of(feed(messages, tracker)) == wanted
    assert keys_of(feed(messages, tracker)) == {}


@cache
def wire() -> tuple[str, ...]:
    return tuple(block for version, name in RECORDED for block, _ in blocks(scenarios(version)[name]))


@cache
def all_messages() -> tuple[Message, ...]:
    return tuple(message for block in wire() if (message := parse(block)) is not None)


JUNK = st.text(st.characters(), max_size=40) | st.sampled_from(["\x00", "\ud800", "9" * 5000, "-1", "nan", "1e999", ""])


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A recorded block, cut short or with a value replaced, doubled or lost."""
    lines = draw(st.sampled_from(wire())).split("\n")
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        line, junk = lines[at], f"{lines[at].partition(':')[0]}: {draw(JUNK)}"
        lines[at : at + draw(st.integers(0, 1))] = draw(st.sampled_from([[], [line], [line[: len(line) // 2]], [junk]]))
        lines = lines or [""]
    text = draw(st.sampled_from(["\n", "\r\n"])).join(lines)
    return text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


def assert_consistent(tracker: Tracker) -> None:
    """Every channel of a call is in the index, and nothing else is."""
    live = tracker._live
    assert live._by_channel == {name: call for call in live._calls.values() for name in call.channels}
    aliases = {alias: call for call in live._calls.values() for alias in call.aliases}
    assert live._by_alias == aliases
    assert len(aliases) == sum(len(call.aliases) for call in live._calls.values())


def assert_storable(report: CallReport) -> None:
    for text in (report.linkedid, report.caller, report.dst, report.extension):
        assert len(text) <= LONGEST_TEXT
    assert len(report.caller) <= 80 >= len(report.extension)
    for stage in report.stages:
        assert len(stage.key) <= 200
    everything = json.dumps(
        [report.memory, {name: str(value) for name, value in report.values.items()}], ensure_ascii=False
    )
    assert "\x00" not in everything
    everything.encode()


@settings(max_examples=150, deadline=None)
@given(st.lists(damaged() | st.text(st.characters(), max_size=300), max_size=30))
def test_damaged_and_made_up_events_never_raise_and_stay_storable(texts: list[str]) -> None:
    tracker = Tracker()
    for text in texts:
        message = parse(text)
        if message is not None:
            for report in tracker.feed(message):
                assert_storable(report)
            assert_consistent(tracker)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_all_recordings_mixed_into_each_other_never_raise(seed: int) -> None:
    tracker, random = Tracker(most_calls=20), Random(seed)
    for message in random.choices(all_messages(), k=200):
        for report in tracker.feed(message):
            assert_storable(report)
        assert_consistent(tracker)
    assert tracker.live_calls <= 20


@pytest.mark.parametrize("stamp", ["", "nan", "inf", "-5", "1e30", "yesterday", "1" * 400])
def test_an_event_with_an_unusable_timestamp_counts_from_its_arrival(stamp: str) -> None:
    message = parse(f"Event: Newchannel\r\nTimestamp: {stamp}\r\nChannel: PJSIP/1-1\r\nUniqueid: 1.1\r\n", 1795328662.5)
    assert message is not None
    assert message.time == 1795328662.5


def test_of_a_repeated_header_the_first_counts_so_that_a_user_event_cannot_speak_for_another_call() -> None:
    message = parse("Event: UserEvent\nChannel: A/1-1\nUniqueid: 1.1\nUserEvent: X\nUniqueid: 2.2\nUniqueid: 3.3\n")
    assert getattr(message, "uniqueid", None) == "1.1"


def test_control_characters_and_lone_surrogates_are_replaced_and_long_values_cut() -> None:
    name = "a\x00b\ud800c\x1bd" + "e" * 10_000
    message = parse(f"Event: Newchannel\nChannel: PJSIP/1-1\nUniqueid: 1.1\nCallerIDName: {name}\n")
    assert isinstance(message, Newchannel)
    assert message.caller_name == ("a�b�c�d" + "e" * 10_000)[: LONGEST_VALUE - 1] + "…"


def test_a_value_is_whole_up_to_the_limit_and_the_path_of_a_recording_beyond_it() -> None:
    path, order = "/r/" + "x" * 4000 + ".wav", "y" * LONGEST_VALUE
    message = parse(
        f"Event: Newchannel\nChannel: PJSIP/1-1\nUniqueid: 1.1\nCallerIDName: {order}\n"
        f"ChanVariable: MIXMONITOR_FILENAME={path}\nChanVariable: ORDER={order}\nChanVariable: LONG={order}z\n"
    )
    assert isinstance(message, Newchannel)
    assert (message.caller_name, message.variables["ORDER"]) == (order, order)
    assert message.variables["MIXMONITOR_FILENAME"] == path
    assert message.variables["LONG"] == order[:-1] + "…"
    cdr = parse(f"Event: Cdr\nUniqueID: 1.1\nRecording: {path}\n")
    assert isinstance(cdr, Cdr)
    assert cdr.recording == path


# ---------------------------------------------------------------- memory is bounded
def new(number: int) -> str:
    unique = f"1795328662.{number}"
    return (
        f"Event: Newchannel\nTimestamp: 1795328662.1\nChannel: PJSIP/trunk-{number:08x}\nChannelStateDesc: Ring\n"
        f"Context: from-trunk\nExten: 5550100\nUniqueid: {unique}\nLinkedid: {unique}\n"
    )


def test_calls_without_end_are_bounded_and_the_oldest_is_closed() -> None:
    tracker = Tracker(most_calls=100)
    tracemalloc.start()
    sizes, closed = [], 0
    for number in range(6_900):
        message = parse(new(number))
        assert message is not None
        closed += sum(report.ended_on is not None for report in tracker.feed(message))
        if number % 2_300 == 2_299:
            sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert (tracker.live_calls, closed) == (100, 6_800)
    assert sizes[2] - sizes[1] < 500_000  # of 2,300 calls: the memory of what is over is nearly full by then


def dial(number: int) -> str:
    return (
        "Event: DialBegin\nTimestamp: 1795328662.1\nChannel: PJSIP/trunk-00000001\nUniqueid: 1795328662.1\n"
        f"Linkedid: 1795328662.1\nDestChannel: PJSIP/{number}-0001\nDestUniqueid: 1795328663.{number}\n"
        f"DestLinkedid: 1795328662.1\nDestContext: from-internal\nDialString: {number}\n"
    )


def test_one_call_that_rings_for_ever_is_bounded_and_still_ends_right() -> None:
    tracker = Tracker()
    sizes = []
    hangup = "Event: Hangup\nTimestamp: 1795328664\nUniqueid: 1795328663.{}\nLinkedid: 1795328662.1\nCause: 21\n"
    fed = [new(1), *(text for number in range(2, 800) for text in (dial(number), hangup.format(number)))]
    reports: list[CallReport] = []
    for text in fed:
        message = parse(text)
        assert message is not None
        reports = tracker.feed(message) or reports
        sizes.append(len(json.dumps(reports[-1].memory)) if reports else 0)
    assert max(sizes) < 40_000
    end = parse("Event: Hangup\nTimestamp: 1795328665\nUniqueid: 1795328662.1\nLinkedid: 1795328662.1\nCause: 16\n")
    assert end is not None
    (report,) = tracker.feed(end)
    assert report.disposition == "DECLINE"
    assert len(report.values["legs"]) <= 2 * live.MOST_ENDED  # type: ignore[arg-type]


def test_variables_of_a_call_are_bounded() -> None:
    tracker = Tracker()
    feed([message for text in [new(1)] if (message := parse(text)) is not None], tracker)
    said = (
        "Event: UserEvent\nUniqueid: 1795328662.1\nLinkedid: 1795328662.1\nUserEvent: PBXHubVar\nName: n{}\nValue: v\n"
    )
    feed([message for number in range(500) if (message := parse(said.format(number))) is not None], tracker)
    (report,) = tracker.resync((), datetime.fromisoformat("2027-01-01T00:00:00+00:00"), "pbx_restarted")
    assert sum(name.startswith("var.") for name in report.values) == marks.MOST_VARIABLES


# ---------------------------------------------------------------- forged and malformed marks
@pytest.mark.parametrize("mark", ["", "five", "-1", "5.5", "٥", "5" * 30, "5\x00"])
def test_a_mark_that_is_no_number_makes_no_stage(mark: str) -> None:
    event = (
        f"Event: UserEvent\nTimestamp: 1795328663\nUniqueid: 1795328662.1\nUserEvent: PBXHubEvaluation\nMark: {mark}\n"
    )
    reports: list[Any] = [message for text in (new(1), event) if (message := parse(text)) is not None]
    assert [name for name, _ in keys_of(feed(reports))["1795328662.1"]] == ["incoming.before"]


def test_a_mark_for_a_call_that_does_not_exist_is_ignored() -> None:
    message = parse("Event: UserEvent\nUniqueid: 9.9\nLinkedid: 9.9\nUserEvent: PBXHubEvaluation\nMark: 5\n")
    assert message is not None
    assert Tracker().feed(message) == []


def test_a_variable_that_is_not_set_in_asterisk_22_is_no_value() -> None:
    block = "Event: Status\r\nVariable: DIALEDPEERNUMBER=(null)\r\nVariable: MIXMONITOR_FILENAME=(null)\r\n"
    assert variables_of(block + "Variable: CDR(start)=2026-11-29 10:00:00\r\n") == {"CDR(start)": "2026-11-29 10:00:00"}
