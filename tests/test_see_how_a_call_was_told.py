"""Support asks why a call was told as it was: the events behind its stages are kept a while, and can be replayed."""

import asyncio
import re
import shlex
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select, text

from pbxhub.account.call_events import CallEvent, events_of, recording_of
from pbxhub.ami.channel_list import ReceivedEvent
from pbxhub.ami.event_log import EventLog, write_events
from pbxhub.cli import main
from pbxhub.delivery.outbox import publish
from pbxhub.delivery.prune import prune
from pbxhub.store.accounts import Employee, Number, Pbx, Project
from pbxhub.store.history import CallEvents
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.pbx.recordings import freshen, read_recording, shipped
from pbxhub.webhooks.spec import WebhookSpec
from tests.support.hub import add_pbx, calls_of, listening, pbx_of, stages_of
from tests.support.outbox_world import BEFORE, KEPT, NOON, World, context_of, report
from tests.support.pbx_line import playing, until


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def told(database: Database) -> list[list[CallEvent]]:
    """The events of each call of the database, as a viewer reads them."""
    with database.read() as session:
        return [events_of(session, None, call) for call in calls_of(database)]


def replayed(text: str, tmp_path: Path) -> list[str]:
    file = tmp_path / "call.ami"
    file.write_text(text, "utf-8")
    optional = re.findall(r"--optional (\S+)", text)
    options = [word for stage in optional for word in ("--optional", stage)]
    printed = CliRunner().invoke(main, ["replay", str(file), "--context", "from-trunk", *options])
    assert printed.exit_code == 0
    return [line.split('"', 4)[3] for line in printed.output.splitlines()]


@pytest.mark.slow
def test_the_events_of_every_call_are_kept_and_replay_to_its_stages(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            wait_for("incoming.unring", database, pbx_id)
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                for path in shipped():
                    await player.play(freshen(read_recording(path), datetime.now(UTC)), speed=0)
                await until(lambda: sum(call.ended_on is not None for call in calls_of(database)) == len(shipped()))

    run(scenario())
    events = told(database)
    assert len(events) == len(shipped())
    assert all(events)
    stages = [[stage for event in call for stage in event.stages] for call in events]
    assert [stage for call in stages for stage in call] == stages_of(database)
    with database.read() as session:
        texts = [recording_of(session, None, call) for call in calls_of(database)]
    assert all("\n#H pbxhub replay FILE --context 'from-trunk*'" in text for text in texts)
    assert [replayed(text, tmp_path) for text in texts] == stages
    assert ["--optional incoming.unring" in text for text in texts] == ["incoming.unring" in call for call in stages]
    assert "incoming.unring" in stages_of(database)
    assert any("Иван Петров" in text for text in texts)


def wait_for(stage: str, database: Database, pbx_id: int) -> None:
    """A webhook that wants an optional stage."""
    with database.write() as session:
        project = session.get_one(Pbx, pbx_id).project_id
        session.add(Webhook(project_id=project, name="w", stage=stage, spec=WebhookSpec(), created_on=NOON))
        touch_webhooks(session, project)


@pytest.mark.slow
def test_nothing_is_kept_where_the_setting_says_so(database: Database) -> None:
    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database, keep_events=False):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(freshen(read_recording(shipped()[0]), datetime.now(UTC)), speed=0)
                await until(lambda: all(call.ended_on for call in calls_of(database)) and calls_of(database))

    run(scenario())
    assert told(database) == [[]]


def event(linkedid: str, on: float, more: str = "", size: int = 0) -> ReceivedEvent:
    return ReceivedEvent(f"Event: Hangup\r\nLinkedid: {linkedid}\r\nX: {'x' * size}\r\n{more}", on)


def test_a_call_is_kept_up_to_half_a_megabyte_and_an_outage_of_the_database_up_to_eight() -> None:
    log = EventLog(None)  # type: ignore[arg-type]
    for number in range(1000):
        log.add(1, event("1.1", number, size=1000))
    assert sum(len(one.block) for one in log._waiting[1, None, "1.1"]) <= 512 * 1024
    for call in range(1000):
        log.add(1, event(f"2.{call}", call, size=100_000))
    assert log._size < 9 * 1024 * 1024


def test_calls_that_became_one_are_shown_as_one_and_two_listeners_as_one(database: Database, pbx: int) -> None:
    joined = event("1.1", 3, "SecondTransfererLinkedid: 1.2")
    for _ in range(2):  # two listeners
        write_events(database, {(pbx, None, "1.1"): [event("1.1", 1), joined],
                                (pbx, None, "1.2"): [event("1.2", 2), joined],
                                (pbx, None, "1.3"): [event("1.3", 4)]})  # fmt: skip
    [found] = told(database)
    assert [one.block.split("\n")[1] for one in found] == ["Linkedid: 1.1", "Linkedid: 1.2", "Linkedid: 1.1"]


