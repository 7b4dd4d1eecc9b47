"""Calls that came and went while nobody listened are read from Asterisk's CEL file, each stage once."""

import asyncio
import gzip
import re
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from pbxhub.ami.backfill import Backfill
from pbxhub.ami.cel_file import CelFile
from pbxhub.ami.channel_list import ChannelList
from pbxhub.calls.ami_events import Bridge, Status
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.cel_calls import BEFORE_ALL, CelCalls, Place
from pbxhub.calls.cel_rows import CelRow, read_row
from pbxhub.calls.replay import read
from pbxhub.calls.stages import CallReport, Stage
from pbxhub.calls.tracker import Tracker
from pbxhub.delivery.outbox import publish
from pbxhub.store.history import StageEvent
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.testing.pbx.pbx_player import PbxPlayer
from pbxhub.testing.pbx.recordings import Played, Recording
from tests.support.cel_files import COLUMNS, new_cel, write_call
from tests.support.hub import add_pbx, answered, calls_of, listening, notes_of, pbx_of, stages_of
from tests.support.made_events import CALLER, NEW, agent, event
from tests.support.made_events import answered as answered_by
from tests.support.made_events import at as made_at
from tests.support.outbox_world import context_of, spec
from tests.support.pbx_line import playing, until
from tests.support.recordings import TRACES

ANSWERED = ["incoming.before", "incoming.forward", "incoming.pickup", "incoming.after"]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


@pytest.fixture
def cel(tmp_path: Path) -> Path:
    return new_cel(tmp_path / "master.db")


