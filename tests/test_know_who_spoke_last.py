"""A caller comes back: the hub knows who talked with them last, and can bring the call there."""

import json
from typing import Any

import pytest

from pbxhub.agi.ask_webhook import Asked, Caller, put_together
from pbxhub.agi.wire import AgiCall
from pbxhub.store.accounts import Employee, Pbx
from pbxhub.store.agi_tokens import AgiAddress
from pbxhub.store.session import Database
from pbxhub.webhooks.spec import Parameter, RequestSpec, Steering, WebhookSpec
from tests.support.outbox_world import BEFORE, World, at, context_of, report

NAMES = ("last_employee", "last_employee_id", "last_call_time", "responsible")
WHAT = WebhookSpec(
    RequestSpec(
        url="http://127.0.0.1:9/", parameters=tuple(Parameter(name, value=f"<<{name}>>") for name in NAMES),
        date_format="unix",
    )
)  # fmt: skip


@pytest.fixture
def world(database: Database) -> World:
    world = World(database)
    world.webhook(what=WHAT)
    with database.write() as session:
        cards = (("101", "504141"), ("102", "77"))
        session.add_all(Employee(project_id=world.project_id, extension=one, crm_id=crm) for one, crm in cards)
    return world


def talk(world: World, linkedid: str, second: float, **columns: Any) -> None:
    told = {"started_on": at(second), "answered_on": at(second + 1), "ended": second + 9, "extension": "101", **columns}
    world.publish(report(linkedid, "incoming.after", **told), now=at(second + 9))


def known_at(world: World, linkedid: str, second: float, **columns: Any) -> list[Any]:
    world.publish(report(linkedid, BEFORE, started_on=at(second), **columns), now=at(second))
    return list(json.loads(world.deliveries()[-1].body).values())


def test_a_stranger_knows_nobody(world: World) -> None:
    assert known_at(world, "1.1", 0) == [None, None, None, None]


def test_who_talked_last_is_known_however_the_number_is_written(world: World) -> None:
    talk(world, "1.1", 0, extension="102")
    talk(world, "1.2", 100)
    assert known_at(world, "1.3", 200, caller="0441234567") == ["101", "504141", int(at(100).timestamp()), "101"]


def test_a_call_nobody_took_moves_the_time_alone(world: World) -> None:
    talk(world, "1.1", 0, extension="102")
    talk(world, "1.2", 100, answered_on=None, extension="")
    assert known_at(world, "1.3", 200) == ["102", "77", int(at(100).timestamp()), "102"]


def test_a_call_to_the_customer_counts_too(world: World) -> None:
    talk(world, "1.1", 0)
    talk(world, "1.2", 100, direction="outgoing", extension="102", dst="+380441234567")
    assert known_at(world, "1.3", 200)[0] == "102"


def test_who_has_no_card_is_not_responsible(world: World) -> None:
    talk(world, "1.1", 0, extension="999")
    assert known_at(world, "1.2", 100) == ["999", None, int(at(0).timestamp()), None]


def test_a_hidden_number_is_nobody(world: World) -> None:
    talk(world, "1.1", 0, caller="")
    assert known_at(world, "1.2", 100, caller="") == [None, None, None, None]


@pytest.mark.parametrize(("saved", "expected"), [("77", "102"), ("102", "102"), ("nobody", "101"), ("", "101")])
def test_a_lookup_names_who_is_responsible(world: World, saved: str, expected: str) -> None:
    talk(world, "1.1", 0)
    values = {"webhook.saved": {"responsible": saved}}
    assert known_at(world, "1.2", 100, values=values)[3] == expected


def ask(world: World, **steering: Any) -> Asked:
    request = RequestSpec(url="http://127.0.0.1:9/")
    world.webhook("call.question", WebhookSpec(request, steering=Steering(**steering)), name="Route")
    call = AgiCall("", (), "PJSIP/trunk-1", "2.1", "+380441234567", b"", "380445556677", "from-trunk", "s")
    with world.database.read() as session:
        pbx = session.get_one(Pbx, world.pbx_id)
        address = AgiAddress(pbx.id, pbx.key)
    asked = put_together(context_of(world.database), Caller(address, "2.1", call, {}), "Route", at(500))
    assert isinstance(asked, Asked)
    return asked


def test_a_call_goes_to_whom_the_caller_knows(world: World) -> None:
    talk(world, "1.1", 0, extension="102")
    assert ask(world, default="200", known_first=True).steering.default == "102"


def test_it_takes_the_default_route_where_nobody_is_known(world: World) -> None:
    assert ask(world, default="200", known_first=True).steering.default == "200"


def test_it_goes_only_where_the_webhook_may_call(world: World) -> None:
    talk(world, "1.1", 0, extension="102")
    assert ask(world, default="200", known_first=True, numbers=("_2XX",)).steering.default == "200"
    assert ask(world, default="200").steering.default == "200"
