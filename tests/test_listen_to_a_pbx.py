"""Calls on a PBX become calls and stages in the database, whatever the bytes look like that tell of them."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from pbxhub.ami import event_log
from pbxhub.ami.channel_list import ReceivedEvent
from pbxhub.ami.event_log import EventLog, write_events
from pbxhub.ami.pbx_rows import Observed, ObservedPbx, PbxRow, read_rows, write_cursor, write_notes, write_observed
from pbxhub.ami.publisher import Publisher
from pbxhub.ami.unwritten_stages import keep_unwritten, write_unwritten
from pbxhub.calls.cel_calls import Place
from pbxhub.delivery.outbox import publish
from pbxhub.store.accounts import Pbx
from pbxhub.store.history import CallEvents
from pbxhub.store.pbx_state_sentences import PbxState
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.pbx.recordings import freshen, read_recording, shipped
from pbxhub.webhooks.spec import WebhookSpec
from tests.support.hub import add_pbx, calls_of, change_pbx, listening, notes_of, pbx_of, stages_of
from tests.support.outbox_world import BEFORE, NOON, VAULT, World, context_of, report
from tests.support.pbx_line import HASTY, address_of, line_to, playing, until

ANSWERED = ["incoming.before", "incoming.forward", "incoming.pickup", "incoming.after"]
NEWCHANNEL = (
    "Event: Newchannel\r\nPrivilege: call,all\r\nTimestamp: 1795330979.1\r\nChannel: PJSIP/trunk-00000001\r\n"
    "ChannelStateDesc: Ring\r\nCallerIDNum: 79161234567\r\nCallerIDName: {}\r\nContext: from-trunk\r\n"
    "Exten: 5550100\r\nUniqueid: 1795330979.1\r\nLinkedid: 1795330979.1\r\n\r\n"
)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def recording(name: str) -> Any:
    (path,) = [path for path in shipped() if path.stem == name]
    return freshen(read_recording(path), datetime.now(UTC))


def test_every_shipped_recording_gives_its_stages_and_none_is_told_twice(database: Database) -> None:
    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                for path in shipped():
                    await player.play(freshen(read_recording(path), datetime.now(UTC)), speed=0)
                await until(lambda: sum(call.ended_on is not None for call in calls_of(database)) == len(shipped()))
        assert stages_of(database) == [
            *ANSWERED,
            "incoming.before", "incoming.forward", "incoming.pickup", "incoming.forward", "incoming.pickup",
            "incoming.after",
            "incoming.before", "incoming.forward", "incoming.after",
            "outgoing.before", "outgoing.pickup", "outgoing.after",
            "incoming.before", "incoming.forward", "incoming.forward", "incoming.pickup", "incoming.after",
            *ANSWERED,
        ]  # fmt: skip
        assert calls_of(database)[-1].caller_name == "Иван Петров"
        row = pbx_of(database, pbx_id)
        assert row.asterisk_version == "22.10.1"
        assert row.last_event_on is not None
        assert row.asterisk_started_on is not None

    run(scenario())


def test_a_stage_is_reported_from_when_a_webhook_waits_for_it_until_none_does(database: Database) -> None:
    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                since = pbx_of(database, pbx_id).state_since

                async def missed() -> bool:
                    before = len(calls_of(database))
                    await player.play(recording("missed"), speed=0)
                    await until(
                        lambda: len(calls_of(database)) > before and all(c.ended_on for c in calls_of(database))
                    )
                    return stages_of(database)[-2] == "incoming.unring"

                assert not await missed()
                with database.write() as session:
                    project = session.get_one(Pbx, pbx_id).project_id
                    session.add(Webhook(project_id=project, name="w", stage="incoming.unring", spec=WebhookSpec(),
                                        created_on=datetime.now(UTC)))  # fmt: skip
                    touch_webhooks(session, project)
                while not await missed():
                    pass
                with database.write() as session:
                    session.execute(update(Webhook).values(enabled=False))
                while await missed():
                    pass
                assert pbx_of(database, pbx_id).state_since == since, "it must not have connected anew"

    run(scenario())


def test_a_recording_can_be_played_again_and_again_as_new_calls_of_now(database: Database) -> None:
    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player)
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play_all([recording("answered") for _ in range(20)], speed=0)
                await until(lambda: len(stages_of(database)) == 80)
        calls = calls_of(database)
        assert len({call.linkedid for call in calls}) == 20
        assert all(abs(call.started_on - datetime.now(UTC)) < timedelta(minutes=1) for call in calls)

    run(scenario())


@pytest.mark.parametrize("segment", [1, 2, 3, 7])
def test_letters_and_lines_torn_apart_between_segments_stay_whole(segment: int) -> None:
    async def scenario() -> None:
        async with playing() as player, line_to(address_of(player)) as line:
            await line.until_state("connected")
            player.faults.segment = segment
            await player.play(recording("recorded_cyrillic"), speed=0)
            await until(lambda: any("Event: Cdr" in event for event in line.events))
            assert "CallerIDName: Иван Петров\r\n" in line.events[0]
            assert not [event for event in line.events if "\ufffd" in event]

    run(scenario())


def test_garbage_between_events_is_counted_and_the_events_go_on() -> None:
    garbage = [
        b"\xff\xfe\x00 no header at all\r\n\r\n",
        b"Response: Success\r\nActionID: nobody asked\r\n\r\n",
        b"Event: Newchannel\r\nEvent: Hangup\r\nUniqueid: 7.7\r\nChannel: x\r\n\r\n",
        b"Response: Success\r\nResponse: Error\r\nActionID: a\r\nActionID: b\r\n\r\n",
        b"\r\n\r\n\r\n\r\n",
        b"Event:\r\n\r\n",
        b"Event: Newchannel\r\nCallerIDName: " + b"x" * 10_000_000 + b"\r\n\r\n",
    ]

    async def scenario() -> None:
        async with playing() as player, line_to(address_of(player)) as line:
            await line.until_state("connected")
            for block in garbage:
                await player.send_bytes(block)
            await player.send_bytes(NEWCHANNEL.format("Иван").encode().replace("Иван".encode(), b"\xd0\x98\xff!"))
            await until(lambda: any("Uniqueid: 1795330979.1" in event for event in line.events))
            assert "CallerIDName: Ð\x98ÿ!" in line.events[-1], "what is no UTF-8 is read as latin-1"
            assert len(line.events) == 2
            protocol = line.connection._protocol
            assert protocol is not None
            assert (protocol.counts.too_long, protocol.counts.unreadable) == (1, 2)
            assert line.connection.state.name == "connected"

    run(scenario())


def test_a_message_without_any_end_ends_the_connection_and_takes_no_memory() -> None:
    async def scenario() -> None:
        async with playing() as player, line_to(address_of(player)) as line:
            await line.until_state("connected")
            await player.send_bytes(b"Event: Newchannel\r\nCallerIDName: " + b"x" * 17_000_000)
            assert "never ended" in (await line.until_state("lost", "garbage")).sentence
            await until(lambda: line.connection.state.name == "connected")

    run(scenario())


@pytest.mark.parametrize(
    ("country", "setting", "sent", "shown"),
    [
        ("UA", "", "Віталій Ґудзь".encode("windows-1251"), "Віталій Ґудзь"),
        ("", "koi8-r", "Иван".encode("koi8-r"), "Иван"),
        ("FR", "", "Zoé".encode("latin-1"), "Zoé"),
        ("UA", "", "Олена Коваль".encode(), "Олена Коваль"),
        ("UA", "", "Олена Коваль".encode()[:-1], "Олена Ковал\ufffd"),  # cut by Asterisk
    ],
)
def test_a_name_that_is_not_utf_8_is_read_in_the_charset_of_the_pbx(
    database: Database, country: str, setting: str, sent: bytes, shown: str
) -> None:
    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player, charset=setting)
            with database.write() as session:
                session.get_one(Pbx, pbx_id).project.country = country
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.send_bytes(NEWCHANNEL.format("NAME").encode().replace(b"NAME", sent))
                await until(lambda: calls_of(database))
        assert calls_of(database)[0].caller_name == shown

    run(scenario())


def test_a_flood_that_nobody_reads_drops_the_line_instead_of_eating_memory() -> None:
    async def scenario() -> None:
        async with playing() as player, line_to(address_of(player), room=500) as line:
            await line.until_state("connected")
            await player.send_bytes(NEWCHANNEL.format("x").encode() * 2000)
            assert "asks Asterisk" in (await line.until_state("lost", "flooded")).sentence
            await until(lambda: line.connection.state.name == "connected")

    run(scenario())


def test_pbxs_are_taken_up_changed_and_let_go_while_the_hub_runs(database: Database) -> None:
    async def scenario() -> None:
        async with playing() as first, playing() as second, listening(database):
            pbx_id = add_pbx(database, first)
            await until(lambda: first.listeners == 1)
            change_pbx(database, pbx_id, port=second.port)
            await until(lambda: (first.listeners, second.listeners) == (0, 1))
            change_pbx(database, pbx_id, enabled=False)
            await until(lambda: second.listeners == 0)
            await until(lambda: pbx_of(database, pbx_id).state == "lost")
            assert "switched off" in pbx_of(database, pbx_id).state_reason

    run(scenario())


def test_a_secret_sealed_with_another_key_is_a_refusal_on_the_page_of_the_pbx(database: Database) -> None:
    async def scenario() -> None:
        async with playing() as player, listening(database):
            pbx_id = add_pbx(database, player, secret_sealed="not sealed by us")
            await until(lambda: pbx_of(database, pbx_id).state == "refused")
            assert "PBXHUB_SECRET_KEY" in pbx_of(database, pbx_id).state_reason
            assert player.actions == []

    run(scenario())


def test_a_quiet_line_shows_a_wrong_password_and_then_that_it_works(database: Database) -> None:
    async def scenario() -> None:
        async with playing() as player, listening(database, replace(HASTY, longest_pause=0.3)):
            pbx_id = add_pbx(database, player)
            player.secret = "another"
            await until(lambda: pbx_of(database, pbx_id).state == "refused")
            assert "Authentication failed" in pbx_of(database, pbx_id).state_reason
            player.secret = "hubsecret"
            await until(lambda: pbx_of(database, pbx_id).state == "connected")
            assert pbx_of(database, pbx_id).state_reason == ""

    run(scenario())


def write_all(database: Database, row: PbxRow, folder: Path) -> None:
    """Everything that the listener of this row writes."""
    heard = [report("1.1", BEFORE, memory={"of": row.key})]
    publisher = Publisher(lambda reports, tokens: publish(context_of(database), reports, NOON, tokens))
    publisher.write({row.id: heard}, {row.id: row.token or 0})
    keep_unwritten(folder / "kept", row.token, [report("1.2", BEFORE)], {"1.2": {"of": row.key}})
    write_unwritten(folder / "kept", row.id, row.token, database, publisher)
    write_notes(database, row.id, row.token, {"1.3": {"of": row.key}})
    write_cursor(database, row, Place(99))
    write_observed(database, [Observed(row.id, row.token, ObservedPbx(PbxState("connected"), NOON, None, "22", None))])


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_listener_writes_nothing_of_a_deleted_pbx_into_the_one_that_has_its_id(
    database: Database, tmp_path: Path
) -> None:
    """SQLite gives the id away at once; the listener looks at the rows every few seconds."""
    former = World(database)
    deleted = read_rows(database, VAULT)[former.pbx_id]
    with database.write() as session:
        session.delete(session.get_one(Pbx, former.pbx_id))
    assert World(database).pbx_id == deleted.id
    new = read_rows(database, VAULT)[deleted.id]
    write_all(database, deleted, tmp_path)
    events = EventLog(database)
    for row in (deleted, new):
        events.add(row.id, ReceivedEvent(f"Event: Hangup\r\nLinkedid: {row.key}", 1.0), row.token)
    asyncio.run(events.close())
    row_now = pbx_of(database, new.id)
    assert (row_now.state, row_now.cel_cursor, calls_of(database), notes_of(database)) == ("new", 0, [], {})
    write_all(database, new, tmp_path)
    row_now = pbx_of(database, new.id)
    assert (row_now.state, row_now.cel_cursor) == ("connected", 99)
    assert {call.linkedid for call in calls_of(database)} == {"1.1", "1.2"}
    assert notes_of(database) == {linkedid: {"of": new.key} for linkedid in ("1.1", "1.2", "1.3")}
    with database.read() as session:
        assert session.scalars(select(CallEvents.linkedid)).all() == [new.key]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_events_on_their_way_into_the_database_stay_with_the_pbx_that_was_deleted_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = World(database)
    deleted = read_rows(database, VAULT)[former.pbx_id]
    events = EventLog(database)

    def write(*waiting: Any) -> None:
        with database.write() as session:
            session.delete(session.get_one(Pbx, former.pbx_id))
        World(database)
        new = read_rows(database, VAULT)[former.pbx_id]
        events.add(new.id, ReceivedEvent("Event: Hangup\r\nLinkedid: 2.1", 1.0), new.token)
        write_events(*waiting)

    events.add(deleted.id, ReceivedEvent("Event: Hangup\r\nLinkedid: 1.1", 1.0), deleted.token)
    monkeypatch.setattr(event_log, "write_events", write)
    asyncio.run(events.close())
    monkeypatch.undo()
    asyncio.run(events.close())
    with database.read() as session:
        assert session.scalars(select(CallEvents.linkedid)).all() == ["2.1"]


def test_the_last_reports_of_a_deleted_pbx_are_dropped_without_an_error_and_those_of_others_written(
    database: Database,
) -> None:
    former, other = World(database), World(database)
    rows = read_rows(database, VAULT)
    with database.write() as session:
        session.delete(session.get_one(Pbx, former.pbx_id))
    publisher = Publisher(lambda reports, tokens: publish(context_of(database), reports, NOON, tokens))
    tokens = {row.id: row.token or 0 for row in (rows[former.pbx_id], rows[other.pbx_id])}
    with capture_logs() as logged:
        publisher.write({pbx_id: [report("1.1", BEFORE)] for pbx_id in tokens}, tokens)
    assert [(call.pbx_id, call.linkedid) for call in calls_of(database)] == [(other.pbx_id, "1.1")]
    assert {line["log_level"] for line in logged} == {"info"}, logged