def write_rows(path: Path, rows: Sequence[tuple[str, int, str, str, str, str, str, str]]) -> None:
    """Rows of the call 1.1; their times are seconds after noon."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executemany(
            "INSERT INTO cel (eventtype, eventtime, uniqueid, channame, cidnum, exten, context, eventextra, linkedid)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, '1.1')",
            [(kind, NOON + time, *rest) for kind, time, *rest in rows],
        )
        connection.commit()


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["line", "hub"])
def test_a_call_that_came_and_went_while_nobody_listened_has_all_its_stages(
    database: Database, cel: Path, gone: str
) -> None:
    async def scenario() -> None:
        now = datetime.now(UTC).timestamp()
        write_call(cel, f"{int(now) - 900}.1", f"{int(now) - 900}.2", now - 900)  # before the hub was set up
        async with playing() as player:
            pbx_id = add_pbx(database, player, cel_path=str(cel))
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).cel_cursor == 9)
                if gone == "line":
                    write_call(cel, f"{int(now)}.3", f"{int(now)}.4", now)
                    player.drop()
                    await until(lambda: pbx_of(database, pbx_id).cel_cursor == 18)
            if gone == "hub":
                write_call(cel, f"{int(now)}.3", f"{int(now)}.4", now)
                async with listening(database):
                    await until(lambda: pbx_of(database, pbx_id).cel_cursor == 18)
        assert stages_of(database) == ANSWERED
        (call,) = calls_of(database)
        assert (call.caller, call.dst, call.extension) == ("79161234567", "5550201", "101")
        assert (call.disposition, call.data["hangup_by"]) == ("ANSWERED", "caller")

    run(scenario())


@pytest.mark.slow
def test_a_call_of_the_first_second_of_the_first_connection_is_told_whole_by_the_next_hub(
    database: Database, cel: Path
) -> None:
    async def scenario() -> None:
        now = datetime.now(UTC).timestamp()
        async with playing() as player:
            pbx_id = add_pbx(database, player, cel_path=str(cel))
            async with listening(database, stopped=False):
                await until(lambda: player.listeners)
                write_call(cel, f"{int(now)}.3", f"{int(now)}.4", now, slice(0, 4))
                await until(lambda: pbx_of(database, pbx_id).cel_cursor != 0)
            write_call(cel, f"{int(now)}.3", f"{int(now)}.4", now, slice(4, 9))
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).cel_cursor == 9)
        assert stages_of(database) == ANSWERED

    run(scenario())


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [True, False])
def test_an_optional_stage_of_a_call_that_nobody_listened_to_is_told_where_a_webhook_waits_for_it(
    database: Database, cel: Path, wanted: bool
) -> None:
    async def scenario() -> None:
        now = datetime.now(UTC).timestamp()
        async with playing() as player:
            pbx_id = add_pbx(database, player, cel_path=str(cel))
            project_id = pbx_of(database, pbx_id).project_id
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).cel_cursor != 0)
                if wanted:  # the hub learns it while it runs
                    with database.write() as session:
                        hook = Webhook(project_id=project_id, name="a", stage="incoming.unring", spec=spec())
                        hook.created_on, hook.position = datetime.now(UTC), 0
                        session.add(hook)
                        touch_webhooks(session, project_id)
            write_call(cel, f"{int(now)}.3", f"{int(now)}.4", now, slice(0, 2))  # it rings …
            write_call(cel, f"{int(now)}.3", f"{int(now)}.4", now, slice(4, 9))  # … and the caller hangs up
            async with listening(database):
                await until(lambda: calls_of(database) and calls_of(database)[0].ended_on is not None)
        assert [name for name in stages_of(database) if name == "incoming.unring"] == ["incoming.unring"] * wanted
        assert [name for name in stages_of(database) if name != "incoming.unring"] == [*ANSWERED[:2], ANSWERED[3]]

    run(scenario())


@pytest.mark.slow
def test_a_call_heard_live_whose_end_only_cel_tells_ends_as_it_did_and_no_stage_comes_twice(
    database: Database, cel: Path
) -> None:
    async def scenario() -> None:
        talking, ending = answered()
        first, leg = re.findall(r"Uniqueid: (1\d+\.\d+)$", "\n".join(e.block for e in talking.events), re.MULTILINE)[:2]
        if leg == first:
            leg = re.findall(r"DestUniqueid: (.+)", "\n".join(e.block for e in talking.events))[0]
        async with playing() as player:
            pbx_id = add_pbx(database, player, cel_path=str(cel))
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).cel_cursor == -1)
                await player.play(talking, speed=0)
                await until(lambda: stages_of(database) == ANSWERED[:3])
                write_call(cel, first, leg, float(first))
                player.drop()
                await player.play(ending, speed=0)  # nobody hears it
                await until(lambda: pbx_of(database, pbx_id).cel_cursor == 9)
        assert stages_of(database) == ANSWERED
        (call,) = calls_of(database)
        assert call.data["hangup_by"] == "caller"
        assert call.ended_on is not None
        assert abs(call.ended_on.timestamp() - float(first) - 9.1) < 0.2

    run(scenario())


NOON = 1_795_300_000.0
TALKING, ENDING = slice(0, 4), slice(4, 9)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(NOON + seconds, UTC)


def _tracker() -> Tracker:
    return Tracker(["from-trunk"])


def connected(
    path: Path, cursor: Place | int, seconds: float = 0, started: float = -9000, live: Sequence[str] = ()
) -> Backfill:
    """A hub that connects that many seconds after noon to an Asterisk with these channels."""
    place = cursor if isinstance(cursor, Place) else Place(cursor)
    backfill = Backfill(CelFile(str(path), "iso-8859-1"), place, _tracker)
    resync(backfill, seconds, started, live)
    return backfill


def resync(
    backfill: Backfill,
    seconds: float,
    started: float = -9000,
    live: Sequence[str] = (),
    reports: Sequence[CallReport] = (),
) -> None:
    found = (parse(f"Event: Status\r\nUniqueid: {one}\r\nLinkedid: {one}\r\nChannel: PJSIP/1-1", 0) for one in live)
    channels = tuple(channel for channel in found if isinstance(channel, Status))
    assert len(channels) == len(live)
    assert not list(backfill.resync(ChannelList(channels, at(seconds), "22", at(started), None), reports, at(seconds)))


def looked_at(backfill: Backfill, moment: datetime) -> list[CallReport]:
    async def look() -> list[CallReport]:
        return [report async for report in backfill.poll(moment)]

    return asyncio.run(look())


def looked(backfill: Backfill, seconds: float) -> list[CallReport]:
    return looked_at(backfill, at(seconds))


def told(backfill: Backfill, seconds: float) -> list[str]:
    """What a look that many seconds after noon tells: call and stage, and why the call ended."""
    return [
        f"{report.linkedid} {stage.name.partition('.')[2]} {stage.values.get('end_reason', '')}".strip()
        for report in looked(backfill, seconds)
        for stage in report.stages
    ]


def whole(call: str, why: str = "hangup") -> list[str]:
    return [f"{call} before", f"{call} forward", f"{call} pickup", f"{call} after {why}"]


def test_rows_that_asterisk_writes_late_are_told_when_they_come(cel: Path) -> None:
    backfill = connected(cel, -1)
    assert told(backfill, 1) == []
    write_call(cel, "2.1", "2.2", NOON - 60, TALKING)
    assert told(backfill, 2) == []
    write_call(cel, "2.1", "2.2", NOON - 60, ENDING)
    assert told(backfill, 3) == whole("2.1")
    assert told(backfill, 4) == []
    assert backfill.cursor.number == 9


@pytest.mark.slow
def test_rows_that_asterisk_keeps_locked_are_told_when_they_can_be_read(cel: Path) -> None:
    write_call(cel, "2.1", "2.2", NOON - 60)
    backfill = connected(cel, -1)
    with closing(sqlite3.connect(cel)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert told(backfill, 1) == []
        assert backfill.trouble == ""
        assert told(backfill, 10) == []
        assert "locked" in backfill.trouble
    assert told(backfill, 11) == whole("2.1")
    assert backfill.trouble == ""


def test_a_hub_killed_again_and_again_finds_every_call_that_was_not_told(cel: Path) -> None:
    write_call(cel, "1.1", "1.2", NOON - 50, TALKING)
    write_call(cel, "2.1", "2.2", NOON - 40)
    first = connected(cel, -1, live=["1.1"])
    assert told(first, 1) == whole("2.1")
    assert first.cursor.number == -1  # the call before it goes on
    write_call(cel, "3.1", "3.2", NOON - 30)
    write_call(cel, "1.1", "1.2", NOON - 50, ENDING)
    second = connected(cel, first.cursor, 5)
    assert sorted(told(second, 6)) == sorted(whole("2.1") + whole("3.1") + whole("1.1"))
    assert second.cursor.number == 27


def write_transfer(path: Path, leg: str, consultation: str) -> None:
    """The leg of a call asks outside in a call of its own and transfers its caller there; all hang up."""
    own = ("", "101", "", "9", "from-internal", "PJSIP/101-00000002", "", "", consultation, consultation)
    outside = ("", "9", "", "s", "from-trunk", "PJSIP/trunk-00000003", "", "", f"{consultation}2", consultation)
    talking = ("", "101", "", "s", "from-internal", "PJSIP/101-00000001", "", "", leg, "1.1")
    rows = [
        ("CHAN_START", NOON, *own, ""),
        ("CHAN_START", NOON, *outside, ""),
        ("ATTENDEDTRANSFER", NOON, *talking, f'{{"channel2_uniqueid":"{consultation}"}}'),
        *[("HANGUP", NOON, *channel, "") for channel in (own, talking, outside)],
    ]
    with closing(sqlite3.connect(path)) as connection:
        marks = ", ".join("?" * 13)
        connection.executemany(f"INSERT INTO cel ({COLUMNS}, eventextra) VALUES ({marks})", rows)
        connection.commit()


def test_of_a_call_that_was_done_a_part_after_the_cursor_tells_nothing(cel: Path) -> None:
    write_call(cel, "1.1", "1.2", NOON - 50, TALKING)
    write_transfer(cel, "1.2", "5.1")
    backfill = connected(cel, 4, 1)
    assert told(backfill, 2) == []
    assert backfill.cursor.number == 10


def test_a_call_that_was_heard_whole_is_not_told_again(cel: Path) -> None:
    backfill = connected(cel, -1)
    for uniqueid in ("1.1", "1.2"):
        for name in ("Newchannel", "Hangup"):
            message = parse(f"Event: {name}\r\nUniqueid: {uniqueid}\r\nLinkedid: 1.1\r\nChannel: PJSIP/1-1", 0)
            assert message is not None
            assert list(backfill.feed(message, [], at(1))) == []
    write_call(cel, "1.1", "1.2", NOON + 1)
    assert told(backfill, 60) == []
    assert backfill.cursor.number == 9


def test_a_call_whose_events_never_came_is_told_after_a_while(cel: Path) -> None:
    backfill = connected(cel, -1)
    write_call(cel, "1.1", "1.2", NOON + 1)
    assert told(backfill, 11) == []
    assert told(backfill, 21) == whole("1.1")


def test_a_call_cut_off_by_a_restart_of_asterisk_ends_with_it_though_names_of_channels_come_again(cel: Path) -> None:
    write_call(cel, "1.1", "1.2", NOON - 60, TALKING)
    write_call(cel, "2.1", "2.2", NOON - 20)
    backfill = connected(cel, -1, started=-30)
    assert sorted(told(backfill, 1)) == sorted(whole("1.1", "pbx_restarted") + whole("2.1"))
    assert backfill.cursor.number == 13


def test_a_call_whose_last_rows_were_lost_ends_as_lost(cel: Path) -> None:
    write_call(cel, "1.1", "1.2", NOON - 60, TALKING)
    backfill = connected(cel, -1)
    assert told(backfill, 1) == []
    assert told(backfill, 62) == whole("1.1", "lost_while_disconnected")
    assert backfill.cursor.number == 4


def gone(linkedid: str) -> CallReport:
    """What the tracker concludes of a call that is not there any more."""
    values = {"end_reason": "lost_while_disconnected"}
    after = Stage("incoming.after", "", 1, at(0), values)
    return CallReport(linkedid, "incoming", "7", "", "5", "", at(-60), None, at(0), "NO ANSWER", values, (after,))


def test_the_true_end_of_a_call_that_is_gone_is_waited_for(cel: Path) -> None:
    write_call(cel, "1.1", "1.2", NOON - 60, TALKING)
    backfill = connected(cel, -1, live=["1.1"])
    assert told(backfill, 1) == []
    resync(backfill, 2, reports=[gone("1.1")])
    assert told(backfill, 3) == []
    write_call(cel, "1.1", "1.2", NOON - 8, ENDING)
    assert told(backfill, 4) == whole("1.1")
    assert told(backfill, 60) == []


def test_a_call_that_was_answered_live_ends_answered_though_a_killed_asterisk_wrote_no_row_of_that(cel: Path) -> None:
    write_call(cel, "1.1", "1.2", NOON - 60, slice(0, 2))
    backfill = connected(cel, -1, seconds=-70, live=["1.1"])
    answered = {"disposition": "ANSWERED", "is_answered": True, "billsec": 57}
    end = gone("1.1")._replace(
        answered_on=at(-58), extension="101", disposition="ANSWERED",
        values={**gone("1.1").values, **answered},
    )  # fmt: skip
    resync(backfill, 1, started=0, reports=[end])
    *_, after = looked(backfill, 2)
    assert (after.disposition, after.extension, after.values["end_reason"]) == ("ANSWERED", "101", "pbx_restarted")
    assert (after.stages[0].name, after.stages[0].values["billsec"]) == ("incoming.after", 57)


def test_an_outgoing_call_of_which_a_killed_asterisk_wrote_the_first_row_only_has_its_end(cel: Path) -> None:
    write_rows(cel, [("CHAN_START", -60, "1.1", "PJSIP/101-1", "101", "5551234", "from-internal", "{}")])
    end = gone("1.1")
    outgoing = end._replace(direction="outgoing", stages=(end.stages[0]._replace(name="outgoing.after"),))
    backfill = connected(cel, -1, seconds=-70, live=["1.1"])
    resync(backfill, 1, started=0, reports=[outgoing])
    assert told(backfill, 2) == ["1.1 after lost_while_disconnected"]
    assert told(backfill, 60) == []


def test_an_employee_who_answered_an_internal_call_has_not_answered_the_outgoing_call_that_it_became(cel: Path) -> None:
    first, leg, out = ("1.1", "PJSIP/101-1", "101"), ("1.2", "PJSIP/102-2", "102"), ("1.3", "PJSIP/trunk-3", "")
    rows = [
        ("CHAN_START", -60, *first, "102", "from-internal", "{}"),
        ("CHAN_START", -59, *leg, "s", "from-internal", "{}"),
        ("ANSWER", -58, *leg, "s", "from-internal", "{}"),
        ("BLINDTRANSFER", -50, *leg, "", "from-internal", '{"extension":"5","transferee_channel_name":"PJSIP/101-1"}'),
        ("HANGUP", -50, *leg, "", "from-internal", '{"hangupcause":16}'),
        ("CHAN_START", -49, *out, "s", "from-trunk", "{}"),
        ("HANGUP", -45, *out, "s", "from-trunk", '{"hangupcause":17,"hangupsource":"PJSIP/trunk-3"}'),
        ("HANGUP", -44, *first, "s", "from-internal", '{"hangupcause":17}'),
    ]  # fmt: skip
    write_rows(cel, rows)
    internal = gone("1.1")._replace(
        direction="internal", answered_on=at(-58), disposition="ANSWERED", values={"is_answered": True}, stages=()
    )
    backfill = connected(cel, -1, seconds=-70)
    resync(backfill, 1, reports=[internal])
    reports = [report for report in looked(backfill, 20) if report.stages]
    assert [stage.name for report in reports for stage in report.stages] == ["outgoing.before", "outgoing.after"]
    assert (reports[-1].disposition, reports[-1].answered_on) == ("BUSY", None)


def test_the_end_of_a_call_that_is_gone_is_told_when_asterisk_has_written_everything(cel: Path) -> None:
    backfill = connected(cel, -1)
    resync(backfill, 2, reports=[gone("1.1")])
    assert told(backfill, 3) == []
    assert told(backfill, 8) == ["1.1 after lost_while_disconnected"]


@pytest.mark.slow
def test_a_file_that_cannot_be_read_is_told_and_calls_go_on(database: Database, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player, cel_path=str(tmp_path / "no such.db"))
            async with listening(database):
                await until(lambda: "CEL cannot be read" in pbx_of(database, pbx_id).state_reason)
                assert pbx_of(database, pbx_id).state == "connected"
                for part in answered():
                    await player.play(part, speed=0)
                await until(lambda: stages_of(database) == ANSWERED)

    run(scenario())


def begin_anew(path: Path, how: str) -> None:
    """What logrotate does, and what an administrator does who empties the table."""
    with closing(sqlite3.connect(path)) as connection:
        if how == "emptied":
            connection.execute("DELETE FROM cel")
            connection.commit()
            return
        (made,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'cel'").fetchone()
    path.rename(path.with_suffix(".1"))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(made)
        connection.commit()


@pytest.mark.parametrize("how", ["rotated", "emptied"])
@pytest.mark.parametrize("grown", [False, True], ids=["shorter", "longer than the old one"])
@pytest.mark.parametrize("gone", ["line", "hub"])
def test_calls_of_a_file_that_was_begun_anew_while_nobody_listened_are_told(
    cel: Path, how: str, grown: bool, gone: str
) -> None:
    write_call(cel, "1.1", "1.2", NOON - 600)
    if not grown:
        write_call(cel, "2.1", "2.2", NOON - 500)
    first = connected(cel, 0)
    assert told(first, 1) == []  # the past of a file is not the hub's business
    begin_anew(cel, how)
    write_call(cel, "3.1", "3.2", NOON - 60)
    if grown:
        write_call(cel, "4.1", "4.2", NOON - 40)
    second = connected(cel, first.cursor) if gone == "hub" else first
    resync(second, 10)
    assert told(second, 11) == whole("3.1") + (whole("4.1") if grown else [])
    assert told(second, 12) == []
    assert second.cursor.number == (18 if grown else 9)


def test_calls_that_were_copied_into_the_new_file_are_not_told_again(cel: Path) -> None:
    write_call(cel, "1.1", "1.2", NOON - 6000)
    write_call(cel, "2.1", "2.2", NOON - 500)
    first = connected(cel, 0)
    assert told(first, 1) == []
    begin_anew(cel, "rotated")
    write_call(cel, "1.1", "1.2", NOON - 6000)
    write_call(cel, "3.1", "3.2", NOON - 60)
    assert told(connected(cel, first.cursor), 2) == whole("3.1")


def test_a_call_that_goes_on_in_the_new_file_is_told_whole(cel: Path) -> None:
    backfill = connected(cel, -1)
    write_call(cel, "1.1", "1.2", NOON - 60, TALKING)
    assert told(backfill, 1) == []
    begin_anew(cel, "rotated")
    write_call(cel, "1.1", "1.2", NOON - 60, ENDING)
    assert told(backfill, 2) == whole("1.1")
    assert backfill.cursor.number == 5


def test_rows_that_are_taken_out_of_the_file_begin_it_not_anew(cel: Path) -> None:
    write_call(cel, "1.1", "1.2", NOON - 600)
    first = connected(cel, 0)
    assert told(first, 1) == []
    write_call(cel, "2.1", "2.2", NOON - 60)
    with closing(sqlite3.connect(cel)) as connection:
        connection.execute("DELETE FROM cel WHERE AcctId < 10")
        connection.commit()
    second = connected(cel, first.cursor)
    assert told(second, 2) == whole("2.1")
    assert second.cursor.number == 18


def ended_live(linkedid: str, seconds: float, answered: bool, ended: bool = True) -> CallReport:
    """What the tracker says at the end of the conversation of a call."""
    values = {"end_reason": "hangup", "disposition": "ANSWERED" if answered else "NO ANSWER", "queue": "sales"}
    after = Stage("incoming.after", "", 1, at(seconds), values)
    return CallReport(
        linkedid, "incoming", "7", "", "5", "", at(-60), at(-58) if answered else None,
        at(seconds) if ended else None, str(values["disposition"]), values, (after,), {} if ended else {"open": True},
    )  # fmt: skip


def heard_out(backfill: Backfill, seconds: float, *reports: CallReport) -> list[str]:
    some_event = Bridge(NOON, "9.9", "9.9", {})
    return [report.linkedid for report in backfill.feed(some_event, reports, at(seconds))]


@pytest.mark.parametrize("answered", [True, False], ids=["known answered", "answered unheard"])
def test_the_end_of_a_call_that_lived_through_a_gap_comes_after_the_pickup_that_cel_knows(
    cel: Path, answered: bool
) -> None:
    backfill = connected(cel, -1, seconds=-50, live=["1.1"])
    write_call(cel, "1.1", "1.2", NOON - 60, TALKING)
    assert told(backfill, -49) == []
    assert heard_out(backfill, -51 + 0.1, ended_live("1.1", -51, answered)) == []
    assert told(backfill, -50.5) == []
    write_call(cel, "1.1", "1.2", NOON - 60, ENDING)
    reports = looked(backfill, -50)
    names = [stage.name for report in reports for stage in report.stages]
    assert names == ["incoming.before", "incoming.forward", "incoming.pickup", "incoming.after"]
    end = reports[-1]
    assert (end.disposition, end.values["disposition"], end.stages[0].values["queue"]) == (
        "ANSWERED",
        "ANSWERED",
        "sales",
    )
    assert end.answered_on is not None
    assert (end.memory, [report.memory for report in reports[:-1]]) == ({}, [None] * 3)
    assert told(backfill, 60)[3:] in ([], ["1.1 after hangup"])  # the same stages: they are written once


def test_the_end_of_a_call_that_lived_through_a_gap_waits_two_seconds_at_most_and_what_follows_it_too(
    cel: Path,
) -> None:
    backfill = connected(cel, -1, live=["1.1"])
    after = ended_live("1.1", 1, answered=True, ended=False)
    mark = ended_live("1.1", 2, answered=True)
    assert heard_out(backfill, 1, after) == []
    assert heard_out(backfill, 1.5, mark, ended_live("2.1", 1, answered=True)) == ["2.1"]
    assert looked(backfill, 2.9) == []
    assert backfill.holds_ends
    assert looked(backfill, 3) == [after, mark]
    assert not backfill.holds_ends
    assert heard_out(backfill, 4, after) == []
    assert list(backfill.release_held()) == [after]


def test_the_end_of_a_conversation_waits_only_until_the_rows_up_to_it_are_read(cel: Path) -> None:
    """An evaluation begins: its call is not over."""
    backfill = connected(cel, -1, seconds=-57, live=["1.1"])
    after = ended_live("1.1", -58, answered=True, ended=False)
    assert heard_out(backfill, -57.5, after) == []
    write_call(cel, "1.1", "1.2", NOON - 60, TALKING)
    names = [stage.name for report in looked(backfill, -57.4) for stage in report.stages]
    assert names == ["incoming.before", "incoming.forward", "incoming.pickup", "incoming.after"]


@pytest.mark.parametrize("before", ["the start of the hub", "a lost connection"])
def test_the_end_of_a_call_that_comes_before_the_list_of_channels_waits_for_its_rows_too(
    cel: Path, before: str
) -> None:
    """The hub has logged in and reads the channels at this moment; the call, answered in the gap, is not among them."""
    if before == "a lost connection":
        backfill = connected(cel, -1, seconds=-70)
        backfill.interrupt()
    else:
        backfill = Backfill(CelFile(str(cel), "iso-8859-1"), Place(-1), _tracker)
    assert heard_out(backfill, -50.9, ended_live("1.1", -51, answered=False)) == []
    resync(backfill, -50.8)
    assert looked(backfill, -50.7) == []
    write_call(cel, "1.1", "1.2", NOON - 60, slice(0, 9))
    assert looked(backfill, -50.6)[-1].disposition == "ANSWERED"
    assert heard_out(backfill, -50, ended_live("2.1", -50, answered=True)) == ["2.1"]  # the gap is closed


def test_the_end_of_a_call_sent_on_in_a_gap_waits_for_its_rows_though_the_connection_is_lost_again(cel: Path) -> None:
    """Its channels may have the linkedid of another call by now, which was older and became one with it."""
    backfill = Backfill(CelFile(str(cel), "iso-8859-1"), Place(-1), _tracker)
    live = parse("Event: Status\r\nUniqueid: 1.1\r\nLinkedid: 0.9\r\nChannel: PJSIP/trunk-00000000", 0)
    assert isinstance(live, Status)
    assert not list(backfill.resync(ChannelList((live,), at(-52), "22", at(-9000), None), (), at(-52)))
    assert heard_out(backfill, -50.9, ended_live("1.1", -51, answered=False)) == []
    backfill.interrupt()
    assert held(backfill, -50.8) == []
    write_call(cel, "1.1", "1.2", NOON - 60)
    assert held(backfill, -50.7) == ["incoming.before", "incoming.forward", "incoming.pickup", "incoming.after"]
    assert not backfill.holds_ends


def held(backfill: Backfill, seconds: float) -> list[str]:
    """The stages that a look without a connection tells."""

    async def look() -> list[str]:
        return [stage.name async for report in backfill.poll_held(at(seconds)) for stage in report.stages]

    return asyncio.run(look())


class _Slow(CelFile):
    """Its first reading lasts until go_on is set. asked: behind which places rows were read."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), "iso-8859-1")
        self.asked: list[Place] = []
        self.go_on = threading.Event()

    def rows_after(self, place: Place) -> list[tuple[Place, CelRow]] | None:
        self.asked.append(place)
        if len(self.asked) == 1:
            self.go_on.wait(60)
        return super().rows_after(place)


