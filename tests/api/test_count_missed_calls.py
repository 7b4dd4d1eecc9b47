"""Somebody counts the missed calls of a day: every page and the API give the same number."""

import csv
import io
import re
from collections import Counter
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from pbxhub.account.statistics import calls_of_day
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.replay import read
from pbxhub.calls.tracker import Tracker
from pbxhub.store.history import RESULT, RESULTS, Call
from pbxhub.store.ids import new_id
from pbxhub.store.session import Database
from tests.support.made_events import CALLER, NEW, agent, answered, event
from tests.support.made_events import at as second
from tests.support.outbox_world import World, at
from tests.support.recordings import EXPECTED, scenarios
from tests.support.served import Served
from tests.support.signing_in import member

NOON = datetime(2026, 7, 10, 12, tzinfo=UTC)
TALKED, AT_ONCE = 60, 0
CALLS = (
    ("incoming", "ANSWERED", TALKED, "answered"),
    ("incoming", "ANSWERED", AT_ONCE, "answered"),
    ("incoming", "VOICEMAIL", TALKED, "answered"),
    ("incoming", "VOICEMAIL", 0, "missed"),
    ("incoming", "NO ANSWER", 0, "missed"),
    ("incoming", "BUSY", 0, "missed"),
    ("incoming", "DECLINE", 0, "missed"),
    ("incoming", "FAILED", 0, "missed"),
    ("incoming", "NO-FORWARD", 0, "missed"),
    ("incoming", "WRONG EXTENSION", 0, "missed"),
    ("outgoing", "ANSWERED", TALKED, "answered"),
    ("outgoing", "NO ANSWER", 0, "unanswered"),
    ("outgoing", "BUSY", 0, "unanswered"),
    ("outgoing", "FAILED", 0, "unanswered"),
    ("internal", "ANSWERED", TALKED, "answered"),
    ("internal", "NO ANSWER", 0, "unanswered"),
    ("incoming", "", None, ""),
)
"""Direction, disposition, seconds of talk (None: in progress), and what it counts as."""
COUNTS = Counter(result for *_, result in CALLS if result)


def test_pages_and_api_count_the_same_missed_calls(hub: Served) -> None:
    with hub.database.write() as session:
        for direction, disposition, talk, _result in CALLS:
            session.add(
                Call(id=new_id(), project_id=hub.project_id, pbx_id=hub.pbx_id, linkedid=str(new_id()), caller="1",
                     direction=direction, dst="380445556677", extension="101", started_on=NOON,
                     ended_on=None if talk is None else NOON, disposition=disposition, talk=talk)
            )  # fmt: skip
    with hub.database.read() as session:
        day = calls_of_day(session, hub.project_id, NOON + timedelta(hours=1), UTC)
    assert sum((bar.counts for bar in day.bars), Counter[str]()) == COUNTS

    viewer, program = member(hub, "viewer"), hub.client("read")
    project = f"/projects/{hub.project_id}"
    counted = program.get("/calls/report", by="employee").data["total"]
    assert (counted["calls"], counted["answered"], counted["missed"]) == (
        COUNTS.total(), COUNTS["answered"], COUNTS["missed"]
    )  # fmt: skip
    assert program.get("/calls/report", by="number").data["total"]["missed"] == COUNTS["missed"]
    report = viewer.get(f"{project}/calls/report?from=2026-07-10T00:00&to=2026-07-12T00:00").text
    assert re.findall(r'<td class="num">(\d+)</td>', report)[2] == str(COUNTS["missed"])
    for result in RESULTS:
        page = viewer.get(f"{project}/calls?result={result}").text
        assert page.count('class="row-link"') == COUNTS[result], result
        assert len(list(program.all("/calls", result=result))) == COUNTS[result], result
        file = viewer.get(f"{project}/export/calls.csv?result={result}").text.removeprefix("\ufeff")
        assert len(list(csv.reader(io.StringIO(file)))) == 1 + COUNTS[result], result
    found = viewer.get(f"{project}/search?q=missed 10.07.2026").text
    (link,) = set(re.findall(rf'href="({project}/calls\?[^"]*result=missed[^"]*)"', found))
    assert viewer.get(link.replace("&amp;", "&")).text.count('class="row-link"') == COUNTS["missed"]


def test_every_recorded_call_counts_as_its_webhooks_say(database: Database) -> None:
    world = World(database)
    for name in EXPECTED:
        tracker = Tracker()
        tracker.expect_bridges()
        for message in read(scenarios("22")[name]):
            world.publish(*tracker.feed(message), now=at(0))
    with database.read() as session:
        rows = session.execute(select(Call.direction, Call.data, RESULT).where(Call.ended_on.is_not(None))).all()
    assert {result for _direction, _data, result in rows} == set(RESULTS)
    for direction, data, result in rows:
        assert (data["is_answered"], data["is_missed"]) == (result == "answered", result == "missed"), data
        assert (result == "unanswered") == (not data["is_answered"] and direction != "incoming")


def test_a_call_answered_for_a_moment_and_then_sent_to_voicemail_counts_as_answered(database: Database) -> None:
    phone = agent("101", 2, prefix="")
    bridge = {"BridgeUniqueid": "b", "BridgeType": "basic", "BridgeNumChannels": "2"}
    blocks = [
        event("Newchannel", **NEW),
        event("Newchannel", Timestamp=second(0.5), ChannelStateDesc="Down", Exten="", **phone),
        *answered("101", 2, 1), event("BridgeEnter", Timestamp=second(2.1), **phone, **bridge),
        event("BridgeEnter", Timestamp=second(2.15), **CALLER, **bridge),
        event("Hangup", Timestamp=second(2.5), Cause="16", **phone),
        event("UserEvent", UserEvent="PBXHubDisposition", Disposition="VOICEMAIL", Timestamp=second(3), **CALLER),
        event("Hangup", Timestamp=second(9), Cause="16", **CALLER),
    ]  # fmt: skip
    tracker, world = Tracker(), World(database)
    for message in filter(None, map(parse, blocks)):
        if reports := tracker.feed(message):
            world.publish(*reports, now=at(0))
    with database.read() as session:
        ((call, result),) = session.execute(select(Call, RESULT)).all()
        assert (call.disposition, call.data["billsec"], call.data["is_answered"]) == ("VOICEMAIL", 0, True)
        assert (result, call.talk) == ("answered", 1)
