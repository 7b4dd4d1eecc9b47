"""A hub that is stopped or killed forgets nothing of the calls that live: what follows is as if it had not stopped."""

import asyncio
import gzip
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pbxhub.calls.ami_events import Message
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.replay import blocks, read
from pbxhub.calls.snapshot import dump, load
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.testing.hub.postgres import Cluster
from pbxhub.testing.pbx.recordings import Played, Recording
from tests.support.gaps import Pbx
from tests.support.hub import add_pbx, calls_of, listening, notes_of, pbx_of, stages_of
from tests.support.made_events import CALLER, NEW, agent, answered, at, event
from tests.support.pbx_line import HASTY, playing, until
from tests.support.recordings import EXPECTED, TRACES, VERSIONS, more, scenarios


@cache
def recordings() -> dict[str, tuple[Message, ...]]:
    recorded = {f"{version}/{name}": scenarios(version)[name] for version in VERSIONS for name in EXPECTED}
    return {name: tuple(read(lines)) for name, lines in (recorded | more()).items()}


class Hub:
    """A tracker, and what is written of it: stages and ends as they were told, and the notes on calls that live."""

    def __init__(self) -> None:
        self.tracker = Tracker()
        self.told: list[Any] = []
        self.notes: dict[str, Any] = {}

    def feed(self, message: Message) -> None:
        self.take(self.tracker.feed(message))

    def take(self, reports: Iterable[CallReport]) -> None:
        for report in reports:
            if report.stages or report.ended_on:
                values = {name: value for name, value in report.values.items() if report.stages}
                self.told.append((report.linkedid, report.stages, report.ended_on, report.disposition, values))
            assert report.memory is not None
            self.keep({report.linkedid: report.memory})

    def keep(self, notes: Any) -> None:
        """As a database keeps it: JSON, whose objects have no order."""
        for linkedid, memory in notes.items():
            self.notes[linkedid] = json.dumps(memory, sort_keys=True)
            if not memory:
                del self.notes[linkedid]

    def restart(self) -> None:
        """The last notes are written, within a second or when the hub stops, and a new process reads them."""
        self.keep(self.tracker.notes())
        assert self.notes == {
            linkedid: json.dumps(memory, sort_keys=True) for linkedid, memory in self.tracker.all_notes().items()
        }
        assert self.tracker.notes() == {}
        bridges_seen, self.tracker = self.tracker._live.bridges.seen, Tracker()
        self.tracker.restore({linkedid: json.loads(text) for linkedid, text in self.notes.items()})
        self.tracker._live.bridges.seen = bridges_seen  # where no call has been in a bridge, the next one tells it


def told(messages: Sequence[Message], cuts: Iterable[int] = ()) -> list[Any]:
    """What is told, call by call."""
    hub, places = Hub(), set(cuts)
    for place, message in enumerate(messages):
        if place in places:
            hub.restart()
        hub.feed(message)
    return sorted(hub.told, key=lambda each: each[0])


@pytest.mark.parametrize("name", recordings())
def test_a_hub_that_restarts_between_all_events_tells_every_stage_with_the_same_values(name: str) -> None:
    messages = recordings()[name]
    assert told(messages, range(len(messages))) == told(messages)


GROUPS = ("16/", "22/", "more-16/", "more-22/")  # in each, names of channels are unique


def some_of_a_group() -> st.SearchStrategy[list[str]]:
    """Names of one to four recordings of a group."""
    groups = [sorted(name for name in recordings() if name.startswith(group)) for group in GROUPS]
    return st.one_of(*(st.lists(st.sampled_from(group), min_size=1, max_size=4, unique=True) for group in groups))