def test_a_hub_that_stops_while_it_reads_cel_reads_each_row_once(cel: Path) -> None:
    file = _Slow(cel)
    backfill = Backfill(file, Place(-1), _tracker)
    resync(backfill, -70, live=["1.1"])
    assert heard_out(backfill, -50.9, ended_live("1.1", -51, answered=False)) == []
    write_call(cel, "1.1", "1.2", NOON - 60)

    async def collect(reports: AsyncIterator[CallReport]) -> list[str]:
        return [stage.name async for report in reports for stage in report.stages]

    async def scenario() -> None:
        polled = asyncio.create_task(collect(backfill.poll(at(-50.8))))
        await until(lambda: file.asked)
        held = asyncio.create_task(collect(backfill.poll_held(at(-50.8))))
        await asyncio.sleep(0)  # it has begun
        file.go_on.set()
        assert sorted([*await polled, *await held]) == sorted(ANSWERED)
        assert file.asked.count(Place(-1)) == 1

    run(scenario())


def test_calls_that_merge_while_others_are_published_are_met_once() -> None:
    calls = CelCalls()
    for uniqueid, linkedid in (("1.1", "1.1"), ("2.1", "2.1"), ("3.1", "3.1")):
        calls.add(Place(0), read_row({"uniqueid": uniqueid, "linkedid": linkedid}), 0.0)
    met = iter(calls)
    assert next(met).keys == {"1.1"}
    calls.add(Place(0), read_row({"uniqueid": "3.1", "linkedid": "2.1"}), 0.0)
    assert [call.keys for call in met] == [{"2.1", "3.1"}]


