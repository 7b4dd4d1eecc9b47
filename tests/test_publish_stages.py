"""The listener reports stages; the hub writes them with their deliveries, once, whoever reports them."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, update

from pbxhub.ami.channel_list import ReceivedEvent
from pbxhub.ami.event_log import write_events
from pbxhub.calls.stages import Stage, Value
from pbxhub.delivery.links import Links
from pbxhub.delivery.outbox import Published, publish, remove_of_calls
from pbxhub.store.accounts import COMMON_FOLDER, Employee, Number, Pbx
from pbxhub.store.delivery_rows import FAILED, PENDING
from pbxhub.store.history import Call, CallEvents, LiveCall, StageEvent
from pbxhub.store.session import Database
from pbxhub.store.webhooks import Webhook, touch_webhooks
from pbxhub.webhooks.params import from_json
from pbxhub.webhooks.request import CompiledRequest, NotSent, Request
from pbxhub.webhooks.spec import Filter, Parameter, RequestSpec
from pbxhub.webhooks.working_time import Calendar
from tests.support.outbox_world import (
    AFTER,
    BEFORE,
    FORWARD,
    NOON,
    OK,
    PICKUP,
    VAULT,
    World,
    at,
    context_of,
    finish,
    forward,
    report,
    spec,
    take,
)

NOTHING = Published(0, 0, 0)


def calls(database: Database) -> list[Call]:
    with database.read() as session:
        return list(session.scalars(select(Call).order_by(Call.linkedid)))


def sent(*names: str) -> RequestSpec:
    return RequestSpec(url="http://127.0.0.1:9/", parameters=tuple(Parameter(n, value=f"<<{n}>>") for n in names))


def body(world: World) -> dict[str, Any]:
    (delivery,) = world.deliveries()
    return dict(json.loads(delivery.body))


def test_every_stage_gives_one_delivery_per_webhook_of_that_stage(database: Database) -> None:
    world = World(database)
    first, second, other = world.webhook(BEFORE), world.webhook(BEFORE), world.webhook(AFTER)
    done = world.publish(report("1.1", BEFORE))
    assert (done.stages, done.deliveries, done.failed) == (1, 2, 0)
    assert [row.webhook_id for row in world.deliveries()] == [first, second]
    assert b'"caller":"+380441234567"' in world.deliveries()[0].body
    world.publish(report("1.1", AFTER, ended=60), now=at(60))
    assert [row.webhook_id for row in world.deliveries()] == [first, second, other]


def test_a_stage_reported_again_changes_nothing(database: Database) -> None:
    world = World(database)
    world.webhook(FORWARD)
    reports = [report("1.1", BEFORE, forward("101")), report("1.1", forward("101"), forward("102", 2))]
    assert world.publish(*reports).deliveries == 2
    assert world.publish(*reports, now=at(5)) == NOTHING
    assert len(world.deliveries()) == 2


def test_two_listeners_report_the_same_calls_at_once(database: Database) -> None:
    world = World(database)
    world.webhook()
    reports = [report(f"1.{number}", BEFORE) for number in range(30)]
    results: list[Published] = []

    def listen(order: list[Any]) -> None:
        for one in order:
            results.append(world.publish(one))

    listeners = [threading.Thread(target=listen, args=(order,)) for order in (reports, reports[::-1], reports)]
    for listener in listeners:
        listener.start()
    for listener in listeners:
        listener.join()
    assert len(results) == 90
    assert sum(result.deliveries for result in results) == len(world.deliveries()) == 30


def test_a_late_report_neither_reopens_a_call_nor_takes_anything_away(database: Database) -> None:
    world = World(database)
    ending = {"billsec": 49, "waittime": 8, "recording_file": "/a.wav"}
    over = report("1.1", AFTER, ended=60, values=ending, disposition="ANSWERED", memory={})
    world.publish(over, now=at(60))
    late = report("1.1", BEFORE, values={"billsec": 1, "trunk": "t1"}, disposition="FAILED")
    assert world.publish(late, now=at(70)).stages == 1
    (call,) = calls(database)
    assert (call.ended_on, call.disposition) == (at(60), "ANSWERED")
    assert call.data == {**ending, "trunk": "t1"}
    assert (call.talk, call.wait, call.recorded) == (49, 8, True)
    with database.read() as session:
        assert session.scalars(select(LiveCall)).all() == []


def test_nothing_that_happened_before_the_end_is_told_after_it(database: Database) -> None:
    """CEL, read again after a restart, may show another number for a leg than AMI did, and so another key."""
    world = World(database)
    over = report("1.1", BEFORE, AFTER, ended=60, disposition="ANSWERED", memory={})
    world.publish(over, now=at(60))
    late = report("1.1", forward("101"), AFTER, ended=60, disposition="ANSWERED", memory=None)
    assert world.publish(late, now=at(70)) == NOTHING


def test_of_two_answers_by_one_employee_cel_tells_the_one_that_was_not_told_live(database: Database) -> None:
    """1. 103 answers in a gap, transfers the caller to 101, and gets them back; 2. the hub hears a part of it."""
    world = World(database)
    cel = [(10, "103"), (20, "101"), (30, "103#2")]
    by_cel = {f"incoming.pickup {key}": at(moment).timestamp() for moment, key in cel}

    def pickup(moment: float, key: str) -> Stage:
        return Stage("incoming.pickup", key, 1, at(moment), {})

    for number, live in enumerate(([], [(10, "103")], [(16, "103")], [(30, "103")], [(16, "103"), (30, "103#2")])):
        linkedid = f"{number}.1"
        world.publish(report(linkedid, *(pickup(*one) for one in live)), now=at(31))
        for _ in range(2):
            for one in cel:
                world.publish(report(linkedid, pickup(*one), memory=None, by_cel=by_cel), now=at(60))
        with database.read() as session:
            call_id = session.scalars(select(Call.id).where(Call.linkedid == linkedid)).one()
            times = [*session.scalars(select(StageEvent.created_on).where(StageEvent.call_id == call_id))]
        first = live[0][0] if live and live[0][0] < 30 else 10  # with a question before the answer, 16
        assert sorted(times) == [at(first), at(20), at(30)], live


@pytest.mark.parametrize(
    ("end", "late"),
    [
        (AFTER, "incoming.abandoned"), (AFTER, "call.voicemail"), (AFTER, "call.unhold"), (AFTER, "internal.before"),
        ("outgoing.after", "call.hold"), ("internal.after", "internal.before"), ("internal.after", "internal.pickup"),
    ],
)  # fmt: skip
def test_no_optional_stage_is_told_after_the_end(database: Database, end: str, late: str) -> None:
    world = World(database)
    world.webhook(late)
    world.webhook(end)
    world.publish(report("1.1", end, ended=60, memory={}), now=at(60))
    told = Stage(late, "", 1, at(50), {})
    assert (
        world.publish(report("1.1", told, memory=None, by_cel={f"{late} ": at(50).timestamp()}), now=at(70)) == NOTHING
    )


def test_a_call_inside_that_turns_out_to_be_one_with_the_outside_goes_on(database: Database) -> None:
    world = World(database)
    for stage in ("internal.after", "call.hold"):
        world.webhook(stage)
    world.publish(report("1.1", "internal.after"), now=at(10))
    assert world.publish(report("1.1", BEFORE, PICKUP, "call.hold"), now=at(20)).stages == 3


def test_the_end_that_was_told_first_stays(database: Database) -> None:
    world = World(database)
    over = report(
        "1.1", AFTER, ended=60, answered_on=at(11), disposition="ANSWERED", values={"end_reason": "hangup"}, memory={}
    )
    world.publish(over, now=at(60))
    lost = {"end_reason": "lost_while_disconnected", "trunk": "t1"}
    again = report("1.1", AFTER, ended=300, disposition="NO ANSWER", values=lost, memory={})
    assert world.publish(again, now=at(300)) == NOTHING
    (call,) = calls(database)
    assert (call.ended_on, call.answered_on, call.disposition) == (at(60), at(11), "ANSWERED")
    assert call.data == {"end_reason": "hangup", "trunk": "t1"}


def test_a_call_of_which_only_the_last_channels_were_seen_becomes_what_it_really_was(database: Database) -> None:
    world = World(database)
    seen = report("1.1", direction="internal", caller="101", ended=60, disposition="NO ANSWER", memory={})
    world.publish(seen, now=at(60))
    told = [report("1.1", BEFORE), report("1.1", AFTER, ended=59, disposition="ANSWERED", memory={})]
    assert world.publish(*told, now=at(62)).stages == 2
    (call,) = calls(database)
    assert (call.direction, call.caller, call.disposition) == ("incoming", "+380441234567", "ANSWERED")
    assert call.ended_on == at(59)


def test_an_end_that_was_only_concluded_gives_way_to_the_one_that_was_heard(database: Database) -> None:
    world = World(database)
    gone = report("1.1", AFTER, ended=300, values={"end_reason": "lost_while_disconnected", "trunk": "t1"}, memory={})
    world.publish(gone, now=at(300))
    heard = report("1.1", AFTER, ended=60, disposition="ANSWERED", values={"end_reason": "hangup"}, memory={})
    assert world.publish(heard, now=at(310)) == NOTHING
    (call,) = calls(database)
    assert (call.ended_on, call.disposition) == (at(60), "ANSWERED")
    assert call.data == {"end_reason": "hangup", "trunk": "t1"}


def test_a_later_stage_sees_what_earlier_ones_told(database: Database) -> None:
    world = World(database)
    world.webhook(AFTER, spec(request=sent("queue", "calldate", "billsec")))
    earlier = {"queue": "sales", "calldate": NOON}
    world.publish(report("1.1", BEFORE, values=earlier))
    world.publish(report("1.1", AFTER, ended=60, values={"billsec": 5}), now=at(60))
    assert body(world) == {"queue": "sales", "calldate": "2026-05-14 15:00:00", "billsec": 5}


def test_a_did_of_another_project_gives_the_call_to_that_project(database: Database) -> None:
    owner, tenant = World(database), World(database)
    owner.webhook()
    expected = tenant.webhook()
    with database.write() as session:
        session.add(Number(project_id=tenant.project_id, pbx_id=owner.pbx_id, did="380445556677"))
    owner.publish(report("1.1", BEFORE))
    assert calls(database)[0].project_id == tenant.project_id
    assert [row.webhook_id for row in owner.deliveries()] == [expected]


def test_filters_decide_and_disabled_webhooks_get_nothing(database: Database) -> None:
    world = World(database)
    world.webhook(BEFORE, spec(filters=(Filter("caller", "starts_with", "+7"),)))
    world.webhook(BEFORE, enabled=False)
    wanted = world.webhook(BEFORE, spec(filters=(Filter("caller", "starts_with", "+380"),)))
    world.publish(report("1.1", BEFORE))
    assert [row.webhook_id for row in world.deliveries()] == [wanted]


def test_an_edited_webhook_is_used_at_once(database: Database) -> None:
    world = World(database)
    webhook_id = world.webhook()
    world.publish(report("1.1", BEFORE))
    with database.write() as session:
        new = spec("http://127.0.0.1:9/new")
        session.execute(update(Webhook).where(Webhook.id == webhook_id).values(spec=new, revision=2))
        touch_webhooks(session, world.project_id)
    world.publish(report("1.2", BEFORE))
    assert [row.webhook_revision for row in world.deliveries()] == [1, 2]
    assert world.deliveries()[1].url.endswith("/new")


def test_what_cannot_be_rendered_is_on_the_error_page_with_its_reason(database: Database) -> None:
    world = World(database)
    must = RequestSpec(url="http://127.0.0.1:9/", parameters=(Parameter("q", value="<<queue>>", mandatory=True),))
    world.webhook(BEFORE, spec(request=must))
    done = world.publish(report("1.1", BEFORE))
    assert (done.deliveries, done.failed) == (0, 1)
    (delivery,) = world.deliveries()
    assert (delivery.state, delivery.outcome, delivery.finished_on) == (FAILED, "not_sent_mandatory", NOON)
    assert "q" in delivery.message


def test_a_damaged_webhook_does_not_stop_the_others(database: Database) -> None:
    world = World(database)
    damaged, fine = world.webhook(), world.webhook()
    with database.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE webhook SET spec = '{{\"nonsense\": 1}}' WHERE id = {damaged}")
    with database.write() as session:
        touch_webhooks(session, world.project_id)
    world.publish(report("1.1", BEFORE))
    assert {row.webhook_id: row.state for row in world.deliveries()} == {damaged: FAILED, fine: PENDING}


def test_a_fault_while_one_request_is_made_keeps_the_stage_and_the_other_requests(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(database)
    faulty, fine = world.webhook(), world.webhook()
    render, made = CompiledRequest.render, []

    def render_but_the_first(self: CompiledRequest, *arguments: Any) -> Request | NotSent:
        made.append(self)
        if len(made) == 1:
            raise RecursionError
        return render(self, *arguments)

    monkeypatch.setattr(CompiledRequest, "render", render_but_the_first)
    world.publish(report("1.1", BEFORE))
    found = {row.webhook_id: (row.state, row.outcome) for row in world.deliveries()}
    assert found == {faulty: (FAILED, "render_error"), fine: (PENDING, "")}


@pytest.mark.slow
def test_a_fault_in_the_filters_of_one_keeps_the_stage_and_the_other_requests(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(database)
    world.webhook(what=spec(filters=(Filter("calldate", "working_time"),)))
    fine = world.webhook()

    def works_at(_calendar: Calendar, _moment: Any) -> bool:
        raise RecursionError

    monkeypatch.setattr(Calendar, "works_at", works_at)
    world.publish(report("1.1", BEFORE))
    assert [row.webhook_id for row in world.deliveries()] == [fine]
    assert len(calls(database)) == 1


def test_the_hub_adds_what_it_knows(database: Database) -> None:
    world = World(database)
    names = (
        "event", "project_name", "employee_name", "department", "manager_id", "n_alias", "caller_e164", "country",
        "call_counter", "first_call", "is_answered", "call_card", "recording",
    )  # fmt: skip
    with database.write() as session:
        employee = {"name": "Ivan", "department": "Sales", "crm_id": "504141"}
        session.add(Employee(project_id=world.project_id, extension="101", **employee))
        session.add(Number(project_id=world.project_id, pbx_id=world.pbx_id, did="380445556677", label="Main page"))
    publish(
        context_of(database), {world.pbx_id: [report("1.0", BEFORE, caller="0441234567", started_on=at(-60))]}, NOON
    )
    world.webhook(PICKUP, spec(request=sent(*names)))
    known = {"extension": "101", "recording_file": "/a.wav"}
    one = report("1.1", PICKUP, values=known, caller="0441234567", extension="101", answered_on=at(1))
    world.publish(one, now=at(1))
    call = calls(database)[1]
    found = body(world)
    assert found.pop("recording").startswith(f"https://pbx.example.com/recordings/{call.id}?signature=")
    assert found == {
        "event": PICKUP, "project_name": "Flower shop", "employee_name": "Ivan", "department": "Sales",
        "manager_id": "504141", "n_alias": "Main page", "caller_e164": "+380441234567", "country": "UA",
        "call_counter": 2, "first_call": False, "is_answered": True,
        "call_card": f"https://pbx.example.com/calls/{call.id}",
    }  # fmt: skip


def test_nothing_is_said_of_the_end_before_it(database: Database) -> None:
    world = World(database)
    ends = ("is_missed", "proper_flag", "repeated_flag", "recording_size")
    world.webhook(BEFORE, spec(request=sent("is_answered", *ends)))
    whole = report("1.1", BEFORE, AFTER, answered_on=at(1), ended=60)  # told at once, as after a gap
    world.publish(whole, now=at(60))
    assert body(world) == {"is_answered": False, **dict.fromkeys(ends)}


def test_a_proper_call_is_the_first_long_talk_of_a_number_in_a_month(database: Database) -> None:
    world = World(database)
    world.webhook(AFTER, spec(request=sent("proper_flag", "repeated_flag")))
    day = 86400.0
    talks = [(-40 * day, 60), (0.0, 29), (1.0 * day, 30), (2.0 * day, 100), (32.5 * day, 30)]
    found = []
    for index, (begins, talk) in enumerate(talks):
        times = {"started_on": at(begins), "answered_on": at(begins), "ended": begins + talk}
        stage = Stage(AFTER, "", 1, at(begins + talk), {"billsec": talk})
        world.publish(report(f"1.{index}", stage, **times), now=at(begins + talk))  # type: ignore[arg-type]
        told = json.loads(world.deliveries()[-1].body)
        found.append((told["proper_flag"], told["repeated_flag"]))
    assert found == [(True, False), (False, True), (True, True), (False, True), (True, True)]


def test_the_size_of_a_recording_is_that_of_its_file(database: Database, tmp_path: Path) -> None:
    world = World(database)
    world.webhook(AFTER, spec(request=sent("recording_size")))
    spool = tmp_path / "monitor"
    spool.mkdir()
    (spool / "a.wav").write_bytes(b"x" * 1234)
    (tmp_path / "secret.wav").write_bytes(b"x")
    with database.write() as session:
        session.get_one(Pbx, world.pbx_id).recordings = COMMON_FOLDER
    names = [str(spool / "a.wav"), "a.wav", "no.wav", "../secret.wav", "https://pbx.example.com/a.wav"]
    for index, name in enumerate(names):
        one = report(f"1.{index}", AFTER, values={"recording_file": name})
        publish(context_of(database, links=Links(VAULT, "", spool)), {world.pbx_id: [one]}, NOON)
    assert [json.loads(row.body)["recording_size"] for row in world.deliveries()] == [1234, 1234, None, None, None]


def test_the_times_of_the_legs_are_times_again_when_a_call_is_read_back(database: Database) -> None:
    world = World(database)
    leg: Value = {"number": "101", "start": at(1), "answer": None, "end": at(60), "status": "NOANSWER"}
    world.publish(report("1.1", AFTER, values={"legs": [leg]}), now=at(60))
    with database.read() as session:
        stored = session.scalars(select(StageEvent)).one().data
    assert from_json(stored)["legs"] == [leg]


@pytest.mark.parametrize(
    ("caller", "e164", "country"),
    [
        ("0441234567", "+380441234567", "UA"),
        ("+380441234567", "+380441234567", "UA"),
        ("380441234567", "+380441234567", "UA"),
        ("79161234567", "+79161234567", "RU"),
        ("4930901820", "+4930901820", "DE"),
        ("101", None, None),
        ("anonymous", None, None),
    ],
)
def test_numbers_are_understood_with_and_without_country_code(
    database: Database, caller: str, e164: str | None, country: str | None
) -> None:
    world = World(database)
    world.webhook(BEFORE, spec(request=sent("caller_e164", "country")))
    world.publish(report("1.1", BEFORE, caller=caller))
    found = body(world)
    assert (found.get("caller_e164") or None, found.get("country") or None) == (e164, country)


def test_texts_no_database_would_take_are_stored_all_the_same(database: Database) -> None:
    world = World(database)
    world.webhook()
    nasty = {"caller_name": "A\0\ud800" + "x" * 10_000}
    world.publish(report("1.1", BEFORE, values=nasty, **nasty))
    (call,) = calls(database)
    assert call.caller_name == "A\ufffd\ufffd" + "x" * 197
    assert len(str(call.data["caller_name"])) == 10_003


def test_an_internal_call_is_history_only(database: Database) -> None:
    world = World(database)
    world.webhook()
    internal = report("1.1", ended=5)._replace(direction="internal")
    assert world.publish(internal, now=at(5)) == NOTHING
    assert [call.direction for call in calls(database)] == ["internal"]


def test_after_a_restart_the_tracker_gets_the_notes_of_open_calls_back(database: Database) -> None:
    world = World(database)
    world.publish(report("1.1", BEFORE), report("1.2", BEFORE, ended=5))
    with database.read() as session:
        rows = session.execute(select(LiveCall.pbx_id, LiveCall.linkedid, LiveCall.memory)).all()
    assert rows == [(world.pbx_id, "1.1", {"open": True})]
    world.publish(report("1.1", AFTER, ended=9, memory={}))
    with database.read() as session:
        assert session.scalars(select(LiveCall)).all() == []


@pytest.mark.slow
def test_a_thousand_webhooks_on_one_stage_cost_no_query_each(database: Database) -> None:
    world = World(database)
    with database.write() as session:
        session.add_all(
            Webhook(project_id=world.project_id, name=f"w{n}", stage=BEFORE, spec=spec(), created_on=NOON)
            for n in range(1000)
        )
        touch_webhooks(session, world.project_id)
    world.publish(report("1.1", BEFORE))
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert world.publish(report("1.2", BEFORE)).deliveries == 1000
    assert len(statements) < 25


def test_a_hundred_pbxs_in_one_group_cost_no_query_each(database: Database) -> None:
    worlds = [World(database) for _ in range(100)]
    statements: list[str] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for stage in (BEFORE, AFTER):
        same_linkedid = {world.pbx_id: [report("1.1", stage)] for world in worlds}
        assert publish(context_of(database), same_linkedid, NOON).stages == 100
    assert len(calls(database)) == 100
    assert len(statements) < 60


def test_stage_events_keep_what_was_known_at_that_moment(database: Database) -> None:
    world = World(database)
    world.publish(report("1.1", BEFORE, values={"trunk": "t1"}))
    world.publish(report("1.1", forward("101")), now=at(1))
    with database.read() as session:
        events = session.scalars(select(StageEvent).order_by(StageEvent.id)).all()
    assert [dict(one.data) for one in events] == [
        {"trunk": "t1"},
        {"trunk": "t1", "forward_to": "101", "forward_step": 1},
    ]


def test_what_is_reported_again_brings_nothing_back_that_was_removed(database: Database) -> None:
    world = World(database)
    world.webhook(AFTER)
    told: dict[str, Value] = {
        "end_reason": "hangup",
        "var.NAME": "Zoriana",
        "recording_file": "zoriana.wav",
        "billsec": 7,
    }
    whole = report("1.1", BEFORE, AFTER, values=told, caller_name="Zoriana", ended=60, memory={})
    world.publish(whole)
    finish(database, take(database, 0).claimed, OK, 1)
    with database.write() as session:
        calls = session.scalars(select(Call.id)).all()
        assert remove_of_calls(session, world.project_id, calls, "owner", at(61)) == 1
    world.publish(whole, now=at(90))  # CEL is read after a restart
    late = Stage("incoming.evaluation", "0:1", 1, at(90), {"evaluation_mark": 5})
    world.publish(report("1.1", late, values=told, caller_name="Zoriana", memory={"name": "Zoriana"}), now=at(91))
    write_events(database, {(world.pbx_id, None, one): [ReceivedEvent("Event: Hangup", 1.0)] for one in ("1.1", "2.2")})
    with database.read() as session:
        call = session.scalars(select(Call)).one()
        assert (call.data, call.caller_name, call.recorded, call.talk) == ({}, "", False, 7)
        assert {str(one.data) for one in session.scalars(select(StageEvent))} == {"{}"}
        assert session.scalars(select(LiveCall)).all() == []
        assert session.scalars(select(CallEvents.linkedid)).all() == ["2.2"]
    assert len(world.deliveries()) == 1