@settings(max_examples=100, deadline=None)
@given(some_of_a_group(), st.integers(0, 2**32), st.lists(st.integers(0, 1000), max_size=4))
def test_a_hub_that_restarts_anywhere_in_many_calls_at_once_tells_the_same(
    names: list[str], seed: int, thousandths: list[int]
) -> None:
    random, waiting = Random(seed), [list(reversed(recordings()[name])) for name in names]
    mixed = []
    while waiting := [messages for messages in waiting if messages]:
        mixed.append(random.choice(waiting).pop())
    assert told(mixed, {len(mixed) * part // 1000 for part in thousandths}) == told(mixed)


@cache
def written_by_0_1_0() -> dict[str, Any]:
    """Name of a recording -> the event before which 0.1.0 was stopped, and what it had written of the calls."""
    with gzip.open(TRACES / "snapshots-of-0.1.0.json.gz") as file:
        return dict(json.load(file))


@pytest.mark.parametrize("name", written_by_0_1_0())
def test_a_call_that_0_1_0_was_following_goes_on_after_the_upgrade(name: str) -> None:
    messages, written = recordings()[name], written_by_0_1_0()[name]
    upgraded, same_version = Hub(), Hub()
    for message in messages[: written["cut"]]:
        same_version.feed(message)
    same_version.told.clear()
    upgraded.tracker.restore(written["notes"])
    for hub in (upgraded, same_version):
        for message in messages[written["cut"] :]:
            hub.feed(message)
    assert [outline_of(each) for each in upgraded.told] == [outline_of(each) for each in same_version.told]


def outline_of(told: Any) -> Any:
    """Which stages with which outcome: 0.1.0 wrote down less of a call than is known today."""
    linkedid, stages, ended_on, disposition, _ = told
    return linkedid, [(stage.name, stage.key) for stage in stages], ended_on, disposition


def streams() -> dict[str, list[str]]:
    lines = {f"{version}/{name}": scenarios(version)[name] for version in VERSIONS for name in EXPECTED}
    return {name: [block for block, _ in blocks(recorded)] for name, recorded in lines.items()}


@pytest.mark.parametrize("name", streams())
def test_a_hub_that_restarts_once_and_asks_asterisk_for_its_channels_tells_the_same(name: str) -> None:
    stream = streams()[name]
    heard = [(block, message) for block in stream if (message := parse(block)) is not None]
    undisturbed = told([message for _, message in heard])
    for cut in range(1, len(heard)):
        hub, pbx = Hub(), Pbx()
        for block, message in heard[:cut]:
            pbx.hear(block)
            hub.feed(message)
        hub.restart()
        now = datetime.fromtimestamp(heard[cut - 1][1].time, UTC)
        hub.take(hub.tracker.resync(pbx.status(), now, "lost_while_disconnected"))
        for _, message in heard[cut:]:
            hub.feed(message)
        assert sorted(hub.told, key=lambda each: each[0]) == undisturbed, f"after {heard[cut - 1][1]}"


@pytest.mark.parametrize("name", recordings())
def test_the_notes_that_are_written_are_the_whole_of_every_call_after_every_event(name: str) -> None:
    hub = Hub()
    for message in recordings()[name]:
        hub.feed(message)
        hub.keep(hub.tracker.notes())
        calls = hub.tracker._live._calls
        assert {linkedid: load(json.loads(text)) for linkedid, text in hub.notes.items()} == calls
        assert all(load(json.loads(json.dumps(dump(call)))) == call for call in calls.values())


def test_nothing_is_noted_again_while_nothing_happens() -> None:
    tracker = Tracker()
    tracker.feed(recordings()["22/answered_caller_hangup"][0])
    tracker.feed(recordings()["22/two_interleaved"][0])
    assert tracker.notes() == {}  # what was reported has its notes with it
    for message in recordings()["22/answered_caller_hangup"][1:3]:
        tracker.feed(message)
    assert len(tracker.notes()) == 1
    assert tracker.notes() == {}
    assert tracker.sweep(datetime.now(UTC)) == []
    assert tracker.notes() == {}


def said(name: str, second: float, **fields: str) -> str:
    return event("UserEvent", Timestamp=at(second), **CALLER, UserEvent=name, **fields)


BUSY = {**CALLER, **agent("101", 2)}
SILENT = {  # nothing of it makes a stage
    "an agent who was busy": [
        event("DialBegin", Timestamp=at(1), **BUSY, DialString="101"),
        event("DialEnd", Timestamp=at(2), **BUSY, DialStatus="BUSY"),
        event("Hangup", Timestamp=at(2), **agent("101", 2, prefix=""), Cause="17"),
    ],
    "a mark of the dialplan": [said("PBXHubDisposition", 3, Disposition="VOICEMAIL")],
    "variables, digits and the scheme": [
        said("PBXHubVar", 3, Name="crm_id", Value="77"),
        said("PBXHubVar", 3, Name="additional_number", Value="3"),
        said("PBXHubScheme", 3, Name="sales"),
    ],
    "a queue": [event("QueueCallerJoin", Timestamp=at(3), **CALLER, Queue="sales")],
    "hold": [
        *answered("102", 3, 4),
        event("Hold", Timestamp=at(6), **CALLER),
        event("Unhold", Timestamp=at(9), **CALLER),
    ],
    "who hung up": [*answered("102", 3, 4), event("HangupRequest", Timestamp=at(50), **CALLER)],
}


@pytest.mark.parametrize("what", SILENT)
def test_what_no_stage_has_told_yet_is_told_at_the_end_also_when_asterisk_was_asked_for_its_channels(what: str) -> None:
    talk = [event("Newchannel", **NEW), *SILENT[what]]
    ends = [
        event("Hangup", Timestamp=at(60), **channel, Cause="16") for channel in (agent("102", 3, prefix=""), CALLER)
    ]
    told = []
    for restarted in (False, True):
        hub, pbx = Hub(), Pbx()
        for block in talk:
            pbx.hear(block.replace("\r\n", "\n"))
            hub.feed(message_of(block))
        if restarted:
            hub.restart()
            hub.take(hub.tracker.resync(pbx.status(), datetime.fromtimestamp(float(at(55)), UTC), "pbx_restarted"))
        for block in ends[: 2 if "102" in str(talk) else None]:
            hub.feed(message_of(block))
        told.append(hub.told)
    assert told[0] == told[1]
    assert told[0][-1][1][0].name == "incoming.after"


def message_of(block: str) -> Message:
    message = parse(block)
    assert message is not None
    return message


def test_a_direction_said_for_a_call_that_is_no_history_yet_holds_after_a_restart() -> None:
    own = {**CALLER, "Channel": "PJSIP/101-00000001", "Context": "custom", "CallerIDNum": "101", "Exten": "79160001122"}
    gateway = {**agent("gw", 2), "DestContext": "custom", "DestCallerIDNum": "79160001122"}
    dial = {**own, **gateway}
    hub = Hub()
    for block in (
        event("Newchannel", **own, Timestamp=at(0)),
        event("UserEvent", Timestamp=at(1), **own, UserEvent="PBXHubDirection", Direction="outgoing"),
    ):
        hub.feed(message_of(block))
    assert hub.told == []
    hub.restart()
    hub.feed(message_of(event("DialBegin", Timestamp=at(2), **dial, DialString="79160001122@gw")))
    assert [stage.name for _, stages, *_ in hub.told for stage in stages] == ["outgoing.before"]


def test_the_trunks_of_the_calls_that_live_are_known_after_a_restart() -> None:
    outside = {**agent("provider", 2), "DestContext": "from-trunk"}
    hub = Hub()
    for block in (event("Newchannel", **NEW), event("DialBegin", **CALLER, **outside, DialString="15550001@provider")):
        hub.feed(message_of(block))
    known = set(hub.tracker._live.trunks)
    hub.restart()
    assert set(hub.tracker._live.trunks) == known == {"trunk", "provider"}


def test_a_call_that_was_absorbed_by_another_stays_absorbed_though_its_notes_are_older() -> None:
    """Killed between the stage that told of the transfer and the next notes: both are still written."""
    messages = recordings()["22/attended_refer"]
    hub, consultation = Hub(), ""
    for message in messages:
        hub.feed(message)
        new = hub.tracker.notes()
        hub.keep({linkedid: memory for linkedid, memory in new.items() if memory})
        consultation = consultation or next((linkedid for linkedid, memory in new.items() if not memory), "")
        if consultation:
            break
    assert set(hub.notes) > {consultation}
    hub.tracker = Tracker()
    hub.tracker.restore({linkedid: json.loads(text) for linkedid, text in hub.notes.items()})
    assert consultation not in hub.tracker.all_notes()
    assert hub.tracker.notes()[consultation] == {}


TALK = [
    event("Newchannel", **NEW),
    *SILENT["an agent who was busy"],
    *SILENT["variables, digits and the scheme"],
    *SILENT["a queue"],
    said("PBXHubDisposition", 3, Disposition="VOICEMAIL"),
]
REMEMBERED = {
    "disposition": "VOICEMAIL", "var.crm_id": "77", "additional_number": "3", "scheme_name": "sales", "queue": "sales",
    "end_reason": "hangup", "queue_wait": 57,
}  # fmt: skip


def recording(*talk: str) -> Recording:
    """To be played at once."""
    return Recording("made", tuple(Played(0.0, block.strip().replace("\r\n", "\n")) for block in talk))


@pytest.mark.parametrize("stopped", [False, True], ids=["killed", "stopped"])
def test_a_hub_that_was_gone_knows_all_of_a_call_that_lives(database: Database, stopped: bool) -> None:
    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database, stopped=stopped):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(recording(*TALK), speed=0)
                if stopped:  # whatever has not been written yet is written by the stop
                    await until(lambda: stages_of(database) == ["incoming.before", "incoming.forward"])
                else:
                    await until(lambda: "VOICEMAIL" in str(notes_of(database)))
            await until(lambda: player.listeners == 0)
            async with listening(database):
                await until(lambda: player.listeners == 1 and player.actions[-1]["Action"] == "CoreShowChannels")
                await player.play(recording(event("Hangup", Timestamp=at(60), **CALLER, Cause="16")), speed=0)
                await until(lambda: [call for call in calls_of(database) if call.ended_on])
        (call,) = calls_of(database)
        assert {name: call.data.get(name) for name in REMEMBERED} == REMEMBERED
        assert [leg["status"] for leg in call.data["legs"]] == ["BUSY"]
        assert notes_of(database) == {}

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_a_call_between_extensions_is_noted_while_it_lives_and_no_call_of_the_history_before_its_end(
    database: Database,
) -> None:
    own = {**CALLER, "Channel": "PJSIP/101-00000001", "Context": "from-internal", "CallerIDNum": "101", "Exten": "102"}

    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database, stopped=False):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(recording(event("Newchannel", **own, Timestamp=at(0))), speed=0)
                await until(lambda: notes_of(database))
            assert calls_of(database) == []
            async with listening(database):
                await until(lambda: player.listeners == 1 and player.actions[-1]["Action"] == "CoreShowChannels")
                await player.play(recording(event("Hangup", Timestamp=at(9), **own, Cause="16")), speed=0)
                await until(lambda: [call.direction for call in calls_of(database)] == ["internal"])
        assert notes_of(database) == {}

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_notes_that_change_while_the_database_is_away_are_written_once_when_it_is_back(cluster: Cluster) -> None:
    database = open_database(cluster.url("pbxhub"))
    migrate(database)

    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database, replace(HASTY, quiet=0.1), stage_memory=100):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(recording(event("Newchannel", **NEW)), speed=0)
                await until(lambda: notes_of(database))
                await asyncio.to_thread(cluster.stop)
                for second in range(300):  # more than its memory would take, were each one kept
                    changed = said("PBXHubVar", second / 10, Name="crm_id", Value=f"last {second}")
                    await player.play(recording(changed), speed=0)
                await asyncio.to_thread(cluster.start)
                await until(lambda: "last 299" in str(notes_of(database)))
                assert player.listeners == 1

    asyncio.run(asyncio.wait_for(scenario(), 60))
    database.close()


def test_what_a_stop_cannot_write_of_calls_that_live_is_in_the_file_for_the_next_start(
    cluster: Cluster, tmp_path: Path
) -> None:
    database = open_database(cluster.url("pbxhub"))
    migrate(database)

    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database, replace(HASTY, quiet=0.1), data_dir=tmp_path):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(recording(TALK[0]), speed=0)
                await until(lambda: notes_of(database))
                await asyncio.to_thread(cluster.stop)
                await player.play(recording(*TALK[1:]), speed=0)
                heard = len(player.actions)
                await until(lambda: len(player.actions) > heard + 1)  # two pings: everything was read
            await asyncio.to_thread(cluster.start)
            async with listening(database, data_dir=tmp_path):
                await until(lambda: player.listeners == 1 and player.actions[-1]["Action"] == "CoreShowChannels")
                await player.play(recording(event("Hangup", Timestamp=at(60), **CALLER, Cause="16")), speed=0)
                await until(lambda: [call for call in calls_of(database) if call.ended_on])
        (call,) = calls_of(database)
        assert {name: call.data.get(name) for name in REMEMBERED} == REMEMBERED
        assert list(tmp_path.iterdir()) == []

    asyncio.run(asyncio.wait_for(scenario(), 60))
    database.close()