def test_of_a_call_that_nobody_took_cel_tells_how_the_phones_of_the_gap_refused(cel: Path) -> None:
    backfill = connected(cel, -1, seconds=-59, live=["1.1"])
    assert heard_out(backfill, -51, ended_live("1.1", -51, answered=False)) == []
    write_call(cel, "1.1", "1.2", NOON - 60, slice(0, 2))
    with closing(sqlite3.connect(cel)) as connection:
        for uniqueid, name, cause in (("1.2", "PJSIP/101-00000001", 21), ("1.1", "PJSIP/trunk-00000000", 16)):
            why = f'{{"hangupcause":{cause},"hangupsource":"{name}"}}'
            row = ("HANGUP", NOON - 51, name, uniqueid, "1.1", why)
            columns = "eventtype, eventtime, channame, uniqueid, linkedid, eventextra"
            connection.execute(f"INSERT INTO cel ({columns}) VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.commit()
    end = looked(backfill, -50)[-1]
    assert (end.disposition, end.stages[0].values["disposition"]) == ("DECLINE", "DECLINE")
    assert [leg["status"] for leg in end.values["legs"]] == ["DECLINE"]


def test_rows_are_read_between_those_that_a_busy_asterisk_writes(cel: Path) -> None:
    """It locks the file for every row, and leaves it open for 3 ms between two."""
    write_call(cel, "2.1", "2.2", NOON - 60)
    enough = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(cel, isolation_level=None)) as writer:
            while not enough.is_set():
                writer.execute("BEGIN EXCLUSIVE")
                enough.wait(0.05)
                writer.execute("COMMIT")
                enough.wait(0.003)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        file = CelFile(str(cel), "iso-8859-1")
        assert [len(file.rows_after(Place(-1)) or ()) for _ in range(5)] == [9] * 5
    finally:
        enough.set()
        writing.join()


