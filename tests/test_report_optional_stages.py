"""Moments that are reported only where a webhook asks for them; every other stage stays what it is without them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select, update

from pbxhub.ami.pbx_rows import read_rows
from pbxhub.calls.ami_parser import parse
from pbxhub.calls.replay import replay
from pbxhub.calls.stages import OPTIONAL_STAGES, CallReport
from pbxhub.calls.tracker import Tracker
from pbxhub.cli import main
from pbxhub.store.accounts import Number
from pbxhub.store.history import Call, StageEvent
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook
from pbxhub.webhooks.spec import Parameter, RequestSpec, WebhookSpec
from tests.support.made_events import CALLER, NEW, agent, at, event
from tests.support.outbox_world import AFTER, NOON, VAULT, World
from tests.support.recordings import messages_of, more, scenarios

RECORDINGS = {f"{version}/{name}": lines for version in ("16", "22") for name, lines in scenarios(version).items()}
RECORDINGS |= more()
INSIDE = {"Channel": "PJSIP/103-00000001", "Context": "from-internal", "CallerIDNum": "103", "Exten": "102"}


def all_stages(lines: Any) -> list[dict[str, Any]]:
    return list(replay(lines, Tracker(optional=OPTIONAL_STAGES)))


def told(*names: str, of: str) -> list[dict[str, Any]]:
    """The optional stages of a recording on Asterisk 22, without what is of no interest here."""
    return [
        {"stage": stage["stage"], **{name: stage.get(name) for name in names}}
        for stage in all_stages(scenarios("22")[of])
        if stage["stage"] in OPTIONAL_STAGES
    ]


def heard(*blocks: str, tracker: Tracker | None = None) -> list[CallReport]:
    tracker = tracker or Tracker(optional=OPTIONAL_STAGES)
    return [report for block in blocks if (message := parse(block)) for report in tracker.feed(message)]


def fed(*blocks: str, tracker: Tracker | None = None) -> list[str]:
    reports = heard(*blocks, tracker=tracker)
    return [f"{stage.name} {stage.key}".strip() for report in reports for stage in report.stages]


@pytest.mark.parametrize("name", RECORDINGS)
def test_they_change_nothing_about_the_other_stages(name: str) -> None:
    with_them = all_stages(RECORDINGS[name])
    others = [stage for stage in with_them if stage["stage"] not in OPTIONAL_STAGES]
    assert others == list(replay(RECORDINGS[name]))
    seen = Counter(stage["stage"] for stage in with_them)
    assert seen["internal.before"] == seen["internal.after"]
    assert seen["call.hold"] == seen["call.unhold"]


def test_a_caller_who_leaves_a_queue_is_told_with_the_queue_and_the_wait() -> None:
    abandoned, unring = told("queue", "queue_wait", "extension", "ring_status", of="queue_abandon")
    assert abandoned["stage"] == "incoming.abandoned"
    assert (abandoned["queue"], abandoned["queue_wait"]) == ("support", 1)
    assert (unring["stage"], unring["extension"], unring["ring_status"]) == ("incoming.unring", "101", "NO ANSWER")


def test_each_phone_of_a_ring_group_that_did_not_take_the_call_stops_ringing() -> None:
    found = {stage["extension"]: stage["ring_status"] for stage in told("extension", "ring_status", of="ring_group")}
    assert found == {"101": "NO ANSWER", "103": "BUSY"}
    assert told("ring_status", of="declined") == [{"stage": "incoming.unring", "ring_status": "DECLINE"}]
    assert told(of="answered_caller_hangup") == []


def test_a_hold_is_told_when_it_begins_and_ends() -> None:
    assert told("extension", "hold_count", "hold_time", of="hold") == [
        {"stage": "call.hold", "extension": "101", "hold_count": 1, "hold_time": 0},
        {"stage": "call.unhold", "extension": "101", "hold_count": 1, "hold_time": 1},
    ]


def test_a_call_inside_the_company_is_told_from_its_first_ring_to_its_end() -> None:
    assert told("caller", "extension", "is_answered", of="internal") == [
        {"stage": "internal.before", "caller": "101", "extension": "102", "is_answered": None},
        {"stage": "internal.pickup", "caller": "101", "extension": "102", "is_answered": None},
        {"stage": "internal.after", "caller": "101", "extension": "102", "is_answered": True},
    ]


def test_a_consultation_is_an_internal_call_that_ends_with_the_transfer() -> None:
    names = [stage["stage"] for stage in all_stages(scenarios("22")["attended_refer"])]
    assert names[names.index("internal.before") :] == [
        "internal.before", "internal.pickup", "call.unhold", "internal.after", "incoming.forward", "incoming.pickup",
        "incoming.after",
    ]  # fmt: skip


def test_whoever_asks_for_a_call_by_originate_is_not_called_from_inside() -> None:
    assert told(of="originate_click2call") == []


def test_voicemail_is_told_when_the_dialplan_says_so() -> None:
    said = {"UserEvent": "PBXHubDisposition", "Disposition": "voicemail"}
    marked = [event("UserEvent", Timestamp=at(second), **CALLER, **said) for second in (3, 4)]
    stages = fed(event("Newchannel", **NEW), *marked, event("Hangup", Timestamp=at(5), **CALLER, Cause="16"))
    assert stages == ["incoming.before", "call.voicemail", "incoming.after"]


def test_the_message_in_voicemail_is_no_recording_of_the_call() -> None:
    left = {"UserEvent": "PBXHubDisposition", "Disposition": "VOICEMAIL", "File": "/spool/voicemail/msg0000.wav"}
    tracker, recorded = Tracker(optional=OPTIONAL_STAGES), "ChanVariable: MIXMONITOR_FILENAME=/spool/monitor/call.wav"
    new = event("Newchannel", **NEW).rstrip() + f"\r\n{recorded}\r\n\r\n"
    marked = event("UserEvent", Timestamp=at(3), **CALLER, **left)
    reports = heard(new, marked, event("Hangup", Timestamp=at(5), **CALLER, Cause="16"), tracker=tracker)
    told = {stage.name: stage.values.get("recording_file") for report in reports for stage in report.stages}
    assert told["call.voicemail"] == "/spool/voicemail/msg0000.wav"
    assert told["incoming.after"] != "/spool/voicemail/msg0000.wav"


def ring(extension: str, number: int, second: float, status: str = "NOANSWER", end: bool = True) -> list[str]:
    dial = {**CALLER, **agent(extension, number)}
    begins = [event("DialBegin", Timestamp=at(second), **dial, DialString=extension)]
    ends = [
        event("DialEnd", Timestamp=at(second + 1), **dial, DialStatus=status),
        event("Hangup", Timestamp=at(second + 1), **agent(extension, number, prefix=""), Cause="16"),
    ]
    return begins + (ends * 2 if end else [])


def test_a_phone_that_a_queue_rings_again_stops_again_also_after_a_restart() -> None:
    before = Tracker(optional=OPTIONAL_STAGES)
    stages = fed(event("Newchannel", **NEW), *ring("101", 2, 1), *ring("101", 3, 3, end=False), tracker=before)
    after = Tracker(optional=OPTIONAL_STAGES)
    after.restore(before.all_notes())
    stages += fed(*ring("101", 3, 3)[1:], event("Hangup", Timestamp=at(5), **CALLER, Cause="16"), tracker=after)
    assert stages == [
        "incoming.before", "incoming.forward 101", "incoming.unring 1795328662.2", "incoming.unring 1795328662.3",
        "incoming.after",
    ]  # fmt: skip


def test_of_a_phone_that_rang_twice_cel_tells_the_time_that_was_not_told_live(database: Database) -> None:
    """The hub starts between the two; its CEL file tells both."""
    world = World(database)
    world.webhook("incoming.unring")
    arrives, first, second = event("Newchannel", **NEW), ring("101", 2, 1), ring("101", 3, 20)
    world.publish(*heard(arrives, *second))
    by_cel = heard(arrives, *first, *second)
    keys = {f"{stage.name} {stage.key}": stage.time.timestamp() for told in by_cel for stage in told.stages}
    world.publish(*(told._replace(memory=None, by_cel=keys) for told in by_cel))
    with database.read() as session:
        times = session.scalars(select(StageEvent.created_on).where(StageEvent.stage == "incoming.unring"))
        assert sorted(f"{time.timestamp():.6f}" for time in times) == [at(2), at(21)]


def test_a_phone_that_vanished_while_the_hub_was_away_has_stopped_ringing() -> None:
    tracker = Tracker(optional=OPTIONAL_STAGES)
    fed(event("Newchannel", **NEW), *ring("101", 2, 1, end=False), tracker=tracker)
    reports = tracker.resync([], NOON, "lost_while_disconnected")
    assert [stage.name for report in reports for stage in report.stages] == ["incoming.unring", "incoming.after"]


def test_an_internal_call_that_goes_outside_is_closed_before_the_outgoing_one_begins() -> None:
    first = {**NEW, **INSIDE}
    colleague = {**CALLER, **INSIDE, **agent("102", 2)}
    trunk = {**CALLER, **INSIDE, **agent("trunk", 3), "DestContext": "from-trunk"}
    stages = fed(
        event("Newchannel", **first),
        event("DialBegin", Timestamp=at(1), **colleague, DialString="102"),
        event("DialBegin", Timestamp=at(2), **trunk, DialString="79161234567@trunk"),
        event("DialEnd", Timestamp=at(3), **trunk, DialStatus="ANSWER"),
        event("Hangup", Timestamp=at(4), **agent("102", 2, prefix=""), Cause="26"),
        event("Hangup", Timestamp=at(5), **agent("trunk", 3, prefix=""), Cause="16"),
        event("Hangup", Timestamp=at(6), **CALLER, Cause="16"),
    )
    assert stages == ["internal.before", "internal.after", "outgoing.before", "outgoing.pickup", "outgoing.after"]


def reports(name: str, optional: tuple[str, ...] = OPTIONAL_STAGES) -> list[CallReport]:
    tracker = Tracker(optional=optional)
    return [report for message in messages_of("22", name) for report in tracker.feed(message)]


def what(*names: str) -> WebhookSpec:
    parameters = tuple(Parameter(name, value=f"<<{name}>>") for name in names)
    return WebhookSpec(RequestSpec(url="http://127.0.0.1:9/", parameters=parameters))


def test_a_project_that_waits_for_none_keeps_none_of_those_told_for_another(database: Database) -> None:
    world = World(database)
    world.webhook(AFTER)
    world.publish(*reports("ring_group"))
    with database.read() as session:
        assert {event.stage for event in session.scalars(select(StageEvent))}.isdisjoint(OPTIONAL_STAGES)
        with_them = session.scalars(select(Call)).one()
    other = World(database)
    other.publish(*reports("ring_group", ()))
    with database.read() as session:
        without = session.scalars(select(Call).where(Call.pbx_id == other.pbx_id)).one()
    assert (with_them.data, with_them.extension) == (without.data, without.extension)


def test_a_webhook_gets_the_stage_that_it_waits_for_and_no_other(database: Database) -> None:
    world = World(database)
    hook = world.webhook("incoming.unring", what("extension", "ring_status"))
    world.publish(*reports("ring_group"))
    deliveries = world.deliveries()
    assert {row.webhook_id for row in deliveries} == {hook}
    assert sorted(row.body for row in deliveries) == [
        b'{"extension":"101","ring_status":"NO ANSWER"}', b'{"extension":"103","ring_status":"BUSY"}',
    ]  # fmt: skip


def test_an_internal_call_that_is_told_live_is_one_call_of_the_history(database: Database) -> None:
    world = World(database)
    for stage in ("internal.before", "internal.pickup", "internal.after"):
        world.webhook(stage, what("stage", "caller", "extension"))
    for report in reports("internal"):
        world.publish(report)
    assert [row.body for row in world.deliveries()] == [
        f'{{"stage":"internal.{stage}","caller":"101","extension":"102"}}'.encode()
        for stage in ("before", "pickup", "after")
    ]
    with database.read() as session:
        (call,) = session.scalars(select(Call)).all()
    assert (call.direction, call.disposition, call.ended_on is not None) == ("internal", "ANSWERED", True)


def test_the_listener_asks_for_what_webhooks_of_its_projects_wait_for(database: Database) -> None:
    world, other = World(database), World(database)

    def asked() -> dict[int, frozenset[str]]:
        return {key: row.optional_stages for key, row in read_rows(database, VAULT).items()}

    assert asked() == {world.pbx_id: frozenset(), other.pbx_id: frozenset()}
    world.webhook("call.hold")
    world.webhook(AFTER)
    other.webhook("call.unhold", enabled=False)
    other.webhook("internal.before", deleted_on=NOON)
    assert asked() == {world.pbx_id: {"call.hold"}, other.pbx_id: frozenset()}
    with database.write() as session:
        session.add(Number(project_id=world.project_id, pbx_id=other.pbx_id, did="380441234567"))
    assert asked() == {world.pbx_id: {"call.hold"}, other.pbx_id: {"call.hold"}}
    with database.write() as session:
        session.execute(update(Webhook).values(enabled=False))
    assert asked() == {world.pbx_id: frozenset(), other.pbx_id: frozenset()}


def test_a_phone_that_refuses_what_it_is_asked_stops_ringing_and_took_no_call() -> None:
    """Dial with U(): 101 answers, is asked whether it takes the call, and hangs up before it is bridged."""
    elsewhere = event("BridgeEnter", Timestamp=at(0), Uniqueid="9.9", Linkedid="9.9", BridgeUniqueid="b")
    tracker = Tracker(optional=OPTIONAL_STAGES)
    blocks = [elsewhere, event("Newchannel", **NEW), *ring("101", 2, 1, "ANSWER"),
              event("Hangup", Timestamp=at(5), **CALLER, Cause="16")]  # fmt: skip
    found = [report for block in blocks if (message := parse(block)) for report in tracker.feed(message)]
    stages = [stage for report in found for stage in report.stages]
    assert [stage.name for stage in stages] == [
        "incoming.before", "incoming.forward", "incoming.unring", "incoming.after",
    ]  # fmt: skip
    assert stages[2].values["ring_status"] == "DECLINE"


def test_replay_shows_them_when_it_is_asked_to(tmp_path: Path) -> None:
    file = tmp_path / "call.ami"
    file.write_text("".join(scenarios("22")["declined"]))

    def printed(*options: str) -> list[str]:
        lines = CliRunner().invoke(main, ["replay", str(file), *options]).output.splitlines()
        return [json.loads(line)["stage"] for line in lines]

    assert printed() == ["incoming.before", "incoming.forward", "incoming.after"]
    assert printed("--optional", "call.hold") == printed()
    refused = CliRunner().invoke(main, ["replay", str(file), "--optional", "call.hld"])
    assert (refused.exit_code, "call.hld is not an optional stage; give all, or one of" in refused.output) == (2, True)
    assert printed("--optional", "all") == ["incoming.before", "incoming.forward", "incoming.unring", "incoming.after"]
