"""Typed events: read, refused, kept as they are, listed by call, and streamed without a gap."""

import threading
import time
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pbxhub.api.streams import follow
from pbxhub.client import ProblemError
from pbxhub.store.accounts import Project
from pbxhub.store.events import EventRow, NewEvent, Position, keep, newest, position_of, read_after
from pbxhub.store.history import Call
from pbxhub.store.ids import new_id
from pbxhub.testing.waiting import await_until
from pbxhub.webhooks.typed_events import TYPES, EventError, read_event, write_event
from tests.support.served import Served

WHEN = "2026-05-14T12:30:10Z"
UUID = "0e06f977-cbb7-475f-9d0b-a0c4aaec7f6a"
REF = {"uuid": UUID, "name": "Bob"}
MSG = {"uuid": UUID, "urn": "tel:+12065551212", "text": "hi there"}
# one of each type of the goflow package, with the fields its documentation shows
GOFLOW = {
    "broadcast_created": {
        "translations": {"eng": {"text": "hi", "quick_replies": ["All good"]}}, "base_language": "eng",
        "urns": ["tel:+12065551212"], "contacts": [REF],
    },
    "contact_field_changed": {"field": {"key": "gender", "name": "Gender"}, "value": {"text": "Male"}},
    "contact_groups_changed": {"groups_added": [REF], "groups_removed": [REF]},
    "contact_language_changed": {"language": "eng"},
    "contact_name_changed": {"name": "Bob Smith"},
    "contact_refreshed": {"contact": {"uuid": UUID, "name": "Bob", "urns": ["tel:+11231234567"]}},
    "contact_timezone_changed": {"timezone": "Africa/Kigali"},
    "contact_urns_changed": {"urns": ["tel:+12345678900", "twitter:bob"]},
    "email_created": {"addresses": ["foo@bar.com"], "subject": "Your token", "body": "AAFFKKEE"},
    "environment_refreshed": {"environment": {"date_format": "YYYY-MM-DD", "allowed_languages": ["eng", "fra"]}},
    "error": {"text": "invalid date format: '12th of October'", "fatal": False},
    "flow_entered": {"flow": REF, "parent_run_uuid": UUID, "terminal": False},
    "input_labels_added": {"input_uuid": UUID, "labels": [REF]},
    "ivr_created": {"msg": {**MSG, "attachments": ["audio:https://example.com/a.m4a"]}},
    "msg_created": {"msg": MSG},
    "msg_received": {"msg": MSG},
    "msg_wait": {"timeout_seconds": 300, "hint": {"type": "image"}},
    "resthook_called": {"resthook": "success", "payload": {"contact:": {"name": "Bob"}}},
    "run_expired": {"run_uuid": UUID},
    "run_result_changed": {"name": "Gender", "value": "m", "category": "Male", "node_uuid": UUID, "input": "M"},
    "session_triggered": {"flow": REF, "groups": [REF], "run_summary": {"uuid": UUID, "results": {}}},
    "wait_timed_out": {},
    "webhook_called": {
        "url": "http://localhost:49998/?cmd=success", "status": "success", "status_code": 200, "elapsed_ms": 123,
        "request": "GET /?format=json HTTP/1.1", "response": "HTTP/1.1 200 OK\r\n\r\n{}", "body_ignored": False,
    },
}  # fmt: skip


def event(kind: str, /, **fields: object) -> dict[str, object]:
    return {"type": kind, "created_on": WHEN, **fields}


def test_all_23_types_of_goflow_are_read_and_written_back_equal() -> None:
    assert len(GOFLOW) == 23
    assert set(GOFLOW) == set(TYPES) - {"call_stage", "call_status_changed", "event_received"}  # the hub's own
    for name, fields in GOFLOW.items():
        data = event(name, step_uuid=UUID, **fields)
        assert write_event(read_event(data)) == data


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ([], ""),
        ({}, "type"),
        (event("no_such_type"), "type"),
        ({"type": "error", "text": "x"}, "created_on"),
        ({"type": "error", "text": "x", "created_on": "2026-05-14 12:30:10"}, "created_on"),
        (event("error"), "text"),
        (event("error", text=7), "text"),
        (event("error", text="x", fatal="no"), "fatal"),
        (event("run_expired", run_uuid="7"), "run_uuid"),
        (event("webhook_called", url="x", request="y", status="fine"), "status"),
        (event("input_labels_added", input_uuid=UUID, labels=[]), "labels"),
        (event("contact_urns_changed", urns=[1]), "urns"),
    ],
)
def test_what_is_wrong_with_an_event_is_named(data: object, path: str) -> None:
    with pytest.raises(EventError) as caught:
        read_event(data)
    assert path in [found for found, _ in caught.value.errors]