def recorded_cel() -> Path:
    return TRACES / "cel" / "mobile-22.sqlite3"


def test_what_was_told_live_of_a_call_is_not_told_again_by_cel(database: Database, tmp_path: Path) -> None:
    """A phone outside rings with one in the office; the hub is killed after the pickup; CEL tells the end."""
    pbx_id = add_pbx(database, PbxPlayer())
    tracker = Tracker()
    with gzip.open(TRACES / "cel" / "mobile-22.ami.gz", "rt") as lines:
        for message in read(lines):
            reports = tracker.feed(message)
            publish(context_of(database), {pbx_id: reports}, datetime.now(UTC))
            if any(stage.name == "incoming.pickup" for report in reports for stage in report.stages):
                break
    heard = stages_of(database)
    assert heard == ["incoming.before", "incoming.forward", "incoming.forward", "incoming.pickup"]
    copy = tmp_path / "copy.db"
    shutil.copy(recorded_cel(), copy)
    for known in (True, False):  # what Dial dialled; without it, the leg shows the DID
        if not known:
            with closing(sqlite3.connect(copy)) as connection:
                connection.execute("UPDATE cel SET appdata = '', appname = ''")
                connection.execute("UPDATE cel SET cidnum = '5550923' WHERE cidnum = '5550922'")
                connection.commit()
        backfill = Backfill(CelFile(str(copy), "iso-8859-1"), Place(BEFORE_ALL), _tracker)
        now = datetime.fromtimestamp(1795908681 + 500, UTC)
        assert list(backfill.resync(ChannelList((), now, "22", None, None), [], now)) == []
        publish(context_of(database), {pbx_id: looked_at(backfill, now)}, datetime.now(UTC))
        assert stages_of(database) == [*heard, "incoming.after"]


