"""The hub is killed, or loses its line to the PBX, at any moment: no stage is lost and none is made twice."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pbxhub.calls.ami_events import Hangup, Newchannel, Party, Status
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.replay import blocks
from pbxhub.calls.snapshot import outline
from pbxhub.calls.stages import JSON, CallReport
from pbxhub.calls.tracker import Tracker
from tests.support.gaps import Pbx, headers_of
from tests.support.recordings import EXPECTED, VERSIONS, scenarios

RECORDED = [(version, name) for version in VERSIONS for name in EXPECTED]


class Database:
    """What the hub has written: stages by their unique key, and the notes on open calls."""

    def __init__(self) -> None:
        self.fired: Counter[tuple[str, str, str]] = Counter()
        self.memories: dict[str, str] = {}
        self.last: dict[str, CallReport] = {}

    def write(self, reports: Iterable[CallReport]) -> None:
        for report in reports:
            self.last[report.linkedid] = report
            self.fired.update((report.linkedid, stage.name, stage.key) for stage in report.stages)
            if report.ended_on is None:
                self.memories[report.linkedid] = json.dumps(report.memory)
            else:
                self.memories.pop(report.linkedid, None)

    def outline(self, linkedid: str) -> Mapping[str, JSON]:
        fired: dict[str, list[str]] = {}
        for call, stage, key in self.fired:
            if call == linkedid:
                fired.setdefault(stage, []).append(key)
        return outline(self.last[linkedid], fired)

    def restored(self) -> Tracker:
        tracker = Tracker()
        notes: dict[str, dict[str, JSON]] = {linkedid: json.loads(text) for linkedid, text in self.memories.items()}
        tracker.restore(notes)
        return tracker


def events(version: str, name: str) -> list[str]:
    return [block for block, _ in blocks(scenarios(version)[name])]


def time_of(block: str) -> datetime:
    return datetime.fromtimestamp(float(headers_of(block).get("Timestamp", "0")), UTC)


def feed(tracker: Tracker, block: str, database: Database) -> None:
    message = parse(block)
    if message is not None:
        database.write(tracker.feed(message))


def undisturbed(version: str, name: str) -> Database:
    database, tracker = Database(), Tracker()
    for block in events(version, name):
        feed(tracker, block, database)
    return database


@pytest.mark.parametrize("recorded", RECORDED, ids="-".join)
def test_a_hub_killed_after_any_event_goes_on_with_exactly_the_remaining_stages(recorded: tuple[str, str]) -> None:
    wanted = undisturbed(*recorded).fired
    stream = events(*recorded)
    for cut in range(1, len(stream)):
        database, pbx, tracker = Database(), Pbx(), Tracker()
        for block in stream[:cut]:
            feed(tracker, block, database)
            pbx.hear(block)
        tracker = database.restored()
        database.write(tracker.resync(pbx.status(), time_of(stream[cut - 1]), "lost_while_disconnected"))
        for block in stream[cut:]:
            feed(tracker, block, database)
        assert database.fired == wanted, f"killed after event {cut}: {stream[cut - 1]}"
        assert database.memories == {}


@pytest.mark.parametrize("recorded", RECORDED, ids="-".join)
def test_a_line_lost_for_a_while_makes_no_stage_twice_and_loses_neither_beginning_nor_end(
    recorded: tuple[str, str],
) -> None:
    stream = events(*recorded)
    wanted = {key for key in undisturbed(*recorded).fired if key[1].endswith((".before", ".after"))}
    for cut in range(1, len(stream), 3):
        for missed in (2, 5, 11, len(stream)):
            database, pbx, tracker = Database(), Pbx(), Tracker()
            for block in stream[:cut]:
                feed(tracker, block, database)
            for block in stream[: cut + missed]:
                pbx.hear(block)
            now = time_of(stream[min(cut + missed, len(stream)) - 1])
            database.write(tracker.resync(pbx.status(), now, "lost_while_disconnected"))
            for block in stream[cut + missed :]:
                feed(tracker, block, database)
            assert max(database.fired.values(), default=1) == 1
            ends = {key for key in database.fired if key[1].endswith((".before", ".after"))}
            begun = {linkedid for linkedid, _, _ in database.fired}
            assert ends == {key for key in wanted if key[0] in begun}
            assert tracker.live_calls == 0


def statuses(version: str, name: str, action: str) -> list[Status]:
    found = [headers_of(block) | {"": block} for block, _ in blocks(scenarios(version)[name])]
    messages = [parse(headers[""]) for headers in found if headers.get("ActionID") == action]
    return [message for message in messages if isinstance(message, Status)]


def fired(reports: Iterable[CallReport]) -> dict[str, list[tuple[str, str]]]:
    return {report.caller: [(stage.name, stage.key) for stage in report.stages] for report in reports}


NOW = datetime(2026, 11, 22, 6, 29, 33, tzinfo=UTC)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("action", ["2", "3"])
def test_a_fresh_login_recognises_the_calls_that_go_on(version: str, action: str) -> None:
    """2: CoreShowChannels, 3: Status. Answered, ringing (by then answered by 101), in the IVR, waiting in a queue."""
    before = ("incoming.before", "")
    ring, pickup = ("incoming.forward", "101"), ("incoming.pickup", "101")
    assert fired(Tracker().resync(statuses(version, "reconnect", action), NOW, "lost_while_disconnected")) == {
        "7911": [before, ring, pickup],
        "7922": [before, ring, pickup],
        "7933": [before],
        "7944": [before, ("incoming.forward", "102")],
    }


def answered(version: str) -> list[str]:
    return events(version, "answered_caller_hangup")


@pytest.mark.parametrize("recorded", RECORDED, ids="-".join)
def test_calls_whose_notes_cannot_be_read_go_on_or_end_and_repeat_nothing(recorded: tuple[str, str]) -> None:
    stream = events(*recorded)
    wanted = {key for key in undisturbed(*recorded).fired if key[1].endswith((".before", ".after"))}
    for cut in range(1, len(stream), 2):
        for missed in (0, 5, len(stream)):
            database, pbx, tracker = Database(), Pbx(), Tracker()
            for block in stream[:cut]:
                feed(tracker, block, database)
            for block in stream[: cut + missed]:
                pbx.hear(block)
            tracker = Tracker()
            tracker.restore({linkedid: database.outline(linkedid) for linkedid in database.memories})
            now = time_of(stream[min(cut + missed, len(stream)) - 1])
            database.write(tracker.resync(pbx.status(), now, "lost_while_disconnected"))
            for block in stream[cut + missed :]:
                feed(tracker, block, database)
            assert max(database.fired.values(), default=1) == 1
            begun = {linkedid for linkedid, _, _ in database.fired}
            ends = {key for key in database.fired if key[1].endswith((".before", ".after"))}
            assert ends == {key for key in wanted if key[0] in begun}
            assert (tracker.live_calls, database.memories) == (0, {})
            if not missed and recorded[1].startswith(("answered", "out_", "evaluation", "busy", "hold")):
                assert database.fired == undisturbed(*recorded).fired


@pytest.mark.parametrize("version", VERSIONS)
def test_an_anonymous_caller_is_taken_up_again_by_a_restarted_hub(version: str) -> None:
    database, pbx = Database(), Pbx()
    stream = [re.sub(r"CallerIDNum: [0-9]{4,}", "CallerIDNum: <unknown>", block) for block in answered(version)]
    tracker = Tracker()
    for block in stream[: len(stream) // 2]:
        feed(tracker, block, database)
        pbx.hear(block)
    assert tracker.live_calls == 1
    assert database.restored().live_calls == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_a_clock_that_was_set_between_two_runs_of_the_hub_ends_no_call_that_lives(version: str) -> None:
    wanted = undisturbed(version, "answered_caller_hangup").fired
    database, pbx, tracker = Database(), Pbx(), Tracker()
    stream = answered(version)
    for block in stream[: len(stream) // 2]:
        feed(tracker, block, database)
        pbx.hear(block)
    tracker = database.restored()
    database.write(tracker.resync(pbx.status(), time_of(stream[len(stream) // 2]), "pbx_restarted"))
    for block in stream[len(stream) // 2 :]:
        feed(tracker, block, database)
    assert database.fired == wanted


def test_a_call_of_a_restarted_asterisk_that_is_known_already_goes_on_and_the_others_end_by_the_restart() -> None:
    tracker = Tracker()
    first = statuses("22", "reconnect", "3")
    tracker.resync(first, NOW, "lost_while_disconnected")
    of_one = [status for status in first if status.channel.uniqueid.endswith(".13")]
    new = of_one[0].channel._replace(uniqueid="1795328999.0", linkedid="1795328999.0")
    later = NOW + timedelta(seconds=9)
    tracker.feed(Newchannel(later.timestamp(), new, "Ring", "s", "", {}))
    live = [status._replace(channel=new) for status in of_one]
    reports = tracker.resync(live, later, "pbx_restarted", later)
    over = {report.linkedid: report.values["end_reason"] for report in reports if report.ended_on}
    assert set(over.values()) == {"pbx_restarted"}
    assert "1795328999.0" not in over
    assert tracker.channels() == {"1795328999.0"}


def test_calls_gone_meanwhile_end_with_the_reason_and_the_rest_goes_on() -> None:
    tracker = Tracker()
    first = statuses("22", "reconnect", "3")
    tracker.resync(first, NOW, "lost_while_disconnected")
    remaining = [status for status in first if status.channel.linkedid.endswith(".13")]
    reports = tracker.resync(remaining, NOW + timedelta(seconds=9), "lost_while_disconnected")
    assert {report.caller: report.disposition for report in reports if report.stages} == {
        "7911": "ANSWERED",
        "7933": "NO-FORWARD",
        "7944": "NO ANSWER",
    }
    for report in reports:
        assert [stage.name for stage in report.stages] == ["incoming.after"]
        assert report.values["end_reason"] == "lost_while_disconnected"
        assert report.ended_on == NOW + timedelta(seconds=9)
    assert tracker.live_calls == 1


@pytest.mark.parametrize("version", VERSIONS)
def test_an_asterisk_that_was_killed_ends_its_calls_when_it_is_back(version: str) -> None:
    database, tracker = Database(), Tracker()
    for block in events(version, "kill9"):
        feed(tracker, block, database)
    assert tracker.live_calls == 2
    reports = tracker.resync((), NOW, "pbx_restarted")
    assert [(report.disposition, report.values["end_reason"]) for report in reports] == [
        ("ANSWERED", "pbx_restarted"),
        ("NO ANSWER", "pbx_restarted"),
    ]


@pytest.mark.parametrize("version", VERSIONS)
def test_calls_of_a_killed_asterisk_last_no_longer_than_it_was_away(version: str) -> None:
    database, tracker = Database(), Tracker()
    for block in events(version, "kill9"):
        feed(tracker, block, database)
    last = max(time_of(block) for block in events(version, "kill9"))
    back = last + timedelta(seconds=20)
    ends = {report.ended_on for report in tracker.resync((), last + timedelta(hours=6), "pbx_restarted", back)}
    assert ends == {back}


def test_a_recording_that_began_in_the_gap_is_known_from_the_channel() -> None:
    tracker, told = Tracker(), {"MIXMONITOR_FILENAME": "/spool/one.wav", "CDR(start)": "2026-11-22 10:00:00"}
    live = [status._replace(variables=told) for status in statuses("22", "reconnect", "3")]
    tracker.resync(live, NOW, "lost_while_disconnected")
    reports = tracker.resync((), NOW + timedelta(seconds=9), "lost_while_disconnected")
    assert {report.values["recording_file"] for report in reports} == {"/spool/one.wav"}
    assert not any("CDR(start)" in report.values for report in reports)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_asterisk_that_stops_in_order_leaves_no_call_open(version: str) -> None:
    assert undisturbed(version, "stop_now").memories == {}


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {"linkedid": 5},
        {"linkedid": "1.1", "first": "1.1", "started": "x", "seen": 1.0, "channels": []},
        {"linkedid": "1.1", "first": "1.1", "started": 1.0, "seen": 1.0, "channels": 5},
    ],
)
def test_notes_that_cannot_be_read_are_left_out_and_the_call_is_found_by_resync(notes: dict[str, Any]) -> None:
    tracker = Tracker()
    tracker.restore({"1.1": notes})
    assert tracker.live_calls == 0


@pytest.mark.parametrize(("cause", "outcome"), [(21, "DECLINE"), (17, "BUSY"), (19, "NO ANSWER")])
def test_a_phone_that_asterisk_itself_rings_since_before_the_restart_decides_the_outcome(
    cause: int, outcome: str
) -> None:
    """The call of an order: of a channel that only rang nothing had been written."""
    party = Party("pbxhub-1", "pbxhub-1", "PJSIP/101-00000001", "from-internal", "101")
    channel = Status(100.0, party, "Ringing", "", "", "", "", "", 3, "AppDial2", {})
    tracker = Tracker()
    assert tracker.resync([channel], datetime.fromtimestamp(100, UTC), "lost_while_disconnected") == []
    (report,) = tracker.feed(Hangup(102.0, "pbxhub-1", "pbxhub-1", cause, "", {}))
    assert (report.direction, report.disposition) == ("internal", outcome)