def test_an_unknown_type_says_so() -> None:
    with pytest.raises(EventError, match="unknown type: 'no_such_type'"):
        read_event(event("no_such_type"))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from([WHEN, UUID, *TYPES]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_NAMES = st.sampled_from(["type", "created_on", "text", "fatal", "url", "status", "run_uuid", "urns"])


@pytest.mark.slow
@given(st.dictionaries(_NAMES, _JSON, max_size=5))
def test_whatever_comes_is_given_back_equal_or_refused(data: dict[str, object]) -> None:
    try:
        found = write_event(read_event(data))
    except EventError as error:
        found = data if error.errors else {"refused": "without a word"}
    assert found == data


def add_call(hub: Served) -> str:
    call_id = new_id()
    with hub.database.write() as session:
        session.add(Call(id=call_id, project_id=hub.project_id, pbx_id=hub.pbx_id, linkedid="1.1",
                         direction="incoming", caller="1", dst="2", started_on=datetime.now(UTC)))  # fmt: skip
    return str(call_id)


@pytest.mark.slow
def test_events_handed_in_come_back_as_they_were_under_their_call(hub: Served) -> None:
    call_id, program = add_call(hub), hub.client()
    for name, fields in GOFLOW.items():
        program.add("/events", event(name, call_id=call_id, **fields))
    found = list(program.all("/events", call_id=call_id, limit=10))
    assert [item["type"] for item in found] == list(GOFLOW)
    for item in found:
        expected = event(item["type"], call_id=call_id, **GOFLOW[item["type"]])
        assert {name: value for name, value in item.items() if name != "id"} == expected
    assert next(iter(program.all("/events", type="error")))["text"].startswith("invalid date")
    with pytest.raises(ProblemError) as caught:
        hub.stranger.add("/events", event("wait_timed_out", call_id=call_id))
    assert caught.value.status == 422


@pytest.mark.slow
def test_a_reader_who_comes_back_misses_nothing_and_reads_nothing_twice(hub: Served) -> None:
    program, seen = hub.client(), list[dict]()

    def read(last: str, count: int) -> None:
        for item in hub.client().events(last, seconds=20):
            seen.append(dict(item))
            if len(seen) == count:
                return

    first = threading.Thread(target=read, args=("0.0", 3), daemon=True)
    first.start()
    for number in range(3):
        program.add("/events", event("error", text=f"number {number}"))
    first.join(20)
    for number in range(3, 6):
        program.add("/events", event("error", text=f"number {number}"))
    read(seen[-1]["id"], 6)
    assert [item["text"] for item in seen] == [f"number {n}" for n in range(6)]


def test_an_event_whose_transaction_commits_late_is_not_passed_by(hub: Served) -> None:
    """Two writers overlap: the one that took its place first commits last. A reader in between must not skip it."""
    if hub.database.is_sqlite:
        with hub.database.write() as session:  # only one writer at a time: the order of places is that of commits
            keep(session, [told(hub, "first"), told(hub, "second")])
        with hub.database.read() as session:
            assert [row.data["text"] for row in read_after(session, hub.project_id, Position(), 10)] == [
                "first", "second",
            ]  # fmt: skip
        return
    with hub.database.write() as slow:
        keep(slow, [told(hub, "slow")])
        with hub.database.write() as quick:
            keep(quick, [told(hub, "quick")])
        with hub.database.read() as session:
            assert read_after(session, hub.project_id, Position(), 10) == []

    def both() -> None:
        with hub.database.read() as session:
            rows = read_after(session, hub.project_id, Position(), 10)
            assert [row.data["text"] for row in rows] == ["slow", "quick"]

    await_until(both)


def test_who_begins_now_is_told_of_what_is_being_written(hub: Served) -> None:
    if hub.database.is_sqlite:  # only one writes at a time: what is written is told
        with hub.database.write() as session:
            keep(session, [told(hub, "first")])
        with hub.database.read() as session:
            assert read_after(session, hub.project_id, newest(session), 10) == []
        return
    with hub.database.write() as slow:
        keep(slow, [told(hub, "slow")])
        with hub.database.write() as quick:
            keep(quick, [told(hub, "quick")])
        with hub.database.read() as session:
            begin = newest(session)

    def both() -> None:
        with hub.database.read() as session:
            assert "slow" in [row.data["text"] for row in read_after(session, hub.project_id, begin, 10)]

    await_until(both)


def test_events_that_look_like_the_hubs_own_are_listed_as_they_came(hub: Served) -> None:
    program = hub.client()
    odd = {**GOFLOW["webhook_called"], "delivery_id": "none", "attempt": "x", "id": "1\n\ndata: {}", "text": "a\u0001b"}
    program.add("/events", event("webhook_called", **odd))
    program.add("/events", event("error", text="after"))
    found = list(program.all("/events", limit=1))
    assert [item["type"] for item in found] == ["webhook_called", "error"]
    assert all(position_of(item["id"]) for item in found)
    stream = hub.client().events("0.0", seconds=20)
    assert [next(stream)["type"], next(stream)["text"]] == ["webhook_called", "after"]
    stream.close()


@pytest.mark.slow
def test_a_client_goes_on_where_its_line_broke(hub: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("pbxhub.api.streams"), "STREAM_SECONDS", 1.0)
    program, seen = hub.client(), list[str]()
    stream = hub.client().events(seconds=20)
    reader = threading.Thread(target=lambda: seen.extend(next(stream)["text"] for _ in range(4)), daemon=True)
    reader.start()
    time.sleep(0.5)
    for number in range(4):
        program.add("/events", event("error", text=f"number {number}"))
        time.sleep(0.8)
    reader.join(20)
    assert seen == [f"number {n}" for n in range(4)]


def told(hub: Served, text: str) -> NewEvent:
    return NewEvent(hub.project_id, "error", datetime.now(UTC), {"text": text, "fatal": False})


@pytest.mark.slow
def test_list_and_stream_give_only_what_was_asked_for(hub: Served) -> None:
    program = hub.client()
    with hub.database.write() as session:
        call = Call(
            id=new_id(), project_id=hub.project_id, linkedid="1.1", direction="incoming", caller="+380441", dst="100",
            started_on=datetime.now(UTC),
        )  # fmt: skip
        session.add(call)
    for number in range(3):
        program.add("/events", event("error", text=f"number {number}"))
        program.add("/events", event("wait_timed_out"))
        program.add("/events", event("run_expired", run_uuid=UUID))
    program.add("/events", event("run_expired", run_uuid=UUID, call_id=str(call.id)))
    program.add("/events", event("error", text="of the call", call_id=str(call.id)))

    def listed(**which: str) -> list[str]:
        return [item.get("text", item["type"]) for item in program.all("/events", limit=2, **which)]

    def streamed(number: int, **which: Any) -> list[str]:
        stream = hub.client().events("0.0", seconds=20, **which)
        seen = [next(stream) for _ in range(number)]
        stream.close()
        return [item.get("text", item["type"]) for item in seen]

    errors = ["number 0", "number 1", "number 2", "of the call"]
    of_call = ["run_expired", "of the call"]
    assert listed(type="error") == errors == streamed(4, types=["error"])
    assert listed(type="error, run_expired", call_id=str(call.id)) == of_call
    assert (
        streamed(2, call_id=str(call.id))
        == of_call
        == streamed(2, types=["error", "run_expired"], call_id=str(call.id))
    )
    for path in ("/events", "/events/stream"):
        with pytest.raises(ProblemError, match="type: has 'eror', which is not a type of event") as refused:
            program.get(path, type="error,eror")
        assert refused.value.status == 422


@pytest.mark.slow
def test_the_place_of_a_reader_goes_on_past_what_it_has_not_asked_for(hub: Served) -> None:
    program = hub.client()
    program.add("/events", event("error", text="first"))
    program.add("/events", event("wait_timed_out"))
    errors = [EventRow.type == "error"]
    with hub.database.read() as session:
        last = newest(session)
    stream = follow(hub.database, hub.project_id, Position(), errors, dict)
    said = [next(stream), next(stream), next(stream)]
    assert f"id: {last}" not in "".join(said[:2])
    assert said[2] == f": nothing new\nid: {last}\n\n"


@pytest.mark.slow
def test_only_so_many_streams_are_open_at_once(hub: Served) -> None:
    hub.client().add("/events", event("error", text="x"))

    def room() -> None:
        again = hub.client().events("0.0", seconds=20)
        try:
            assert next(again)["text"] == "x"
        except ProblemError as error:
            raise AssertionError(str(error)) from None
        again.close()

    readers = [hub.client().events("0.0", seconds=20) for _ in range(10)]
    opened, refused = 0, list[int]()
    for reader in readers:
        try:
            opened += next(reader)["text"] == "x"
        except ProblemError as error:
            refused.append(error.status)
    assert opened == 4
    assert refused == [429] * 6
    with hub.database.write() as session:
        others = [Project(name=f"other {number}", created_on=datetime.now(UTC)) for number in range(3)]
        session.add_all(others)
    for other in others:  # 4 + 2 + 2, and the process has no more
        hub.client(project_id=other.id).add("/events", event("error", text="x"))
        for _ in range(2):
            readers.append(hub.client(project_id=other.id).events("0.0", seconds=20))
            try:
                opened += next(readers[-1])["text"] == "x"
            except ProblemError as error:
                refused.append(error.status)
    assert opened == 8
    assert refused == [429] * 6 + [503] * 2
    for reader in readers:
        reader.close()

    await_until(room, "30s")


def test_a_place_from_after_the_backup_is_answered_in_words(hub: Served) -> None:
    """The database is yesterday's again: events to come would be taken for read."""
    program = hub.client()
    program.add("/events", event("error", text="first"))
    with pytest.raises(
        ProblemError, match="newer than any event, because the database was restored from a backup"
    ) as caught:
        next(hub.client().events("1000000", seconds=20))
    assert caught.value.status == 422