def test_a_leg_that_was_not_told_live_is_told_by_cel_though_another_rang_at_that_moment(database: Database) -> None:
    """The hub was killed between the two legs of a group."""
    pbx_id = add_pbx(database, PbxPlayer())

    def forward(to: str) -> Stage:
        return Stage("incoming.forward", to, 1, at(1), {"forward_to": to})

    heard = gone("1.1")._replace(ended_on=None, stages=(forward("101"),), memory={"open": True})
    publish(context_of(database), {pbx_id: [heard]}, at(2))
    keys = {f"incoming.forward {to}": at(1).timestamp() for to in ("101", "102", "103")}
    by_cel = heard._replace(stages=(forward("102"), forward("101"), forward("103")), memory=None, by_cel=keys)
    publish(context_of(database), {pbx_id: [by_cel]}, at(3))
    with database.read() as session:
        assert sorted(session.scalars(select(StageEvent.key))) == ["101", "102", "103"]
    assert notes_of(database) == {"1.1": {"open": True}}


def played(*talk: str) -> Recording:
    return Recording("made", tuple(Played(0.0, block.strip().replace("\r\n", "\n")) for block in talk))


@pytest.mark.slow
def test_a_call_answered_in_a_gap_is_picked_up_before_it_ends_and_ends_answered(database: Database, cel: Path) -> None:
    """While the line is down an employee takes the call and leaves it; its caller hangs up when the line is back."""
    began = float(CALLER["Uniqueid"])
    leg = agent("101", 2)
    unheard = [
        event("Newchannel", **agent("101", 2, prefix=""), Timestamp=made_at(1), ChannelStateDesc="Down"),
        *answered_by("101", 2, 1),
        event("Hangup", **agent("101", 2, prefix=""), Timestamp=made_at(8), Cause="16"),
    ]

    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player, cel_path=str(cel))
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).cel_cursor == -1)
                await player.play(played(event("Newchannel", **NEW)), speed=0)
                await until(lambda: stages_of(database) == ANSWERED[:1])
                stocks = [action["Action"] for action in player.actions].count("CoreShowChannels")
                player.drop()
                await player.play(played(*unheard), speed=0)
                await until(lambda: [action["Action"] for action in player.actions].count("CoreShowChannels") > stocks)
                await until(lambda: pbx_of(database, pbx_id).state == "connected")
                await player.play(played(event("Hangup", **CALLER, Timestamp=made_at(9), Cause="16")), speed=0)
                for rows in (slice(0, 4), slice(6, 8), slice(4, 6)):
                    write_call(cel, CALLER["Uniqueid"], leg["DestUniqueid"], began, rows)
                await until(lambda: [call for call in calls_of(database) if call.ended_on])
        assert stages_of(database) == ANSWERED
        (call,) = calls_of(database)
        assert (call.disposition, call.extension, call.data["end_reason"]) == ("ANSWERED", "101", "hangup")
        assert call.data["is_missed"] is False

    run(scenario())


