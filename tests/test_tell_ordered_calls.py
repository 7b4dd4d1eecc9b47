"""What the callback address of an ordered call is told, and in which order."""

import json
from typing import Any

import pytest

from pbxhub.calls.stages import CallReport
from pbxhub.delivery.links import AS_LONG_AS_KEPT
from pbxhub.delivery.outbox import Claimed
from pbxhub.delivery.outbox.ordered_call_status import ask_cancel, end_without_channel
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import Call
from pbxhub.store.ordered_calls import CHANNEL_PREFIX, OrderedCall
from pbxhub.store.session import Database
from tests.support.ordering import order
from tests.support.outbox_world import BUSY, LINKS, OK, World, at, context_of, finish, report, take


def outgoing(one: OrderedCall, **columns: Any) -> CallReport:
    told = {"direction": "outgoing", "caller": "101", "dst": one.mobile_number, "extension": one.agent_id}
    return report(f"{CHANNEL_PREFIX}{one.id}", **(told | columns))


def statuses(claimed: tuple[Claimed, ...]) -> list[str]:
    return [json.loads(one.request.body)["data"]["status"] for one in claimed]


def test_ongoing_waits_for_the_first_attempt_of_registered(database: Database) -> None:
    """Registered is told before there is a call, the others with it: the order holds from the first one on."""
    world = World(database)
    one = order(world)
    registered = take(database, 0).claimed
    assert statuses(registered) == ["registered"]
    world.publish(outgoing(one, answered_on=at(1)), now=at(1))
    world.publish(outgoing(one, answered_on=at(1), ended=3.0), now=at(3))
    assert take(database, 4).claimed == ()
    finish(database, registered, BUSY, 5)
    ongoing = take(database, 5).claimed
    assert statuses(ongoing) == ["ongoing"]
    finish(database, ongoing, OK, 6)
    assert statuses(take(database, 6).claimed) == ["completed"]


def test_an_order_without_a_call_is_told_in_order_too(database: Database) -> None:
    world = World(database)
    one, other = order(world), order(world)
    first = take(database, 0).claimed
    assert statuses(first) == ["registered", "registered"]
    with database.write() as session:
        end_without_channel(context_of(database), session, one.id, True, "Originate failed", at(1))
        ask_cancel(context_of(database), session, session.get_one(OrderedCall, other.id), at(1))
    assert take(database, 2).claimed == ()
    finish(database, [claimed for claimed in first if claimed.sequence_id == other.id], OK, 3)
    assert statuses(take(database, 3).claimed) == ["cancelled"]
    finish(database, [claimed for claimed in first if claimed.sequence_id == one.id], BUSY, 4)
    assert statuses(take(database, 4).claimed) == ["error"]


# each field of data: what must be known for it, and its value then
FIELDS = {
    "call_id": ({}, lambda one, call: str(one.id)),
    "call_direction": ({}, lambda one, call: "outbound"),
    "status": ({}, lambda one, call: "completed"),
    "call_duration": ({"billsec": 42}, lambda one, call: 42),
    "recording_url": (
        {"recording_file": "/a.wav"},
        lambda one, call: LINKS.recording(call.id, call.pbx_id, "/a.wav", AS_LONG_AS_KEPT, at(60)),
    ),
    "transcript": ({}, lambda one, call: "Hello?"),
    "agent_id": ({}, lambda one, call: "101"),
    "retry": ({}, lambda one, call: 0),
    "from_number": ({}, lambda one, call: "+380445556677"),
    "to_number": ({}, lambda one, call: "+380671112233"),
    "custom_args_values": ({}, lambda one, call: {"deal": 7, "name": "O'Neil \"x\""}),
}  # fmt: skip


def last_told(world: World, values: dict[str, Any]) -> tuple[dict[str, Any], OrderedCall, Call]:
    one = order(
        world,
        mobile_number="+380671112233",
        from_number="+380445556677",
        transcript="Hello?",
        custom={"deal": 7, "name": 'O\'Neil "x"'},
    )
    ended = outgoing(one, answered_on=at(1), ended=60.0, values=values)
    world.publish(ended, now=at(60))
    body = json.loads(world.deliveries(Delivery.kind == "callback")[-1].body)
    assert body.keys() == {"status", "data", "message"}
    assert (body["status"], body["message"]) == ("success", "Call Details")
    with world.database.read() as session:
        kept = session.get_one(OrderedCall, one.id)
        return body["data"], kept, session.get_one(Call, kept.call_id)


@pytest.mark.parametrize("field", FIELDS)
def test_each_field_of_a_callback_comes_from_where_it_is_documented(database: Database, field: str) -> None:
    values, expected = FIELDS[field]
    data, one, call = last_told(World(database), values)
    assert data[field] == expected(one, call)


def test_there_is_no_field_beside_these(database: Database) -> None:
    data, _, _ = last_told(World(database), {})
    assert data.keys() == FIELDS.keys()
    assert {name for name, value in data.items() if value is None} == {"call_duration", "recording_url"}
