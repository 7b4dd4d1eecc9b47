"""The line to a PBX, the PBX, the database or the hub goes away in the middle of calls, and comes back."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text, update
from structlog.testing import capture_logs

from pbxhub.ami.channel_list import ReceivedEvent, read_channels, sort_held
from pbxhub.ami.connection import AmiConnection
from pbxhub.ami.manager_actions import build
from pbxhub.ami.protocol import SessionEndedError
from pbxhub.ami.publisher import Publisher
from pbxhub.calls.resync import why_gone
from pbxhub.calls.stages import CallReport
from pbxhub.calls.tracker import Tracker
from pbxhub.store.history import LiveCall
from pbxhub.store.migrate import migrate
from pbxhub.store.session import Database, open_database
from pbxhub.testing.hub.postgres import Cluster
from pbxhub.testing.pbx.pbx_player import PbxPlayer
from pbxhub.testing.pbx.recordings import freshen, read_recording, shipped
from tests.support.hub import add_pbx, answered, calls_of, listening, notes_of, pbx_of, stages_of
from tests.support.pbx_line import HASTY, address_of, line_to, playing, until

ANSWERED = ["incoming.before", "incoming.forward", "incoming.pickup", "incoming.after"]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def test_a_call_that_outlives_a_lost_line_goes_on_as_the_same_call(database: Database) -> None:
    async def scenario() -> None:
        talking, ending = answered()
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(talking, speed=0)
                await until(lambda: stages_of(database) == ANSWERED[:3])
                player.drop()
                await until(lambda: player.listeners == 0)
                await until(lambda: player.listeners == 1 and player.actions[-1]["Action"] == "CoreShowChannels")
                await player.play(ending, speed=0)
                await until(lambda: stages_of(database) == ANSWERED)
        (call,) = calls_of(database)
        assert call.disposition == "ANSWERED"
        assert "end_reason" not in call.data or call.data["end_reason"] not in ("lost_while_disconnected",)

    with capture_logs() as logged:
        run(scenario())
    lines = [line for line in logged if line["event"] == "PBX state changed"]
    assert {line["state"] for line in lines if line["log_level"] == "warning"} == {"lost"}
    assert {bool(line["reason"]) for line in lines if line["log_level"] == "warning"} == {True}


def test_a_call_that_ended_while_the_line_was_down_is_closed_with_that_reason(database: Database) -> None:
    async def scenario() -> None:
        talking, ending = answered()
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(talking, speed=0)
                await until(lambda: stages_of(database) == ANSWERED[:3])
                player.drop()
                await player.play(ending, speed=0)  # nobody hears it
                await until(lambda: stages_of(database) == ANSWERED)
        (call,) = calls_of(database)
        assert call.data["end_reason"] == "lost_while_disconnected"

    run(scenario())


def test_a_pbx_that_is_killed_and_comes_back_has_ended_its_calls(database: Database) -> None:
    async def scenario() -> None:
        talking, _ = answered()
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(talking, speed=0)
                await until(lambda: stages_of(database) == ANSWERED[:3])
                await player.kill()
                await until(lambda: pbx_of(database, pbx_id).state == "refused")  # nothing listens there now
                await player.start(player.port)
                await until(lambda: stages_of(database) == ANSWERED)
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
        (call,) = calls_of(database)
        assert call.data["end_reason"] == "pbx_restarted"

    run(scenario())


def test_a_hub_that_was_killed_goes_on_with_the_calls_that_were_open(database: Database) -> None:
    async def scenario() -> None:
        talking, ending = answered()
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database, stopped=False):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(talking, speed=0)
                await until(lambda: stages_of(database) == ANSWERED[:3])
            await until(lambda: player.listeners == 0)
            async with listening(database):
                await until(lambda: player.listeners == 1 and player.actions[-1]["Action"] == "CoreShowChannels")
                await player.play(ending, speed=0)
                await until(lambda: stages_of(database) == ANSWERED)
        assert len(calls_of(database)) == 1

    run(scenario())


def test_a_call_that_ended_while_the_hub_was_dead_is_closed_with_that_reason(database: Database) -> None:
    async def scenario() -> None:
        talking, ending = answered()
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database, stopped=False):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(talking, speed=0)
                await until(lambda: stages_of(database) == ANSWERED[:3])
            await until(lambda: player.listeners == 0)
            await player.play(ending, speed=0)
            async with listening(database):
                await until(lambda: stages_of(database) == ANSWERED)
        (call,) = calls_of(database)
        assert call.data["end_reason"] == "lost_while_disconnected"

    run(scenario())


@pytest.mark.parametrize("lives", [True, False])
def test_a_call_whose_notes_cannot_be_read_after_an_upgrade_does_not_stay_open(database: Database, lives: bool) -> None:
    async def scenario() -> None:
        talking, ending = answered()
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database, stopped=False):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(talking, speed=0)
                await until(lambda: stages_of(database) == ANSWERED[:3])
            with database.write() as session:
                session.execute(update(LiveCall).values(memory={"of": "another version"}))
            await until(lambda: player.listeners == 0)
            if not lives:
                await player.play(ending, speed=0)
            async with listening(database):
                await until(lambda: player.listeners == 1 and player.actions[-1]["Action"] == "CoreShowChannels")
                if lives:
                    await player.play(ending, speed=0)
                await until(lambda: stages_of(database) == ANSWERED)
                await until(lambda: all(call.ended_on for call in calls_of(database)))
        (call,) = calls_of(database)
        assert (call.disposition, notes_of(database)) == ("ANSWERED", {})
        assert call.data["end_reason"] == ("hangup" if lives else "lost_while_disconnected")

    run(scenario())


def test_a_call_silent_for_long_is_asked_for_and_closed_only_when_asterisk_does_not_know_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pbxhub.ami.pbx_listener._SWEEP", 0.05)
    monkeypatch.setattr("pbxhub.ami.pbx_rows.Tracker", partial(Tracker, longest_silence=0.5))

    async def scenario() -> None:
        talking, _ = answered()
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(talking, speed=0)

                def asked() -> int:
                    return [action["Action"] for action in player.actions].count("Status")

                before = asked()
                await until(lambda: asked() > before + 1)
                assert stages_of(database) == ANSWERED[:3]
                player._channels.clear()  # their hangups were never sent
                await until(lambda: stages_of(database) == ANSWERED)
        (call,) = calls_of(database)
        assert call.data["end_reason"] == "expired"

    run(scenario())


def test_two_listeners_on_one_pbx_write_every_stage_once(database: Database) -> None:
    async def scenario() -> None:
        (path,) = [path for path in shipped() if path.stem == "queue"]
        async with playing() as player:
            add_pbx(database, player)
            async with listening(database), listening(database):
                hear = 2 if database.is_sqlite else 1  # on PostgreSQL they share the PBXs
                await until(lambda: player.listeners == hear)
                await until(lambda: len([a for a in player.actions if a["Action"] == "CoreShowChannels"]) == hear)
                await player.play_all([freshen(read_recording(path), datetime.now(UTC)) for _ in range(10)], speed=0)
                await until(lambda: len([call for call in calls_of(database) if call.ended_on]) == 10)
        assert len(stages_of(database)) == 50

    run(scenario())


@contextmanager
def locked(database: Database) -> Iterator[None]:
    """Nobody else can write stages during the block."""
    with database.write() as session:
        if not database.is_sqlite:
            session.execute(text("LOCK TABLE stage_event IN ACCESS EXCLUSIVE MODE"))
        yield


async def until_heard(player: PbxPlayer) -> None:
    """Waits until the hub has read everything sent so far: it pings a line that is quiet."""
    pings = [action["Action"] for action in player.actions].count("Ping")
    await until(lambda: [action["Action"] for action in player.actions].count("Ping") > pings + 1)


def test_stages_heard_while_the_database_is_locked_are_written_after_it_even_when_the_hub_is_stopped(
    database: Database,
) -> None:
    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database, replace(HASTY, quiet=0.1)):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                with ExitStack() as lock:
                    lock.enter_context(locked(database))
                    for _ in range(20):
                        for part in answered():
                            await player.play(part, speed=0)
                    await until_heard(player)
                    later = lock.pop_all()
                asyncio.get_running_loop().call_later(0.5, later.close)  # after the stop has begun
        assert sorted(stages_of(database)) == sorted(ANSWERED * 20)
        state = pbx_of(database, pbx_id)
        assert (state.state, "stopped" in state.state_reason) == ("lost", True)

    run(scenario())


def test_a_fault_of_the_hub_in_the_line_loses_no_stage_that_waits_for_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults: list[int] = []
    pause = AmiConnection._pause

    def stumble(self: AmiConnection, failures: int) -> float:
        faults.append(failures)
        if len(faults) == 1:
            raise OverflowError("a fault of the hub")
        return pause(self, failures)

    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database, replace(HASTY, quiet=0.1)):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                with locked(database):
                    for _ in range(2):  # the first is being written, the second waits
                        for part in answered():
                            await player.play(part, speed=0)
                        await until_heard(player)
                    monkeypatch.setattr(AmiConnection, "_pause", stumble)
                    player.drop()
                    await until(lambda: faults)
                    await until(lambda: player.listeners == 1)
                await until(lambda: sorted(stages_of(database)) == sorted(ANSWERED * 2))

    run(scenario())


def test_work_on_the_database_that_fails_does_not_hold_up_the_stages_behind_it() -> None:
    async def scenario() -> None:
        written: list[CallReport] = []
        publisher = Publisher(lambda reports, _tokens: written.extend(reports[1]))
        queue = publisher.open_queue(1, 100)
        queue.put(lambda: [][1])
        now = datetime.now(UTC)
        queue.put(CallReport("1.1", "internal", "101", "", "102", "", now, None, now, "", {}))
        writing = asyncio.create_task(publisher.run())
        await asyncio.wait_for(queue.empty.wait(), 5)
        writing.cancel()
        assert [report.linkedid for report in written] == ["1.1"]

    run(scenario())


def test_stages_wait_in_memory_while_the_database_is_gone_and_too_many_close_the_line(cluster: Cluster) -> None:
    database = open_database(cluster.url("pbxhub"))
    migrate(database)

    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database, replace(HASTY, quiet=0.1), stage_memory=100):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await asyncio.to_thread(cluster.stop)
                for _ in range(10):
                    for part in answered():
                        await player.play(part, speed=0)
                await until_heard(player)
                assert player.listeners == 1  # forty stages wait, the line is held
                for _ in range(20):
                    for part in answered():
                        await player.play(part, speed=0)
                await until(lambda: player.listeners == 0)
                await asyncio.to_thread(cluster.start)
                await until(lambda: player.listeners == 1)
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                assert len(stages_of(database)) >= 100
                assert len(stages_of(database)) % 4 == 0
                for part in answered():
                    await player.play(part, speed=0)
                await until(lambda: [call for call in calls_of(database) if call.ended_on is None] == [])

    run(scenario())
    database.close()


def test_an_action_that_was_not_answered_is_never_sent_again_and_its_answer_reaches_who_asked() -> None:
    async def scenario() -> None:
        call = {"Channel": "PJSIP/101", "Context": "from-internal", "Exten": "102", "Priority": "1"}
        async with playing() as player, line_to(address_of(player)) as line:
            await line.until_state("connected")
            answer = await line.connection.ask(build("Originate", call))
            assert answer.success
            assert "Event: OriginateResponse" in answer.blocks[-1]
            await until(lambda: [event for event in line.events if event.startswith("Event: OriginateResponse")])
            player.faults.silent = True
            asking = asyncio.create_task(line.connection.ask(build("Originate", {**call, "Exten": "103"})))
            await until(lambda: player.actions[-1].get("Exten") == "103")
            player.drop()
            with pytest.raises(SessionEndedError):
                await asking
            player.faults.silent = False
            await until(lambda: line.connection.state.name == "lost")
            await until(lambda: line.connection.state.name == "connected")
            assert len([action for action in player.actions if action.get("Exten") == "103"]) == 1

    run(scenario())


def test_nothing_of_a_connection_outlives_it() -> None:
    async def scenario() -> None:
        async with playing() as player:
            async with line_to(address_of(player)) as line:
                await line.until_state("connected")
            await until(lambda: player.listeners == 0)
            assert not [task for task in asyncio.all_tasks() if "ami" in str(task.get_coro())]

    run(scenario())


def event(name: str, uniqueid: str, linkedid: str) -> ReceivedEvent:
    return ReceivedEvent(f"Event: {name}\r\nChannel: x\r\nUniqueid: {uniqueid}\r\nLinkedid: {linkedid}", 1.0)


def test_events_told_while_the_stock_is_taken_come_before_or_after_it_by_call() -> None:
    now = datetime.now(UTC)
    live = read_channels(["Event: Status\nChannel: a\nUniqueid: 1.1\nLinkedid: 1.1\nSeconds: 5"], (), now)
    ended = [event("DialEnd", "2.2", "2.1"), event("Hangup", "2.1", "2.1")]
    on_going = [event("BridgeEnter", "1.1", "1.1"), event("Newchannel", "1.2", "1.1")]
    begun = [event("Newchannel", "3.1", "3.1"), event("Newchannel", "3.2", "3.1"), event("Hangup", "3.1", "3.1")]
    mixed = [ended[0], on_going[0], begun[0], begun[1], ended[1], on_going[1], begun[2]]
    before, after = sort_held(mixed, live)
    assert before == ended
    assert after == [on_going[0], begun[0], begun[1], on_going[1], begun[2]]


def test_the_list_of_channels_has_the_time_of_asterisks_clock_which_its_events_and_cel_have() -> None:
    async def scenario() -> None:
        async with playing() as player:
            player.faults.clock_ahead = 7200.0
            async with line_to(address_of(player)) as line:
                await line.until_state("connected")
                live = line.stocks[0]
        two_hours, minute = timedelta(hours=2), timedelta(minutes=1)
        assert abs(live.taken_on - datetime.now(UTC) - two_hours) < minute
        assert live.started_on is not None
        assert abs(live.started_on - datetime.now(UTC) - two_hours) < minute

    run(scenario())


def test_a_restart_is_known_by_asterisks_own_start_and_not_by_a_clock_that_was_set() -> None:
    now = datetime.now(UTC)
    known = now - timedelta(hours=5)

    assert why_gone(known, now, None) == "pbx_restarted"
    assert why_gone(known, known + timedelta(seconds=1), None) == "lost_while_disconnected"
    assert why_gone(known, now, restarted=False) == "lost_while_disconnected"
    assert why_gone(known, known, restarted=True) == "pbx_restarted"
    assert why_gone(known, now, restarted=True, lives_on=True) == "lost_while_disconnected"
    assert why_gone(None, now, None) == "lost_while_disconnected"
    assert why_gone(known, None, None) == "lost_while_disconnected"