OUT, SENT_ON = (
    {"Channel": f"PJSIP/trunk-{n}", "Uniqueid": f"1.{n}", "Linkedid": "1.1", "Context": "from-trunk"} for n in (2, 3)
)
THERE = {"ChannelStateDesc": "Up", "CallerIDNum": "s", "Exten": ""}
IN_TALK = {"BridgeUniqueid": "b", "BridgeType": "basic", "BridgeNumChannels": "2"}


def send_on_outside(path: Path, now: float) -> None:
    """101 calls 15551234 and transfers them to 15559999: only the two outside parties are left."""
    first, out, sent_on = ("1.1", "PJSIP/101-1", "101"), ("1.2", "PJSIP/trunk-2", ""), ("1.3", "PJSIP/trunk-3", "")
    transfer = '{"extension":"15559999","transferee_channel_name":"PJSIP/trunk-2","transferee_channel_uniqueid":"1.2"}'
    rows = [
        ("CHAN_START", 0, *first, "15551234", "from-internal", "{}"),
        ("CHAN_START", 1, *out, "s", "from-trunk", "{}"),
        ("ANSWER", 2, *out, "s", "from-trunk", "{}"),
        ("BLINDTRANSFER", 5, *first, "15551234", "from-internal", transfer),
        ("HANGUP", 5, *first, "15551234", "from-internal", '{"hangupcause":16}'),
        ("CHAN_START", 6, *sent_on, "s", "from-trunk", "{}"),
        ("ANSWER", 7, *sent_on, "s", "from-trunk", "{}"),
    ]
    write_rows(path, [(kind, int(now - NOON) - 10 + time, *rest) for kind, time, *rest in rows])