def test_a_caller_whose_name_looks_like_a_header_reads_no_other_call(database: Database, pbx: int) -> None:
    sly = event("1.1", 1, "CallerIDName: x Linkedid: 1.2\r\nChanVariable: DestLinkedid: 1.2")
    log = EventLog(database)
    log.add(pbx, sly)
    assert list(log._waiting) == [(pbx, None, "1.1")]
    write_events(database, {(pbx, None, "1.1"): [sly], (pbx, None, "1.2"): [event("1.2", 2)]})
    [found] = told(database)
    assert [one.block.split("\n")[1] for one in found] == ["Linkedid: 1.1"]


def test_a_call_of_another_project_on_the_same_pbx_is_not_shown_with_it(database: Database, pbx: int) -> None:
    with database.write() as session:
        other = Project(name="Bakery", time_zone="Europe/Kyiv", country="UA", created_on=NOON)
        session.add(other)
        session.flush()
        session.add(Number(project_id=other.id, pbx_id=pbx, did="380440000002"))
    publish(context_of(database), {pbx: [report("1.2", BEFORE, dst="380440000002")]}, NOON)
    joined = event("1.1", 3, "SecondTransfererLinkedid: 1.2")
    write_events(
        database, {(pbx, None, "1.1"): [event("1.1", 1), joined], (pbx, None, "1.2"): [event("1.2", 2), joined]}
    )
    one, two = sorted(told(database), key=len)
    names = [[each.block.split("\n")[1] for each in found] for found in (one, two)]
    assert sorted(names) == [["Linkedid: 1.1", "Linkedid: 1.1"], ["Linkedid: 1.2", "Linkedid: 1.1"]]


def test_a_linkedid_that_no_database_keeps_loses_no_events_of_others(database: Database, pbx: int) -> None:
    async def scenario() -> None:
        log = EventLog(database)
        log.add(pbx, event("1.1", 1))
        log.add(pbx, event("2\0", 1))
        await log.close()

    run(scenario())
    assert count(database) == 2


def test_the_command_of_a_recording_is_one_line_of_a_shell_whatever_a_card_says(database: Database, pbx: int) -> None:
    with database.write() as session:
        project = session.get_one(Pbx, pbx).project_id
        session.add(Employee(project_id=project, extension="1'; touch x; '", endpoints=["anna2"]))
    write_events(database, {(pbx, None, "1.1"): [event("1.1", 1, "Channel: PJSIP/anna2-00000001")]})
    with database.read() as session:
        command = recording_of(session, None, calls_of(database)[0]).split("\n")[1].removeprefix("#H ")
    assert shlex.split(command)[-2:] == ["--endpoint", "anna2=1'; touch x; '"]


def test_secrets_in_variables_are_for_those_who_may_change_webhooks(database: Database, pbx: int) -> None:
    write_events(
        database, {(pbx, None, "1.1"): [event("1.1", 1, "ChanVariable: CRM_TOKEN=hushhush\r\nApi-Key: hushhush")]}
    )
    [[shown]] = told(database)
    assert "hushhush" not in shown.block
    assert "CRM_TOKEN" in shown.block


def test_events_wait_for_a_database_that_is_away_and_those_of_a_deleted_pbx_are_dropped(
    database: Database, pbx: int
) -> None:
    async def scenario() -> None:
        log = EventLog(database)
        log.add(pbx, event("1.1", 1))
        log.add(pbx + 1, event("9.9", 1))
        with database.engine.begin() as connection:
            connection.execute(text("ALTER TABLE call_events RENAME TO away"))
        await log._flush()
        log.add(pbx, event("1.1", 2, size=1))
        assert [one.on for one in log._waiting[pbx, None, "1.1"]] == [1, 2]
        await log.close()  # tries nothing more
        with database.engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO call_events"))
        await log._flush()
        assert log._waiting == {}

    run(scenario())
    assert count(database) == 1
    assert len(told(database)[0]) == 2


def test_events_are_deleted_after_a_week(database: Database, pbx: int) -> None:
    write_events(database, {(pbx, None, "1.1"): [event("1.1", 1)]})
    moment = datetime.now(UTC)
    prune(database, moment + timedelta(days=6), KEPT, pause=0)
    assert count(database) == 1
    prune(database, moment + timedelta(days=8), replace(KEPT, call_events=timedelta(days=9)), pause=0)
    assert count(database) == 1
    prune(database, moment + timedelta(days=8), KEPT, pause=0)
    assert count(database) == 0


def count(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(CallEvents)) or 0


@pytest.fixture
def pbx(database: Database) -> int:
    """A PBX with one call, 1.1."""
    world = World(database)
    world.publish(report("1.1", BEFORE))
    return world.pbx_id
