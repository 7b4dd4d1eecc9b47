"""Which ordered calls are refused, and that an order is taken by one listener only."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from served import Served
from sqlalchemy import select

from pbxhub.ami.actions import ActionRefusedError, build
from pbxhub.calls.stages import CallReport, Stage
from pbxhub.client import ProblemError
from pbxhub.delivery.outbox import publish
from pbxhub.delivery.outbox.ordered import STALE, sweep, take
from pbxhub.delivery.values import Links
from pbxhub.store.history import StageEvent
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.store.vault import Vault
from pbxhub.webhooks.params import from_json

LINKS = Links(Vault(b"k" * 32), "http://localhost")
NUMBER = "+380441234567"


def refused(hub: Served, **changes: object) -> list[str]:
    body = {"mobile_number": NUMBER, "agent_id": "101", **changes}
    with pytest.raises(ProblemError) as caught:
        hub.client().add("/calls", body)
    assert caught.value.status == 422
    return [path for path, _ in caught.value.errors]


@pytest.mark.parametrize("number", ["${SHELL(id)}", "112,1", "112&113", "112@ctx", "11;2", "+", "1\r\nAction: x", "a"])
def test_a_number_that_is_none_is_refused(hub: Served, number: str) -> None:
    assert refused(hub, mobile_number=number) == ["mobile_number"]
    assert refused(hub, from_number=number) == ["from_number"]


@pytest.mark.parametrize("agent", ["101&102", "101@evil", "Local/1", "${EXTEN}", "101,2", "/.*/"])
def test_an_extension_that_is_none_is_refused(hub: Served, agent: str) -> None:
    assert refused(hub, agent_id=agent) == ["agent_id"]


def test_a_premium_number_and_one_outside_the_dial_plan_are_refused(hub: Served) -> None:
    assert refused(hub, mobile_number="+19005551234") == ["mobile_number"]
    program = hub.client()
    path = f"/pbxs/{hub.pbx_id}/dial-plan"
    program.change(path, program.get(path), {"allowed": ["+38044*", "+19005551234"]})
    assert refused(hub, mobile_number="+79161234567") == ["mobile_number"]
    assert program.order_call("+19005551234", "101").status == "registered"


def test_a_callback_to_an_address_of_this_hub_or_with_a_bad_header_is_refused(hub: Served) -> None:
    assert refused(hub, callback_url="http://169.254.169.254/") == ["callback_url"]
    assert refused(hub, callback_args={"headers": {"X-A": "a\r\nX-B: b"}}) == ["callback_args.headers.X-A"]
    assert refused(hub, callback_args={"headers": {"Host": "x"}}) == ["callback_args.headers.Host"]


def test_no_more_calls_than_allowed_go_on_at_once(hub: Served) -> None:
    program = hub.client()
    path = f"/pbxs/{hub.pbx_id}/dial-plan"
    program.change(path, program.get(path), {"at_once": 2})
    orders = [program.order_call(NUMBER, "101") for _ in range(2)]
    with pytest.raises(ProblemError) as caught:
        program.order_call(NUMBER, "101")
    assert caught.value.status == 429
    program.cancel(orders[0].id)
    assert program.call(orders[0].id).status == "cancelled"
    assert program.order_call(NUMBER, "101").status == "registered"


def test_orders_of_one_moment_hold_the_limit_together(hub: Served) -> None:
    program = hub.client()
    path = f"/pbxs/{hub.pbx_id}/dial-plan"
    program.change(path, program.get(path), {"at_once": 3})

    def ask(_: int) -> int:
        try:
            hub.client().order_call(NUMBER, "101")
        except ProblemError as error:
            return error.status
        return 201

    with ThreadPoolExecutor(8) as programs:
        assert sorted(programs.map(ask, range(8))) == [201] * 3 + [429] * 5


def later(hub: Served, **time: float) -> None:
    with hub.database.write() as session:
        sweep(session, LINKS, datetime.now(UTC) + timedelta(**time))


def test_an_order_of_a_pbx_that_nobody_listens_to_ends(hub: Served) -> None:
    waiting, begun = (hub.client().order_call(NUMBER, "101") for _ in range(2))
    with hub.database.write() as session:
        session.get_one(OrderedCall, UUID(begun.id)).taken_on = datetime.now(UTC)
    later(hub, minutes=2)
    assert {hub.client().call(one.id).status for one in (waiting, begun)} == {"registered"}
    later(hub, minutes=10)
    told = [hub.client().call(one.id) for one in (waiting, begun)]
    assert [one.status for one in told] == ["error", "error"]
    assert "No listener" in told[0].reason
    assert "not heard again" in told[1].reason


def test_a_call_that_is_called_off_is_hung_up_until_it_is_over(hub: Served) -> None:
    order = hub.client().order_call(NUMBER, "101")
    hung_up = []
    for seconds in (0, 1, 2, 20):
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        with hub.database.write() as session:
            hung_up.append(len(take(session, LINKS, hub.pbx_id, moment).hang_up))
        if seconds == 0:
            hub.client().cancel(order.id)
    assert hung_up == [0, 1, 0, 1]


def test_the_callers_own_values_are_parameters_of_the_call(hub: Served) -> None:
    order = hub.client().order_call(NUMBER, "101", custom={"order": 7, "tags": ["a"]})
    report = CallReport(
        linkedid=f"pbxhub-{order.id}", values={}, stages=(Stage("outgoing.before", "", 1, datetime.now(UTC), {}),),
        direction="outgoing", caller="101", caller_name="", dst=NUMBER, extension="101", started_on=datetime.now(UTC),
        answered_on=None, ended_on=None, disposition="", memory={},
    )  # fmt: skip
    publish(hub.database, Vault(b"k" * 32), hub.pbx_id, [report], datetime.now(UTC))
    with hub.database.read() as session:
        (stage,) = session.scalars(select(StageEvent))
    assert from_json(stage.data)["custom"] == {"order": 7, "tags": ["a"]}


def test_an_order_is_taken_once_however_many_listeners_look(hub: Served) -> None:
    placed = {hub.client().order_call(NUMBER, "101").id for _ in range(5)}

    def look(_: int) -> list[str]:
        with hub.database.write() as session:
            return [str(one.id) for one in take(session, LINKS, hub.pbx_id, datetime.now(UTC)).place]

    with ThreadPoolExecutor(4) as listeners:
        taken = [one for found in listeners.map(look, range(8)) for one in found]
    assert sorted(taken) == sorted(placed)


def test_an_order_nobody_took_in_time_does_not_ring_later(hub: Served) -> None:
    order = hub.client().order_call(NUMBER, "101")
    with hub.database.write() as session:
        assert take(session, LINKS, hub.pbx_id, datetime.now(UTC) + STALE + timedelta(seconds=1)).place == ()
    assert hub.client().call(order.id).status == "error"


def test_what_was_taken_and_never_heard_of_again_is_told_and_not_placed_again(hub: Served) -> None:
    order = hub.client().order_call(NUMBER, "101")
    for later in (0, 40, 100):
        with hub.database.write() as session:
            turn = take(session, LINKS, hub.pbx_id, datetime.now(UTC) + timedelta(seconds=later))
        assert len(turn.place) == (1 if later == 0 else 0)
    assert hub.client().call(order.id).status == "error"


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("Originate", {"Channel": "PJSIP/101&PJSIP/102"}),
        ("Originate", {"Channel": "PJSIP/${SHELL(id)}"}),
        ("Originate", {"Exten": "112@evil"}),
        ("Originate", {"Exten": "$[1+1]"}),
        ("Originate", {"Variable": "A=1,B=${SHELL(id)}"}),
        ("Originate", {"Variable": ["A=1", "B=2;C=3"]}),
        ("Hangup", {"Channel": "/.*/"}),
    ],
)
def test_what_the_dialplan_would_carry_out_never_reaches_the_line(name: str, headers: dict[str, object]) -> None:
    with pytest.raises(ActionRefusedError):
        build(name, headers)