@pytest.mark.slow
def test_a_call_whose_beginner_left_in_the_gap_that_it_began_in_is_known_as_theirs(
    database: Database, cel: Path
) -> None:
    async def scenario() -> None:
        async with playing() as player:
            pbx_id = add_pbx(database, player, cel_path=str(cel))
            async with listening(database):
                await until(lambda: pbx_of(database, pbx_id).cel_cursor == -1)
            send_on_outside(cel, datetime.now(UTC).timestamp())
            for channel in (OUT, SENT_ON):
                await player.send(event("Newchannel", **channel, **THERE).replace("\r\n", "\n"))
                await player.send(event("BridgeEnter", **channel, **IN_TALK).replace("\r\n", "\n"))
            async with listening(database):
                await until(lambda: len(stages_of(database)) > 1)
                assert stages_of(database) == ["outgoing.before", "outgoing.pickup"]
                for channel in (OUT, SENT_ON):
                    ended = event("Hangup", **channel, Timestamp=str(datetime.now(UTC).timestamp()), Cause="16")
                    await player.send(ended.replace("\r\n", "\n"))
                await until(lambda: [call for call in calls_of(database) if call.ended_on])
        assert stages_of(database) == ["outgoing.before", "outgoing.pickup", "outgoing.after"]
        (call,) = calls_of(database)
        assert (call.direction, call.extension, call.dst, call.disposition) == (
            "outgoing", "101", "15551234", "ANSWERED",
        )  # fmt: skip

    run(scenario())


def sent_on_outside() -> ChannelList:
    found = [parse(event("Status", **channel, **THERE), 0) for channel in (OUT, SENT_ON)]
    return ChannelList(tuple(one for one in found if isinstance(one, Status)), at(0), "22", at(-9000), None)


@pytest.mark.parametrize("hubs_clock", [0, 7200, -7200])
def test_rows_that_come_a_moment_after_the_channels_are_read_are_waited_for(cel: Path, hubs_clock: float) -> None:
    backfill, tracker = Backfill(CelFile(str(cel), "iso-8859-1"), Place(-1), _tracker), _tracker()
    channels = sent_on_outside()

    async def scenario() -> list[CallReport]:
        taken_up = asyncio.create_task(backfill.take_up(channels, tracker, at(hubs_clock)))
        await asyncio.sleep(0)  # it has begun
        await asyncio.to_thread(send_on_outside, cel, NOON)
        return await taken_up

    reports = asyncio.run(scenario())
    assert [stage.name for report in reports for stage in report.stages] == ["outgoing.before", "outgoing.pickup"]
    assert tracker.live_calls == 1
    told = tracker.resync(channels.channels, at(0), "lost_while_disconnected")
    assert not [stage for report in told for stage in report.stages]


def test_a_reading_of_cel_that_fails_in_an_unforeseen_way_is_logged_and_the_list_of_channels_counts(cel: Path) -> None:
    class Failing(CelFile):
        def rows_after(self, place: Place) -> list[tuple[Place, CelRow]] | None:
            raise RuntimeError("unforeseen")

    backfill = Backfill(Failing(str(cel), "iso-8859-1"), Place(-1), _tracker)
    with capture_logs() as logged:
        assert asyncio.run(backfill.take_up(sent_on_outside(), _tracker(), at(0))) == []
    assert [line["log_level"] for line in logged] == ["error"]


def test_a_hub_that_stops_while_it_reads_the_beginning_of_a_call_leaves_nothing_running(cel: Path) -> None:
    file = _Slow(cel)
    backfill = Backfill(file, Place(-1), _tracker)

    async def scenario() -> None:
        before = asyncio.all_tasks()
        taken_up = asyncio.create_task(backfill.take_up(sent_on_outside(), _tracker(), at(0)))
        await until(lambda: file.asked)
        taken_up.cancel()
        await asyncio.wait({taken_up})
        await backfill.close()
        left = asyncio.all_tasks() - before
        file.go_on.set()
        assert not left

    run(scenario())
