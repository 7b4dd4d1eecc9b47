"""Which ordered calls are refused, that an order is taken by one listener only, and what its callbacks tell."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from pbxhub.ami.manager_actions import ActionRefusedError, build
from pbxhub.calls.stages import CallReport, Stage
from pbxhub.client import OrderedCall as Ordered
from pbxhub.client import ProblemError
from pbxhub.delivery.links import Links
from pbxhub.delivery.outbox import Claimed, claim, publish
from pbxhub.delivery.outbox.ordered_call_status import STALE, end_without_channel, sweep, take
from pbxhub.store.delivery_rows import Delivery
from pbxhub.store.history import StageEvent
from pbxhub.store.ordered_calls import OrderedCall
from pbxhub.testing.receivers.mock_answers import Answer, text_response
from pbxhub.testing.receivers.mock_request import MockRequest
from pbxhub.testing.receivers.mock_server import MockServer, regex
from pbxhub.testing.waiting import await_until
from pbxhub.vault import Vault
from pbxhub.webhooks.params import from_json
from tests.support.outbox_world import NOON, OK, finish
from tests.support.served import Served

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
    program.change(path, program.get(path), {"allowed": ["_+38044.", "+19005551234"]})
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
        sweep(hub.context, session, datetime.now(UTC) + timedelta(**time))


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
    assert "no connection to the PBX" in told[1].reason


def test_a_call_that_is_called_off_is_hung_up_until_it_is_over(hub: Served) -> None:
    order = hub.client().order_call(NUMBER, "101")
    hung_up = []
    for seconds in (0, 1, 2, 20):
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        with hub.database.write() as session:
            hung_up.append(len(take(hub.context, session, hub.pbx_id, moment).hang_up))
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
    publish(hub.context, {hub.pbx_id: [report]}, datetime.now(UTC))
    with hub.database.read() as session:
        (stage,) = session.scalars(select(StageEvent))
    assert from_json(stage.data)["custom"] == {"order": 7, "tags": ["a"]}


def test_an_order_is_taken_once_however_many_listeners_look(hub: Served) -> None:
    placed = {hub.client().order_call(NUMBER, "101").id for _ in range(5)}

    def look(_: int) -> list[str]:
        with hub.database.write() as session:
            return [str(one.id) for one in take(hub.context, session, hub.pbx_id, datetime.now(UTC)).place]

    with ThreadPoolExecutor(4) as listeners:
        taken = [one for found in listeners.map(look, range(8)) for one in found]
    assert sorted(taken) == sorted(placed)


def test_an_order_nobody_took_in_time_does_not_ring_later(hub: Served) -> None:
    order = hub.client().order_call(NUMBER, "101")
    with hub.database.write() as session:
        assert take(hub.context, session, hub.pbx_id, datetime.now(UTC) + STALE + timedelta(seconds=1)).place == ()
    assert hub.client().call(order.id).status == "error"


def test_what_was_taken_and_never_heard_of_again_is_told_and_not_placed_again(hub: Served) -> None:
    order = hub.client().order_call(NUMBER, "101")
    for later in (0, 40, 100):
        with hub.database.write() as session:
            turn = take(hub.context, session, hub.pbx_id, datetime.now(UTC) + timedelta(seconds=later))
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


def report_of(order: Ordered, stage: str, **more: Any) -> CallReport:
    now = datetime.now(UTC)
    known: dict[str, Any] = {"direction": "outgoing", "dst": NUMBER, "answered_on": None, "ended_on": None} | more
    return CallReport(
        linkedid=f"pbxhub-{order.id}", values={}, stages=(Stage(stage, "", 1, now, {}),) if stage else (),
        caller="101", caller_name="", extension="101", started_on=now, disposition="", memory={}, **known,
    )  # fmt: skip


@pytest.mark.slow
def test_callbacks_go_in_order_however_slow_their_receiver_is(
    hub: Served, receiver: MockServer, working: Callable[[], None]
) -> None:
    """Also the first one, told when there is no call yet, and those of an order that never has one."""
    let_go, over = threading.Event(), list[str]()

    def answer(request: MockRequest) -> Answer:
        status = request.json("data.status")
        if status == "registered":
            let_go.wait(10)
        over.append(f"{request.path} {status}")
        return text_response("ok")

    receiver.on("*", regex(".*"), answer)
    called_off, talks = (hub.client().order_call(NUMBER, "101", callback_url=f"{receiver.url}/{n}") for n in (1, 2))
    await_until(lambda: len(receiver.requests) == 2)
    hub.client().cancel(called_off.id)
    now = datetime.now(UTC)
    for report in (
        report_of(talks, "outgoing.pickup", answered_on=now),
        report_of(talks, "outgoing.after", answered_on=now, ended_on=now),
    ):
        publish(hub.context, {hub.pbx_id: [report]}, now)
    with hub.database.read() as session:
        held = session.scalars(select(Delivery.held).order_by(Delivery.id)).all()
    assert held == [False, False, True, True, True]
    let_go.set()
    await_until(lambda: len(over) == 5)
    assert [one for one in over if "/1" in one] == ["/1 registered", "/1 cancelled"]
    assert [one for one in over if "/2" in one] == ["/2 registered", "/2 ongoing", "/2 completed"]


def test_a_callback_whose_worker_was_lost_is_sent_again_before_the_next_one(hub: Served, receiver: MockServer) -> None:
    order = hub.client().order_call(NUMBER, "101", callback_url=receiver.url)
    now = datetime.now(UTC)

    def take_some(seconds: float) -> dict[str, Claimed]:
        with hub.database.write() as session:
            moment = now + timedelta(seconds=seconds)
            batch = claim(hub.context, session, 10, moment, lease=timedelta(seconds=-9.5))
        return {json.loads(one.request.body)["data"]["status"]: one for one in batch.claimed}

    assert [*take_some(1)] == ["registered"]
    hub.client().cancel(order.id)
    assert [*take_some(1.4)] == []
    again = take_some(2)  # the lease of half a second, beyond the deadline of ten, is over
    assert [*again] == ["registered"]
    assert [*take_some(2.1)] == []
    finish(hub.database, list(again.values()), OK, (now - NOON).total_seconds() + 2.2)
    assert [*take_some(2.3)] == ["cancelled"]


@pytest.mark.parametrize(
    ("disposition", "status", "reason"),
    [
        ("BUSY", "failed", "The agent did not answer: BUSY."),
        ("DECLINE", "failed", "The agent did not answer: DECLINE."),
        ("NO ANSWER", "failed", "The agent did not answer: NO ANSWER."),
        ("FAILED", "error", "The agent's phone could not be reached."),
    ],
)
def test_what_the_agents_phone_did_decides_whatever_the_pbx_says_of_the_order(
    hub: Served, disposition: str, status: str, reason: str
) -> None:
    order = hub.client().order_call(NUMBER, "101")
    now = datetime.now(UTC)
    ended = report_of(order, "", direction="internal", ended_on=now)._replace(disposition=disposition)
    publish(hub.context, {hub.pbx_id: [ended]}, now)
    with hub.database.write() as session:
        end_without_channel(hub.context, session, UUID(order.id), True, "Originate failed", now)
    told = hub.client().call(order.id)
    assert (told.status, told.reason) == (status, reason)


def test_an_order_that_the_pbx_refuses_says_why(hub: Served) -> None:
    order = hub.client().order_call(NUMBER, "101")
    with hub.database.write() as session:
        end_without_channel(hub.context, session, UUID(order.id), False, "Extension does not exist.", datetime.now(UTC))
    told = hub.client().call(order.id)
    assert (told.status, told.reason) == ("error", "The PBX refused to place the call: Extension does not exist.")
